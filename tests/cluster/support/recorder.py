"""An HTTPS server in the webhook's place: admits everything, changes nothing, and tells which pods it was asked about.

    recorder = Recorder(self)                      of a test, or of a class; ends after it
    recorder.url("default")                        where a release's webhook.url points
    recorder.asked["web"]                          ["default"]: the paths, in order
"""
import collections
import http.server
import json
import ssl
import threading

from . import place
from .certificate import Authority


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # head and body in one segment: else each call waits for a delayed acknowledgement

    def do_POST(self):  # noqa: N802 (the name is the library's)
        review = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        request = review["request"]
        meta = request["object"]["metadata"]
        self.server.asked[meta.get("name") or meta.get("generateName")].append(self.path.partition("?")[0].lstrip("/"))
        answer = json.dumps({"apiVersion": review["apiVersion"], "kind": "AdmissionReview",
                             "response": {"uid": request["uid"], "allowed": True}}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *arguments):
        """It is told by `asked`."""


class Server(http.server.ThreadingHTTPServer):
    def __init__(self, asked):
        super().__init__((place.NODE_IP, 0), Handler)
        self.asked = asked
        self.connections = []

    def process_request(self, request, client_address):
        self.connections.append(request)
        super().process_request(request, client_address)

    def handle_error(self, request, client_address):
        """A connection that ends in its middle is how a dead webhook is made."""


class Recorder:
    def __init__(self, lane):
        self.authority = Authority(lane.folder())
        self.asked = collections.defaultdict(list)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*self.authority.issue("recorder"))
        self.server = Server(self.asked)
        self.port = self.server.server_address[1]
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()
        (lane.addClassCleanup if isinstance(lane, type) else lane.addCleanup)(self.stop)

    def url(self, path):
        return f"https://{place.NODE_IP}:{self.port}/{path}"

    def stop(self):
        """Dead: nobody listens, and no kept connection is answered."""
        if self.server is None:
            return
        self.server.shutdown()
        self.server.socket.close()
        for connection in self.server.connections:
            try:
                connection.shutdown(2)
            except OSError:
                pass
        self.thread.join()
        self.server = None
