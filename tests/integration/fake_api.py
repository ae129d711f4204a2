"""A small Kubernetes API server in memory, for programs that keep a few objects: create, read, list, watch, merge patch,
server-side apply of caBundle with field managers, optimistic concurrency, and trouble on demand. Plain HTTP.

Not the real one: what it refuses and how it words it follows the API conventions; tests/cluster proves it there.
"""
import copy
import http.server
import json
import queue
import threading
import time
import urllib.parse

KINDS = {"secrets": "Secret", "leases": "Lease", "mutatingwebhookconfigurations": "MutatingWebhookConfiguration"}


class Refused(Exception):
    def __init__(self, code, reason, message, causes=None):
        super().__init__(message)
        self.body = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "reason": reason,
                     "message": message, "details": {"causes": causes or []}}
        self.code = code


def merge(target, patch):
    """RFC 7386."""
    for key, value in patch.items():
        if value is None:
            target.pop(key, None)
        elif isinstance(value, dict):
            target[key] = merge(target[key] if isinstance(target.get(key), dict) else {}, value)
        else:
            target[key] = value
    return target


class Store:
    """Objects by path ("/api/v1/namespaces/x/secrets/y"), and everything that was written, in order."""

    def __init__(self):
        self.lock = threading.RLock()
        self.version = 100
        self.objects = {}
        self.watchers = []
        self.writes = []  # (method, path, manager)
        self.reads = []
        self.trouble = None  # called with (method, path); may raise Refused or return "drop"
        self.changed = threading.Condition(self.lock)

    def stamp(self, path, item, event):
        self.version += 1
        item["metadata"]["resourceVersion"] = str(self.version)
        if event != "DELETED":
            self.objects[path] = item
        for watcher in list(self.watchers):
            watcher.put((path, event, copy.deepcopy(item)))
        self.changed.notify_all()

    def get(self, path):
        with self.lock:
            if path not in self.objects:
                raise Refused(404, "NotFound", f"{path.rsplit('/', 1)[1]!r} not found")
            return copy.deepcopy(self.objects[path])

    def create(self, collection, item):
        with self.lock:
            path = f"{collection}/{item['metadata']['name']}"
            if path in self.objects:
                raise Refused(409, "AlreadyExists", f"{path} already exists")
            item = copy.deepcopy(item)
            self.stamp(path, item, "ADDED")
            return copy.deepcopy(item)

    def check_version(self, item, patch):
        wanted = patch.get("metadata", {}).get("resourceVersion")
        if wanted is not None and wanted != item["metadata"]["resourceVersion"]:
            raise Refused(409, "Conflict", "the object has been modified; please apply your changes to the latest version")

    def patch(self, path, patch):
        with self.lock:
            item = self.get(path)
            self.check_version(item, patch)
            before = copy.deepcopy(item)
            merge(item, patch)
            if item != before:
                self.stamp(path, item, "MODIFIED")
            return self.get(path)

    def apply(self, path, patch, manager, force):
        """Of a MutatingWebhookConfiguration, and of the one field: who owns each webhook's caBundle is kept aside."""
        with self.lock:
            item = self.get(path)
            self.check_version(item, patch)
            before = copy.deepcopy(item)
            owners = item["metadata"].setdefault("owners", {})
            if not set(patch) <= {"apiVersion", "kind", "metadata", "webhooks"}:
                raise Refused(422, "Invalid", "more than one field")
            if not set(patch["metadata"]) <= {"name", "resourceVersion"}:
                raise Refused(422, "Invalid", "metadata is applied")
            present = {hook["name"]: hook for hook in item["webhooks"]}
            for hook in patch["webhooks"]:
                if set(hook) != {"name", "clientConfig"} or set(hook["clientConfig"]) != {"caBundle"}:
                    raise Refused(422, "Invalid", "more than caBundle is applied")
                if hook["name"] not in present:
                    raise Refused(422, "Invalid", "a webhook is added")
                owner, bundle = owners.get(hook["name"]), hook["clientConfig"]["caBundle"]
                if owner not in (None, manager) and present[hook["name"]]["clientConfig"].get("caBundle") != bundle:
                    if not force:
                        raise Refused(409, "Conflict", "Apply failed with 1 conflict", [
                            {"reason": "FieldManagerConflict", "field": f".webhooks[name=\"{hook['name']}\"].clientConfig.caBundle",
                             "message": f'conflict with "{owner}" using admissionregistration.k8s.io/v1'}])
                present[hook["name"]]["clientConfig"]["caBundle"] = bundle
                owners[hook["name"]] = manager
            applied = {hook["name"] for hook in patch["webhooks"]}
            for name, owner in list(owners.items()):
                if owner == manager and name not in applied:  # not wanted any more
                    present[name]["clientConfig"].pop("caBundle", None)
                    del owners[name]
            if item != before:
                self.stamp(path, item, "MODIFIED")
            return self.get(path)

    def delete(self, path):
        with self.lock:
            self.stamp(path, self.objects.pop(path), "DELETED")

    def edit(self, path, change):
        """As somebody else would."""
        with self.lock:
            item = self.get(path)
            change(item)
            self.stamp(path, item, "MODIFIED")

    def wait(self, predicate, seconds=60):
        """Until it holds of the store (looked at after every change)."""
        end = time.monotonic() + seconds
        with self.lock:
            while not predicate(self):
                if not self.changed.wait(timeout=max(0.01, end - time.monotonic())) and time.monotonic() > end:
                    raise AssertionError("it never came to that")


def chosen(item, query):
    field = query.get("fieldSelector", [""])[0]
    labels = query.get("labelSelector", [""])[0]
    if field and item["metadata"]["name"] != field.removeprefix("metadata.name="):
        return False
    if labels:
        key, _, value = labels.partition("=")
        return item["metadata"].get("labels", {}).get(key) == value
    return True


def belongs(path, collection):
    """Whether an object lies in a collection: of its namespace, or of all of them."""
    head, of_all, rest = path.partition("/namespaces/")
    return path.rsplit("/", 1)[0] == collection or bool(
        of_all and rest.count("/") == 2 and f"{head}/{rest.split('/')[1]}" == collection)


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    store = None

    def log_message(self, *_):
        pass

    def answer(self, code, body):
        data = json.dumps(body).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def watch(self, collection, query):
        events = queue.Queue()
        since = int(query.get("resourceVersion", ["0"])[0] or 0)
        with self.store.lock:
            self.store.watchers.append(events)
            for path, item in self.store.objects.items():  # what changed between list and watch
                if int(item["metadata"]["resourceVersion"]) > since:
                    events.put((path, "MODIFIED", copy.deepcopy(item)))
        try:
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            while True:
                path, event, item = events.get()
                if not belongs(path, collection) or not chosen(item, query):
                    continue
                data = json.dumps({"type": event, "object": item}).encode() + b"\n"
                self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
                self.wfile.flush()
        except OSError:
            self.close_connection = True
        finally:
            self.store.watchers.remove(events)

    def read(self, path, query):
        if path in self.store.objects or path.rsplit("/", 1)[1] not in KINDS:
            return 200, self.store.get(path)
        with self.store.lock:
            items = [copy.deepcopy(item) for key, item in self.store.objects.items()
                     if belongs(key, path) and chosen(item, query)]
            return 200, {"kind": "List", "apiVersion": "v1", "items": items,
                         "metadata": {"resourceVersion": str(self.store.version)}}

    def write(self, path, query, body):
        manager = query.get("fieldManager", [""])[0]
        self.store.writes.append((self.command, path, manager))
        patch = json.loads(body)
        if self.command == "POST":
            return 201, self.store.create(path, patch)
        if self.headers["Content-Type"] == "application/merge-patch+json":
            return 200, self.store.patch(path, patch)
        if self.headers["Content-Type"] == "application/apply-patch+yaml":
            return 200, self.store.apply(path, patch, manager, query.get("force", [""])[0] == "true")
        raise Refused(415, "UnsupportedMediaType", self.headers["Content-Type"] or "")

    def handle_any(self):
        url = urllib.parse.urlsplit(self.path)
        query = urllib.parse.parse_qs(url.query)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        try:
            trouble = self.store.trouble
            if trouble is not None and trouble(self.command, url.path) == "drop":
                self.close_connection = True
                return
            if self.command == "GET" and query.get("watch", [""])[0] in ("1", "true"):
                self.watch(url.path, query)
                return
            if self.command == "GET":
                self.store.reads.append(url.path)
                self.answer(*self.read(url.path, query))
            else:
                self.answer(*self.write(url.path, query, body))
        except Refused as refused:
            self.answer(refused.code, refused.body)
        except OSError:  # it went away before its answer
            self.close_connection = True

    do_GET = do_POST = do_PATCH = handle_any


class QuietServer(http.server.ThreadingHTTPServer):
    def handle_error(self, request, client_address):
        pass  # a client that was killed


class FakeApi:
    def __init__(self, handler=Handler):
        self.store = Store()
        handler = type("BoundHandler", (handler,), {"store": self.store})
        self.server = QuietServer(("127.0.0.1", 0), handler)
        self.server.daemon_threads = True
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()

    def kubeconfig(self):
        return json.dumps({
            "apiVersion": "v1", "kind": "Config", "current-context": "fake",
            "clusters": [{"name": "fake", "cluster": {"server": f"http://127.0.0.1:{self.server.server_address[1]}"}}],
            "users": [{"name": "nobody", "user": {}}],
            "contexts": [{"name": "fake", "context": {"cluster": "fake", "user": "nobody"}}]})

    def close(self):
        self.server.shutdown()
        self.server.server_close()
