"""A cluster for the command, in memory: an API server that lists what it is given, and a kubectl that forwards ports to canned pages.

`good()` is one in which all is well; a test breaks what it wants to break."""
import base64
import copy
import datetime
import email.utils
import http.server
import json
import os
import pathlib
import ssl
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse

MESH = "fairlead-system"
VERSION = "0.1.0"


def stamp(seconds=0):
    return datetime.datetime.fromtimestamp(time.time() + seconds, datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def certificate(name="root", days=3650):
    """A self-signed CA, PEM. Negative days: it has ended."""
    with tempfile.TemporaryDirectory() as folder:
        out, key = pathlib.Path(folder, "c"), pathlib.Path(folder, "k")
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", key, "-out",
                        out, "-subj", f"/CN={name}", "-days", str(max(days, 1))], check=True, capture_output=True)
        if days < 0:
            ended = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(days=days)
            begun = ended - datetime.timedelta(days=1)
            form = "%Y%m%d%H%M%SZ"
            config = pathlib.Path(folder, "ca.cnf")
            config.write_text(f"[ca]\ndefault_ca=x\n[x]\ndatabase={folder}/db\nserial={folder}/serial\nnew_certs_dir={folder}\n"
                              "default_md=sha256\npolicy=p\nx509_extensions=e\n[p]\ncommonName=supplied\n[e]\nbasicConstraints=critical,CA:TRUE\n")
            pathlib.Path(folder, "db").write_text("")
            pathlib.Path(folder, "serial").write_text("01\n")
            subprocess.run(["openssl", "req", "-new", "-key", key, "-subj", f"/CN={name}", "-out", f"{folder}/r"], check=True, capture_output=True)
            subprocess.run(["openssl", "ca", "-batch", "-selfsign", "-config", config, "-keyfile", key, "-in", f"{folder}/r", "-out", out,
                            "-notext", "-startdate", begun.strftime(form), "-enddate", ended.strftime(form)], check=True, capture_output=True)
        return out.read_text()


class Authority:
    """A root, and leaves of it for a server's name."""

    def __init__(self, name="root"):
        self.folder = tempfile.TemporaryDirectory()
        self.key, self.file = pathlib.Path(self.folder.name, "root.key"), pathlib.Path(self.folder.name, "root.crt")
        self.openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", self.key, "-out", self.file,
                     "-subj", f"/CN={name}", "-days", "3650")
        self.pem = self.file.read_text()

    @staticmethod
    def openssl(*words):
        subprocess.run(["openssl", *map(str, words)], check=True, capture_output=True)

    def leaf(self, dns, days=90, use="serverAuth"):
        """Certificate and key in one PEM."""
        base = pathlib.Path(self.folder.name, "leaf")
        self.openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", f"{base}.key", "-out", f"{base}.csr",
                     "-subj", "/CN=leaf")
        pathlib.Path(f"{base}.ext").write_text(f"subjectAltName=DNS:{dns}\nextendedKeyUsage={use}\nbasicConstraints=critical,CA:FALSE\n")
        self.openssl("x509", "-req", "-in", f"{base}.csr", "-CA", self.file, "-CAkey", self.key, "-days", days, "-extfile", f"{base}.ext",
                     "-out", f"{base}.crt")
        return pathlib.Path(f"{base}.crt").read_text() + pathlib.Path(f"{base}.key").read_text()


def labels(component, **more):
    return {"app.kubernetes.io/name": "fairlead", "app.kubernetes.io/part-of": "fairlead", "app.kubernetes.io/component": component,
            "app.kubernetes.io/version": VERSION, "fairlead.io/revision": "default", **more}


def proxy(name, space="shop", in_sync=True, left=86000, reason=None):
    """One of /debug/proxies."""
    now = int(time.time())
    one = {"resources": 1, "version": "1", "in_sync": in_sync, "in_flight": False, "sent": 1, "acked": 1, "refused": 0,
           **({"reason": reason} if reason else {})}
    return {"id": f"sidecar~10.0.1.1~{name}.{space}~{space}.svc.cluster.local", "role": "sidecar", "namespace": space, "name": name,
            "identity": f"spiffe://cluster.local/ns/{space}/sa/web", "address": "10.0.1.1:4", "since": now - 60,
            "certificate": {"not_before": now - 400, "not_after": now + left}, "types": {"CDS": one, "LDS": one}, "in_sync": in_sync}


def control_pages(cluster, number, *proxies, problems=0):
    pod = f"fairlead-control-{number}"
    cluster.pages[MESH, pod, 15014, "/debug/proxies"] = (200, json.dumps({"model": 1, "proxies": list(proxies)}))
    cluster.pages[MESH, pod, 15014, "/status"] = (200, json.dumps({"summary": {"problems": problems, "warnings": 0, "first": []}}))


def thing(kind, name, space=None, version="v1", **more):
    metadata = {"name": name, "creationTimestamp": "2026-01-01T00:00:00Z", **({"namespace": space} if space else {})}
    metadata.update(more.pop("metadata", {}))
    return {"apiVersion": version, "kind": kind, "metadata": metadata, **more}


def deployment(component, replicas=2):
    return thing("Deployment", f"fairlead-{component}", MESH, "apps/v1", metadata={"labels": labels(component)},
                 spec={"replicas": replicas}, status={"readyReplicas": replicas})


def own_pod(component, number, space=MESH, ports=()):
    return thing("Pod", f"fairlead-{component}-{number}", space, metadata={"labels": labels(component)},
                 spec={"nodeName": "one", "containers": [{"name": component, "ports": list(ports)}]},
                 status={"phase": "Running", "podIPs": [{"ip": f"10.0.0.{number}"}], "conditions": [{"type": "Ready", "status": "True"}]})


def app_pod(name, space="shop", sidecar=True, **annotations):
    status = {"name": "fairlead-proxy", "started": True, "ready": True, "state": {"running": {"startedAt": stamp(-100)}}}
    meshed = {"fairlead.io/capture": "{}", "fairlead.io/status": json.dumps({"version": 1, "program": VERSION, "revision": "default"})}
    return thing("Pod", name, space, metadata={"labels": {"app": "web"}, "annotations": {**(meshed if sidecar else {}), **annotations}},
                 spec={"nodeName": "one", "serviceAccountName": "web", "containers": [{"name": "app", "image": "x"}],
                       **({"initContainers": [{"name": "fairlead-proxy", "image": "p", "restartPolicy": "Always"}]} if sidecar else {})},
                 status={"phase": "Running", "podIPs": [{"ip": "10.0.1.1"}], "podIP": "10.0.1.1",
                         "conditions": [{"type": "Ready", "status": "True"}], **({"initContainerStatuses": [status]} if sidecar else {})})


def crd(group, kind, version, **annotations):
    return thing("CustomResourceDefinition", f"{kind.lower()}s.{group}", version="apiextensions.k8s.io/v1", metadata={"annotations": annotations},
                 spec={"group": group, "names": {"kind": kind}, "versions": [{"name": version, "served": True}]},
                 status={"conditions": [{"type": "Established", "status": "True"}]})


OWN_KINDS = ("AuthorizationPolicy", "RequestAuthentication", "PeerAuthentication", "TrafficPolicy", "Telemetry", "MeshSettings")
GATEWAY_KINDS = ("GatewayClass", "Gateway", "HTTPRoute", "GRPCRoute", "ReferenceGrant")
CONFIG = "revision: default\nownNamespace: fairlead-system\ncontrol:\n  address: 10.96.0.5:15012\n  name: fairlead-control.fairlead-system.svc\n"


class Cluster:
    """Lists by resource ("pods") of objects; `refused`: resources that answer 403; `rights`: what may not be done."""

    def __init__(self, root=None):
        self.root = root or certificate()
        self.lists = {name: [] for name in (
            "nodes", "leases", "namespaces", "pods", "services", "deployments", "daemonsets", "mutatingwebhookconfigurations",
            "customresourcedefinitions", "configmaps", "networkpolicies", "gatewayclasses")}
        self.version = {"major": "1", "minor": "37", "gitVersion": "v1.37.2"}
        self.refused, self.missing, self.may_not = set(), set(), set()
        self.skew = 0
        self.requests = []
        self.authority = None  # set: HTTPS, as api.test, with a certificate of it; and clients' certificates are asked for
        self.who = lambda handler: True  # whether a request is let in; 401 where not
        self.headers = []  # of each request
        self.user, self.where = {}, {}  # the kubeconfig's: the user, and what its cluster has beside the server
        self.pages = {}  # (namespace, pod, port, path) → (status, text): what the kubectl of `kubectl()` forwards to

    def add(self, resource, *things):
        self.lists.setdefault(resource, []).extend(things)
        return things[0] if things else None

    def get(self, resource, name, space=None):
        for item in self.lists.get(resource, ()):
            if item["metadata"]["name"] == name and space in (None, item["metadata"].get("namespace")):
                return item
        return None

    def remove(self, resource, name, space=None):
        self.lists[resource].remove(self.get(resource, name, space))

    # ---- as an API server ----

    def answer(self, method, path, query, body):
        self.requests.append((method, path))
        if path == "/version":
            return 200, self.version
        if path.endswith("/selfsubjectaccessreviews"):
            wanted = json.loads(body)["spec"]["resourceAttributes"]
            return 201, {"status": {"allowed": wanted["resource"] not in self.may_not}}
        parts = path.strip("/").split("/")
        parts = parts[2:] if parts[0] == "api" else parts[3:]
        if not parts:
            return self.fail(404, "nothing is here")
        space = None
        if len(parts) >= 3 and parts[0] == "namespaces":
            space, parts = parts[1], parts[2:]
        resource, name = parts[0], parts[1] if len(parts) > 1 else None
        if resource in self.refused:
            return self.fail(403, f"{resource} is forbidden: User \"me\" cannot list resource \"{resource}\"")
        if resource in self.missing or resource not in self.lists:
            return self.fail(404, "the server could not find the requested resource")
        items = [item for item in self.lists[resource] if space in (None, (item.get("metadata") or {}).get("namespace")) and chosen(item, query)]
        if name is None:
            return 200, {"kind": "List", "apiVersion": "v1", "metadata": {"resourceVersion": "1"},
                         "items": [{key: value for key, value in item.items() if key not in ("kind", "apiVersion")} for item in items]}
        found = [item for item in items if item["metadata"]["name"] == name]
        return (200, found[0]) if found else self.fail(404, f"{resource} \"{name}\" not found")

    @staticmethod
    def fail(code, message):
        return code, {"kind": "Status", "status": "Failure", "message": message, "code": code}

    def __enter__(self):
        cluster = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize = -1  # an answer is one write

            def log_message(self, *_):
                pass

            def date_time_string(self, timestamp=None):
                return email.utils.formatdate((timestamp or time.time()) + cluster.skew, usegmt=True)

            def any(self):
                url = urllib.parse.urlsplit(self.path)
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                cluster.headers.append(self.headers)
                if cluster.who(self):
                    code, thing_ = cluster.answer(self.command, url.path, urllib.parse.parse_qs(url.query), body)
                else:
                    code, thing_ = cluster.fail(401, "Unauthorized")
                data = json.dumps(thing_).encode()
                self.send_response(code)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            do_GET = do_POST = any

        self.folder = tempfile.TemporaryDirectory(prefix="fairlead-cli-")
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        if self.authority:
            self.serve_tls()
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return self

    def serve_tls(self):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        own = pathlib.Path(self.folder.name, "server.pem")
        own.write_text(self.authority.leaf("api.test"))
        context.load_cert_chain(own)
        context.load_verify_locations(self.authority.file)
        context.verify_mode = ssl.CERT_OPTIONAL
        self.server.handle_error = lambda *_: None
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True, do_handshake_on_connect=False)
        self.where = {"certificate-authority-data": base64.b64encode(self.authority.pem.encode()).decode(), "tls-server-name": "api.test",
                      **self.where}

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()
        self.folder.cleanup()

    def port(self):
        return self.server.server_address[1]

    def kubeconfig(self):
        path = pathlib.Path(self.folder.name, "kubeconfig")
        path.write_text(json.dumps({
            "apiVersion": "v1", "kind": "Config", "current-context": "fake",
            "clusters": [{"name": "fake", "cluster": {"server": f"{'https' if self.authority else 'http'}://127.0.0.1:{self.port()}", **self.where}}],
            "users": [{"name": "nobody", "user": self.user}],
            "contexts": [{"name": "fake", "context": {"cluster": "fake", "user": "nobody", "namespace": "shop"}}]}))
        return path

    def kubectl(self):
        """The path of a kubectl that knows port-forward alone, for `pages`."""
        (pathlib.Path(self.folder.name) / "pages.json").write_text(
            json.dumps([[*key, *value] for key, value in self.pages.items()]))
        path = pathlib.Path(self.folder.name, "kubectl")
        path.write_text(f"#!/bin/sh\nexec {sys.executable} -B {pathlib.Path(__file__).resolve()} {self.folder.name}/pages.json \"$@\"\n")
        path.chmod(0o755)
        return path

    def run(self, fairlead, *argv, env=None, timeout=60):
        return subprocess.run([fairlead, *map(str, argv)], capture_output=True, text=True, timeout=timeout, check=False,
                              env={**os.environ, "KUBECONFIG": str(self.kubeconfig()), **(env or {})})


def chosen(item, query):
    metadata = item.get("metadata") or {}
    for clause in filter(None, ",".join(query.get("fieldSelector", [])).split(",")):
        key, _, value = clause.partition("=")
        if key == "metadata.name" and metadata.get("name") != value:
            return False
    for clause in filter(None, ",".join(query.get("labelSelector", [])).split(",")):
        key, _, value = clause.partition("=")
        if (metadata.get("labels") or {}).get(key) != value:
            return False
    return True


def bundle(space, pem):
    return thing("ConfigMap", "fairlead-root", space, metadata={"labels": {"fairlead.io/bundle": "true"}}, data={"root-cert.pem": pem})


def good(root=None):
    cluster = Cluster(root)
    ready = {"conditions": [{"type": "Ready", "status": "True"}]}
    cluster.add("nodes", thing("Node", "one", metadata={"labels": {"kubernetes.io/os": "linux"}}, status=ready),
                thing("Node", "two", metadata={"labels": {"kubernetes.io/os": "linux"}}, status=ready))
    cluster.add("leases", *(thing("Lease", name, "kube-node-lease", "coordination.k8s.io/v1", spec={"renewTime": stamp(-4)}) for name in ("one", "two")))
    cluster.add("namespaces", thing("Namespace", MESH), thing("Namespace", "kube-system"), thing("Namespace", "plain"),
                thing("Namespace", "shop", metadata={"labels": {"fairlead.io/inject": "enabled"}}))
    for component, replicas in (("webhook", 2), ("keeper", 1), ("control", 2), ("deployer", 1)):
        cluster.add("deployments", deployment(component, replicas))
    cluster.add("pods", own_pod("control", 1, ports=[{"name": "xds", "containerPort": 15012}]), own_pod("control", 2), own_pod("webhook", 3, ports=[{"name": "https", "containerPort": 8443}]))
    control_pages(cluster, 1, proxy("web-1"))
    control_pages(cluster, 2, proxy("web-2"))
    cluster.add("daemonsets", thing("DaemonSet", "fairlead-agent", "fairlead-cni", "apps/v1", metadata={"labels": labels("agent")}))
    for number, node in ((8, "one"), (9, "two")):
        cluster.add("pods", own_pod("agent", number, "fairlead-cni"))["spec"]["nodeName"] = node
    cluster.add("pods", app_pod("web-1"), app_pod("web-2"), app_pod("out", "plain", sidecar=False))
    cluster.add("services", thing("Service", "fairlead-webhook", MESH, metadata={"labels": labels("webhook")}))
    cluster.add("configmaps", bundle(MESH, cluster.root), bundle("shop", cluster.root),
                thing("ConfigMap", "fairlead-webhook", MESH, data={"config.yaml": CONFIG}))
    hook = {"name": "namespace.inject.fairlead.io", "failurePolicy": "Fail",
            "clientConfig": {"caBundle": base64.b64encode(cluster.root.encode()).decode(),
                             "service": {"name": "fairlead-webhook", "namespace": MESH, "port": 443}}}
    cluster.add("mutatingwebhookconfigurations", thing("MutatingWebhookConfiguration", "fairlead-webhook", metadata={"labels": labels("webhook")},
                                                       webhooks=[hook, {**copy.deepcopy(hook), "name": "pod.inject.fairlead.io"}]))
    cluster.add("customresourcedefinitions", *(crd("fairlead.io", kind, "v1alpha1") for kind in OWN_KINDS),
                *(crd("gateway.networking.k8s.io", kind, "v1", **{"gateway.networking.k8s.io/bundle-version": "v1.6.3"}) for kind in GATEWAY_KINDS))
    cluster.add("gatewayclasses", thing("GatewayClass", "fairlead", spec={"controllerName": "fairlead.io/gateway-controller"},
                                        status={"conditions": [{"type": "Accepted", "status": "True"}]}))
    return cluster


# ---- as kubectl ----

def forward(pages_file, argv):
    """kubectl [--kubeconfig F] [--context C] port-forward -n NS pod/NAME|deploy/NAME --address A :PORT …"""
    pages = {tuple(row[:4]): row[4:] for row in json.loads(pathlib.Path(pages_file).read_text())}
    words = [word for word in argv if not word.startswith("-")]
    space = argv[argv.index("-n") + 1]
    pod = next(word for word in words if word.startswith(("pod/", "deploy/"))).removeprefix("pod/")
    ports = [int(word[1:]) for word in words if word.startswith(":")]
    if not any(key[:2] == (space, pod) for key in pages):
        print(f"Error from server (NotFound): pods \"{pod}\" not found", file=sys.stderr)
        return 1
    for port in ports:
        class Handler(http.server.BaseHTTPRequestHandler):
            wanted = port

            def log_message(self, *_):
                pass

            def do_GET(self):  # the name is http.server's
                status, text = pages.get((space, pod, self.wanted, self.path), (404, "nothing here"))
                data = text.encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.handle_error = lambda *_: None
        if (space, pod, port, "tls") in pages:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            with tempfile.NamedTemporaryFile("w") as file:
                file.write(pages[space, pod, port, "tls"][1])
                file.flush()
                context.load_cert_chain(file.name)
            server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        print(f"Forwarding from 127.0.0.1:{server.server_address[1]} -> {port}", flush=True)
    threading.Event().wait()
    return 0


if __name__ == "__main__":
    sys.exit(forward(sys.argv[1], sys.argv[2:]))
