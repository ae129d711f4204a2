"""A mutating webhook of somebody else, in this very process: for what others do before and after ours.

    def strip(pod): pod["spec"]["initContainers"][0].pop("restartPolicy", None)
    other = Hook(self, "z-other", strip)           # configurations are asked in the order of their names
    other.seen                                     # [request, …]

The function changes the pod that it is given. Asked about pods of namespaces with the label of `select` (all others' by default).
"""
import base64
import copy
import http.server
import json
import socketserver
import ssl
import threading

from . import place
from .certificate import Authority


class Hook:
    def __init__(self, lane, name, change, select=None, policy="Fail", reinvocation="IfNeeded"):
        self.name, self.change, self.seen = name, change, []
        folder = lane.folder()
        authority = Authority(folder)
        self.server = Server((place.NODE_IP, 0), handler(self))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*authority.issue("hook"))
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True, do_handshake_on_connect=False)
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()
        lane.later(self.stop)
        lane.create({
            "apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingWebhookConfiguration", "metadata": {"name": name},
            "webhooks": [{
                "name": f"{name}.hook.test", "admissionReviewVersions": ["v1"], "sideEffects": "None", "failurePolicy": policy,
                "timeoutSeconds": 5, "reinvocationPolicy": reinvocation,
                "namespaceSelector": {"matchLabels": select} if select else {"matchExpressions": [
                    {"key": "kubernetes.io/metadata.name", "operator": "NotIn", "values": ["kube-system"]}]},
                "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}],
                "clientConfig": {"url": f"https://{place.NODE_IP}:{self.server.server_address[1]}/",
                                 "caBundle": authority.bundle}}]})

    def answer(self, request):
        self.seen.append(request)
        pod = copy.deepcopy(request["object"])
        self.change(pod)
        patch = [{"op": "replace", "path": f"/{key}", "value": pod[key]}
                 for key in ("metadata", "spec") if pod[key] != request["object"][key]]
        response = {"uid": request["uid"], "allowed": True}
        if patch:
            response |= {"patchType": "JSONPatch", "patch": base64.b64encode(json.dumps(patch).encode()).decode()}
        return {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response}

    def stop(self):
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


class Server(http.server.ThreadingHTTPServer):
    def server_bind(self):
        """Without HTTPServer's look-up of its own name, which nobody answers here."""
        socketserver.TCPServer.server_bind(self)


def handler(hook):
    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self):
            review = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            body = json.dumps(hook.answer(review["request"])).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    return Handler
