"""A Kubernetes API server as far as namespaces go, for tests: HTTPS, bearer tokens, lists in pages, watches with history, and
everything that can go wrong with one, on demand."""
import http.server
import json
import ssl
import threading
import urllib.parse

METADATA = "application/json;as=PartialObjectMetadata"


class Api:
    def __init__(self, folder, authority, name="api"):
        self.folder, self.authority = folder, authority
        self.cert, self.key = authority.issue(name)
        self.token_file = folder / "token"
        self.changed = threading.Condition()
        self.objects = {}
        self.events = []  # (version, type, object)
        self.version = 100
        self.compacted = 0
        self.requests = []  # paths, as they came
        self.bad_accepts = []
        self.holds_watches = False  # streams are open and say nothing
        self.streams = 0  # that are open and good
        self.generation = 0  # streams of an older one are cut
        self.answers = {}  # kind of request ("list", "watch", "get") → (status, headers), instead of the real one
        self.garbage = None  # bytes that the next stream begins with, and is cut behind
        self.gate = threading.Event()  # GETs of one namespace pass while it is set
        self.gate.set()
        self.overtaken = False  # they say what was so before they waited
        self.server, self.port = None, 0
        self.set_token("first")
        self.start()

    # ---- What tests do ----

    def set_token(self, token, accept=True):
        temporary = self.token_file.with_suffix(".new")
        temporary.write_text(token + "\n")
        temporary.rename(self.token_file)
        if accept:
            self.token = token

    def start(self):
        """Listens, on the same port as before."""
        api = self

        class Handler(RequestHandler):
            pass

        Handler.api = api
        self.server = Server(("127.0.0.1", self.port), Handler)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.cert, self.key)
        self.server.context = context
        self.port = self.server.server_address[1]
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        self.thread.start()

    def stop(self):
        """Nobody listens any more, and what was open is closed."""
        if self.server is None:
            return
        self.cut()
        self.server.shutdown()
        self.thread.join()
        self.server.close_all()
        self.server = None

    def cut(self):
        with self.changed:
            self.generation += 1
            self.changed.notify_all()

    def put(self, name, labels=None, annotations=None):
        with self.changed:
            self.version += 1
            kind = "MODIFIED" if name in self.objects else "ADDED"
            self.objects[name] = {
                "kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1",
                "metadata": {"name": name, "resourceVersion": str(self.version), "labels": labels or {},
                             "annotations": annotations or {}, "managedFields": [{"manager": "kubectl"}]}}
            self.events.append((self.version, kind, self.objects[name]))
            self.changed.notify_all()

    def delete(self, name):
        with self.changed:
            self.version += 1
            thing = self.objects.pop(name)
            thing["metadata"]["resourceVersion"] = str(self.version)
            self.events.append((self.version, "DELETED", thing))
            self.changed.notify_all()

    def compact(self):
        """History is gone: a watch from before gets 410."""
        with self.changed:
            self.version += 1
            self.compacted = self.version
            self.events.clear()

    def hold_watches(self, holds):
        with self.changed:
            self.holds_watches = holds
            self.changed.notify_all()

    def wait_for(self, condition, timeout=15):
        with self.changed:
            if not self.changed.wait_for(condition, timeout):
                raise AssertionError(f"it did not come; requests: {self.requests[-8:]}")

    def gets(self, name):
        with self.changed:
            return self.requests.count(f"/api/v1/namespaces/{name}")

    def kubeconfig(self):
        path = self.folder / "kubeconfig"
        path.write_text(json.dumps({
            "apiVersion": "v1", "kind": "Config", "current-context": "a",
            "contexts": [{"name": "a", "context": {"cluster": "c", "user": "u"}}],
            "clusters": [{"name": "c", "cluster": {"server": f"https://127.0.0.1:{self.port}",
                                                   "certificate-authority": self.authority.root.name}}],
            "users": [{"name": "u", "user": {"tokenFile": str(self.token_file)}}]}))
        return path


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, *arguments):
        self.open = set()
        super().__init__(*arguments)

    def finish_request(self, request, client_address):
        request.settimeout(30)
        try:
            tls = self.context.wrap_socket(request, server_side=True)
        except OSError:
            return
        self.open.add(tls)
        try:
            self.RequestHandlerClass(tls, client_address, self)
        except OSError:
            pass
        finally:
            self.open.discard(tls)
            tls.close()

    def close_all(self):
        self.server_close()
        for tls in list(self.open):
            try:
                tls.shutdown(2)
            except OSError:
                pass


class RequestHandler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    api = None

    def log_message(self, *arguments):
        pass

    def do_GET(self):
        api = self.api
        target = urllib.parse.urlsplit(self.path)
        query = dict(urllib.parse.parse_qsl(target.query))
        single = target.path.startswith("/api/v1/namespaces/")
        kind = "get" if single else "watch" if query.get("watch") else "list"
        with api.changed:
            api.requests.append(target.path if single else self.path)
            api.changed.notify_all()
            if not self.headers.get("Accept", "").startswith(METADATA):
                api.bad_accepts.append(self.path)
        if self.headers.get("Authorization") != f"Bearer {api.token}":
            self.fail(401, "Unauthorized")
        elif kind in api.answers:
            status, headers = api.answers[kind]
            self.fail(status, "as the test wants it", headers)
        elif single:
            self.get(target.path.rsplit("/", 1)[1])
        elif kind == "watch":
            self.watch(int(query["resourceVersion"]), query)
        else:
            self.list(int(query.get("limit", 0)), query.get("continue"))

    def send(self, status, thing, headers=None):
        body = json.dumps(thing).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def fail(self, status, message, headers=None):
        self.send(status, {"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": message, "code": status},
                  headers)

    def get(self, name):
        if not self.api.overtaken:
            self.api.gate.wait(20)
        with self.api.changed:
            thing = json.loads(json.dumps(self.api.objects.get(name)))
        if self.api.overtaken:
            self.api.gate.wait(20)
        if thing is None:
            self.fail(404, f'namespaces "{name}" not found')
        else:
            self.send(200, thing)

    def list(self, limit, token):
        with self.api.changed:
            names = sorted(self.api.objects)
            start = int(token or 0)
            end = start + limit if limit else len(names)
            metadata = {"resourceVersion": str(self.api.version)}
            if end < len(names):
                metadata["continue"] = str(end)
            items = [self.api.objects[name] for name in names[start:end]]
            body = {"kind": "PartialObjectMetadataList", "metadata": metadata, "items": items}
            body = json.loads(json.dumps(body))
        self.send(200, body)

    def chunk(self, data):
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
        self.wfile.flush()

    def watch(self, version, query):
        api = self.api
        assert query.get("allowWatchBookmarks") == "true" and int(query["timeoutSeconds"]) >= 60, query
        if version < api.compacted:
            self.fail(410, "too old resource version")
            return
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        self.close_connection = True
        with api.changed:
            generation = api.generation
            garbage, api.garbage = api.garbage, None
        if garbage is not None:
            self.chunk(garbage)
            return
        with api.changed:
            api.streams += 1
            api.changed.notify_all()
        try:
            self.follow(version, generation)
        finally:
            with api.changed:
                api.streams -= 1
                api.changed.notify_all()

    def follow(self, version, generation):
        api = self.api
        while True:
            with api.changed:
                api.changed.wait_for(lambda: api.generation != generation or
                                     (not api.holds_watches and api.events and api.events[-1][0] > version), 60)
                if api.generation != generation:
                    return
                news = [event for event in api.events if event[0] > version] if not api.holds_watches else []
                data = b"".join(json.dumps({"type": kind, "object": thing}).encode() + b"\n"
                                for _, kind, thing in news)
            if news:
                version = news[-1][0]
                self.chunk(data)
