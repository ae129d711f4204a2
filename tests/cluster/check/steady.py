"""An app as a rollout finds it, and the load that must not notice, for pods that have the machine's Python (or for a machine that has it).

    steady.py serve NAME                       HTTP on 8080, gRPC on 9090. At SIGTERM it takes no connection any more, answers what it was
                                               asked, and exits: what Go's Shutdown does, and no preStop hook before it
    steady.py load KIND=URL…                   asks all the time, and tells on its output, a JSON object a line

| KIND | |
|---|---|
| `kept` | GET and POST by turns over connections that are kept |
| `new` | a connection for each request |
| `slow` | requests that take a second |
| `grpc` | calls over one channel |

Each request is sent once, except that a kept connection which the server had closed before the request was written is no failure (the client sees
that). Lines: {"at", "failed": KIND, "why", "seconds"} for each failure, and once a second {"at", "done": {KIND: so many until now},
"slowest": seconds of the slowest since the last one}. Times are the machine's, in seconds.
"""
import http.client
import http.server
import json
import os
import select
import signal
import socket
import sys
import threading
import time
import urllib.parse
from concurrent import futures

import grpc

RATES = {"kept": (4, 0.15), "new": (3, 0.15), "slow": (2, 0.1), "grpc": (2, 0.1)}  # threads, pause after each request
TIMEOUT = 15
WAIT = 1.0     # what a slow request takes
METHOD = "/steady.Steady/Ask"


# -- the app ----------------------------------------------------------------------------------------------------------

class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    name, busy, lock = "", 0, threading.Condition()
    disable_nagle_algorithm = True

    def answer(self):
        with Handler.lock:
            Handler.busy += 1
        try:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            if self.path == "/slow":
                time.sleep(WAIT)
            body = Handler.name.encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
            self.wfile.flush()
        finally:
            with Handler.lock:
                Handler.busy -= 1
                Handler.lock.notify_all()

    do_GET = do_POST = answer

    def log_message(self, *_):
        pass


class Server(http.server.ThreadingHTTPServer):
    request_queue_size = 128

    def server_bind(self):
        socket.socket.bind(self.socket, self.server_address)
        self.server_name, self.server_port = "steady", self.server_address[1]


class Calls(grpc.GenericRpcHandler):
    def service(self, details):
        return grpc.unary_unary_rpc_method_handler(lambda request, context: request) if details.method == METHOD else None


def serve(name):
    Handler.name = name
    calls = grpc.server(futures.ThreadPoolExecutor(8), handlers=(Calls(),))
    calls.add_insecure_port("0.0.0.0:9090")
    calls.start()
    server = Server(("0.0.0.0", 8080), Handler)
    over = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: over.set())
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    over.wait()
    server.shutdown()
    server.socket.close()
    calls.stop(5).wait()
    with Handler.lock:
        Handler.lock.wait_for(lambda: Handler.busy == 0, 20)
    os._exit(0)


# -- the load ---------------------------------------------------------------------------------------------------------

class Load:
    def __init__(self):
        self.lock, self.done, self.slowest = threading.Lock(), {}, 0.0

    def tell(self, **line):
        print(json.dumps({"at": round(time.time(), 3), **line}), flush=True)

    def run(self, kind, ask, pause):
        while True:
            begin = time.monotonic()
            try:
                ask()
                why = None
            except Exception as error:  # whatever it is, it is a request that failed
                why = f"{type(error).__name__}: {error}"
            seconds = time.monotonic() - begin
            with self.lock:
                self.done[kind] = self.done.get(kind, 0) + 1
                self.slowest = max(self.slowest, seconds)
                if why:
                    self.tell(failed=kind, why=why[:300], seconds=round(seconds, 3))
            time.sleep(pause)

    def tick(self):
        while True:
            time.sleep(1)
            with self.lock:
                self.tell(done=self.done, slowest=round(self.slowest, 3))
                self.slowest = 0.0


class Asker:
    """HTTP over one connection, or one for each."""

    def __init__(self, url, keep, posts, path="/"):
        self.host, self.path = urllib.parse.urlsplit(url).netloc, path
        self.keep, self.posts, self.count, self.connection = keep, posts, 0, None

    def is_gone(self):
        """The server has closed it, so nobody would send anything there."""
        if self.connection is None or self.connection.sock is None:
            return True
        return bool(select.select([self.connection.sock], [], [], 0)[0])

    def __call__(self):
        self.count += 1
        if not self.keep or self.is_gone():
            self.close()
            self.connection = http.client.HTTPConnection(self.host, timeout=TIMEOUT)
            self.connection.connect()
            self.connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            post = self.posts and self.count % 2 == 0
            self.connection.request("POST" if post else "GET", self.path, body=b"x" * 100 if post else None)
            answer = self.connection.getresponse()
            body = answer.read()
        except Exception:
            self.close()
            raise
        if answer.status != 200:
            raise RuntimeError(f"{answer.status} {body[:200]!r}")

    def close(self):
        if self.connection is not None:
            self.connection.close()
            self.connection = None


class Caller:
    channels, lock = {}, threading.Lock()

    def __init__(self, url):
        target = urllib.parse.urlsplit(url).netloc
        with Caller.lock:
            if target not in Caller.channels:
                Caller.channels[target] = grpc.insecure_channel(target, options=[("grpc.max_reconnect_backoff_ms", 1000)])
        self.call = Caller.channels[target].unary_unary(METHOD)

    def __call__(self):
        try:
            if self.call(b"hello", timeout=TIMEOUT) != b"hello":
                raise RuntimeError("another answer")
        except grpc.RpcError as error:
            raise RuntimeError(f"{error.code().name} {error.details()}") from None


def asker(kind, url):
    if kind == "grpc":
        return Caller(url)
    return Asker(url, keep=kind != "new", posts=kind == "kept", path="/slow" if kind == "slow" else "/")


def load(words):
    told = Load()
    for word in words:
        kind, _, url = word.partition("=")
        threads, pause = RATES[kind]
        for _ in range(threads):
            threading.Thread(target=told.run, args=(kind, asker(kind, url), pause), daemon=True).start()
    told.tick()


if sys.argv[1] == "serve":
    serve(sys.argv[2])
else:
    load(sys.argv[2:])
