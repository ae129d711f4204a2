"""Raw peers of HTTP/1 and HTTP/2 that may do anything, well-behaved ones that must not notice, and a real fairlead-proxy
between them: everything in a network namespace of the test's own, on loopback.

    client ─► 800n ─► fairlead-proxy ─► 900n      n: 1 hostile HTTP/1 server, 2 hostile HTTP/2, 3 good HTTP/1, 4 good HTTP/2

HPACK is written as plain literals, which say exactly what a test means, and read by libnghttp2.
"""
import atexit
import contextlib
import ctypes
import ctypes.util
import json
import os
import pathlib
import re
import resource
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
import traceback

from waiting import PATIENCE, eventually

SKIPPED = 77
CLONE_NEWNET = 0x40000000
PROGRAM = os.path.abspath(sys.argv[1]) if len(sys.argv) > 1 else ""
SANITIZED = bool(PROGRAM) and b"__asan_init" in pathlib.Path(PROGRAM).read_bytes()
FOLDER = pathlib.Path(tempfile.mkdtemp(prefix="fl-baddays-"))
BAD1, BAD2, GOOD1, GOOD2 = 1, 2, 3, 4  # what the ports 8000 + n and 9000 + n are
OTHERS = {5: GOOD1, 6: GOOD2}  # listeners of those who behave, without a test's own settings
ADMIN = 9901
TYPE = "type.googleapis.com/envoy."
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
libc = ctypes.CDLL(None, use_errno=True)
processes = []


def own_namespace():
    """The whole process, before it has threads."""
    if os.geteuid() != 0 or libc.unshare(CLONE_NEWNET) != 0:
        print("skipped: this machine lets us make no network namespace")
        sys.exit(SKIPPED)
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)


def clean_up():
    for process in processes:
        if process.poll() is None:
            process.kill()
            process.wait()
    shutil.rmtree(FOLDER, ignore_errors=True)


# -- sockets ----------------------------------------------------------------------------------------------------------

def dial(which, receive=None, timeout=PATIENCE):
    sock = socket.socket()
    if receive is not None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive)
    sock.settimeout(timeout)
    sock.connect(("127.0.0.1", 8000 + which))
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


def reset(sock):
    """Closes with a RST."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def read_all(sock):
    """Everything until the end or a reset."""
    data = b""
    with contextlib.suppress(ConnectionError):
        while part := sock.recv(65536):
            data += part
    return data


class Reader:
    """Bytes of a socket with what was read too far kept. EOFError: it ended."""

    def __init__(self, sock):
        self.sock, self.rest = sock, bytearray()

    def more(self):
        piece = self.sock.recv(65536)
        if not piece:
            raise EOFError
        self.rest += piece

    def until(self, mark):
        while mark not in self.rest:
            self.more()
        return self.exactly(self.rest.index(mark) + len(mark))

    def exactly(self, count):
        while len(self.rest) < count:
            self.more()
        part = bytes(self.rest[:count])
        del self.rest[:count]
        return part

    def head(self):
        lines = self.until(b"\r\n\r\n").decode("latin-1").split("\r\n")
        return lines[0], {line.split(":", 1)[0].lower(): line.split(":", 1)[1].strip() for line in lines[1:] if ":" in line}

    def body(self, fields):
        if fields.get("transfer-encoding") != "chunked":
            return self.exactly(int(fields.get("content-length", 0)))
        body = b""
        while size := int(self.until(b"\r\n").split(b";")[0], 16):
            body += self.exactly(size)
            assert self.exactly(2) == b"\r\n"
        while self.until(b"\r\n") != b"\r\n":
            pass
        return body

    def answer(self, head_only=False):
        """(status, fields, body) of a final answer."""
        while True:
            line, fields = self.head()
            status = int(line.split()[1])
            if status >= 200:
                break
        return status, fields, b"" if head_only or status in (204, 304) else self.body(fields)


class Server:
    """Each connection goes to `serve` in a thread of its own."""

    def __init__(self, which, serve):
        self.listener = socket.socket()
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        self.listener.bind(("127.0.0.1", 9000 + which))
        self.listener.listen(512)
        self.serve, self.errors = serve, []
        threading.Thread(target=self.loop, daemon=True).start()

    def loop(self):
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            sock.settimeout(60)
            threading.Thread(target=self.one, args=(sock,), daemon=True).start()

    def one(self, sock):
        try:
            with contextlib.suppress(OSError, EOFError), sock:
                self.serve(sock)
        except Exception:  # told by the test
            self.errors.append(traceback.format_exc())

    def close(self):
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        self.close()
        assert kind or not self.errors, self.errors[0]


# -- HTTP/2 -----------------------------------------------------------------------------------------------------------

DATA, HEADERS, PRIORITY, RST, SETTINGS, PUSH, PING, GOAWAY, WINDOW, CONTINUATION = range(10)
END_STREAM, ACK, END_HEADERS, PADDED, HAS_PRIORITY = 1, 1, 4, 8, 32
NO_ERROR, PROTOCOL, INTERNAL, FLOW, TIMEOUT, CLOSED, SIZE, REFUSED, CANCEL, COMPRESSION, CONNECT, CALM = range(12)
MAGIC = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


def frame(kind, flags=0, stream=0, payload=b""):
    return struct.pack("!I", len(payload))[1:] + bytes((kind, flags)) + struct.pack("!I", stream) + payload


def settings(**values):
    numbers = {"table": 1, "push": 2, "streams": 3, "window": 4, "size": 5, "list": 6, "connect": 8}
    return frame(SETTINGS, 0, 0, b"".join(struct.pack("!HI", numbers[name], value) for name, value in values.items()))


def number(value, bits, first=0):
    """RFC 7541 §5.1."""
    most = (1 << bits) - 1
    if value < most:
        return bytes((first | value,))
    text, value = bytes((first | most,)), value - most
    while value >= 128:
        text, value = text + bytes((value % 128 | 128,)), value // 128
    return text + bytes((value,))


def literal(name, value):
    name, value = (text.encode("latin-1") if isinstance(text, str) else text for text in (name, value))
    return b"\0" + number(len(name), 7) + name + number(len(value), 7) + value


def block(*fields):
    return b"".join(literal(*field) for field in fields)


def asks(path="/", *fields, method="GET", authority="web"):
    return ((":method", method), (":scheme", "http"), (":path", path), (":authority", authority), *fields)


class Field(ctypes.Structure):
    _fields_ = [("name", ctypes.c_void_p), ("value", ctypes.c_void_p), ("namelen", ctypes.c_size_t),
                ("valuelen", ctypes.c_size_t), ("flags", ctypes.c_uint8)]


nghttp2 = ctypes.CDLL(ctypes.util.find_library("nghttp2") or "libnghttp2.so.14")
nghttp2.nghttp2_hd_inflate_hd2.restype = ctypes.c_ssize_t


class Inflater:
    def __init__(self):
        self.pointer = ctypes.c_void_p()
        assert nghttp2.nghttp2_hd_inflate_new(ctypes.byref(self.pointer)) == 0

    def __del__(self):
        nghttp2.nghttp2_hd_inflate_del(self.pointer)

    def read(self, data):
        fields, field, flags = [], Field(), ctypes.c_int()
        while True:
            used = nghttp2.nghttp2_hd_inflate_hd2(self.pointer, ctypes.byref(field), ctypes.byref(flags), data,
                                                  ctypes.c_size_t(len(data)), 1)
            assert used >= 0, f"the proxy's header block is wrong: {used}"
            data = data[used:]
            if flags.value & 2:
                fields.append((ctypes.string_at(field.name, field.namelen).decode("latin-1"),
                               ctypes.string_at(field.value, field.valuelen).decode("latin-1")))
            if flags.value & 1 or (not data and not flags.value & 2):
                nghttp2.nghttp2_hd_inflate_end_headers(self.pointer)
                return fields


class Stream:
    """What came of a stream."""

    def __init__(self):
        self.fields, self.trailers, self.body, self.ended, self.reset = {}, {}, b"", False, None

    @property
    def status(self):
        return int(self.fields.get(":status", 0))


class H2:
    """One side of an HTTP/2 connection: `send` anything, `next` reads a frame and keeps the books. It answers SETTINGS and
    PING (`polite`) and gives windows (`taking`) unless it is told not to."""

    def __init__(self, sock, server=False, hello=None, polite=True, taking=True):
        self.sock, self.server, self.polite, self.taking = sock, server, polite, taking and polite
        self.reader, self.inflater = Reader(sock), Inflater()
        self.streams, self.settings, self.goaway, self.last = {}, {}, None, -1
        self.window, self.windows = 65535, {}
        if server:
            assert self.reader.exactly(len(MAGIC)) == MAGIC
        hello = settings(window=1 << 20) + frame(WINDOW, 0, 0, struct.pack("!I", 1 << 24)) if hello is None else hello
        self.send(hello if server else MAGIC + hello)

    def send(self, *data):
        self.sock.sendall(b"".join(data))

    def stream(self, number):
        return self.streams.setdefault(number, Stream())

    def request(self, path="/", *fields, body=None, end=True, **how):
        """The number of a new stream."""
        self.last += 2
        data = frame(HEADERS, END_HEADERS | (END_STREAM if end and body is None else 0), self.last,
                     block(*asks(path, *fields, **how)))
        if body is not None:
            data += frame(DATA, END_STREAM if end else 0, self.last, body)
        self.stream(self.last)
        self.send(data)
        return self.last

    def next(self):
        """(kind, flags, number, payload); a header block is whole."""
        length, kind, flags, number = self.raw()
        payload = self.reader.exactly(length)
        while kind in (HEADERS, PUSH) and not flags & END_HEADERS:
            length, more, extra, _ = self.raw()
            assert more == CONTINUATION
            payload, flags = payload + self.reader.exactly(length), flags | extra
        self.take(kind, flags, number, payload)
        return kind, flags, number, payload

    def raw(self):
        head = self.reader.exactly(9)
        return (struct.unpack("!I", b"\0" + head[:3])[0], head[3], head[4], struct.unpack("!I", head[5:])[0])

    def take(self, kind, flags, number, payload):
        stream = self.stream(number) if number else None
        if kind == HEADERS:
            fields = dict(self.inflater.read(payload))
            if stream.fields and ":status" not in fields:
                stream.trailers = fields
            else:
                stream.fields = fields
        elif kind == DATA:
            stream.body += payload
            if payload and self.taking:
                self.send(*(frame(WINDOW, 0, one, struct.pack("!I", len(payload))) for one in (0, number)))
        elif kind == SETTINGS and not flags & ACK:
            for at in range(0, len(payload), 6):
                name, value = struct.unpack("!HI", payload[at:at + 6])
                self.settings[name] = value
            if self.polite:
                self.send(frame(SETTINGS, ACK))
        elif kind == PING and not flags & ACK and self.polite:
            self.send(frame(PING, ACK, 0, payload))
        elif kind == WINDOW:
            size = struct.unpack("!I", payload)[0]
            if number:
                self.windows[number] = self.windows.get(number, self.settings.get(4, 65535)) + size
            else:
                self.window += size
        elif kind == RST:
            stream.reset = struct.unpack("!I", payload)[0]
        elif kind == GOAWAY:
            self.goaway = struct.unpack("!I", payload[4:8])[0]
        if kind in (DATA, HEADERS) and flags & END_STREAM:
            stream.ended = True

    def over(self, number):
        """The stream, when it has ended or was reset; the connection's end counts as one."""
        stream = self.stream(number)
        try:
            while not stream.ended and stream.reset is None:
                self.next()
        except (EOFError, ConnectionError):
            stream.reset = -1 if stream.reset is None else stream.reset
        return stream

    def to_end(self):
        """Until the connection ends; the code of the GOAWAY, or None."""
        with contextlib.suppress(EOFError, ConnectionError):
            while True:
                self.next()
        return self.goaway

    def part(self, number, body, end=True):
        """Sends what the windows allow; the rest."""
        body = memoryview(body)
        while body:
            mine = self.windows.get(number, self.settings.get(4, 65535))
            room = min(len(body), 16384, self.window, mine)
            if room <= 0:
                break
            part, body = body[:room], body[room:]
            self.window -= room
            self.windows[number] = mine - room
            self.send(frame(DATA, END_STREAM if end and not body else 0, number, bytes(part)))
        return body

    def upload(self, number, body, end=True):
        while body := self.part(number, body, end):
            self.next()

    def answer(self, number, body=b"ok", *fields, status="200"):
        self.send(frame(HEADERS, END_HEADERS | (0 if body else END_STREAM), number,
                        block((":status", status), *fields)))
        self.upload(number, body)

    def close(self):
        self.sock.close()


def client(which, **how):
    return H2(dial(which), **how)


# -- those who behave -------------------------------------------------------------------------------------------------

def text_of(path):
    """A good server's body: /name/length; of another path, which a monkey may ask for, nothing."""
    name, _, length = path.strip("/").partition("/")
    if not name or not length.isdigit():
        return b""
    return (name.encode() * (int(length) // len(name) + 1))[:int(length)]


def serve_good1(sock):
    reader = Reader(sock)
    while True:
        line, fields = reader.head()
        method, path, _ = line.split()
        sent = reader.body(fields)
        body = sent if method == "POST" else text_of(path)
        sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + (b"" if method == "HEAD" else body))


def serve_good2(sock):
    """A stream without window holds up no other."""
    peer, waiting = H2(sock, server=True), {}
    while True:
        kind, flags, number, _ = peer.next()
        if kind in (DATA, HEADERS) and flags & END_STREAM:
            stream = peer.stream(number)
            post = stream.fields[":method"] == "POST"
            waiting[number] = stream.body if post else text_of(stream.fields[":path"])
            peer.send(frame(HEADERS, END_HEADERS, number, block((":status", "200"))))
        elif kind == RST:
            waiting.pop(number, None)
        for one in list(waiting):
            waiting[one] = peer.part(one, waiting[one])
            if not waiting[one]:
                del waiting[one], peer.streams[one]


class Others(threading.Thread):
    """Good clients of both versions to good servers of both, all the time. stop() asserts that each was served."""

    def __init__(self):
        super().__init__(daemon=True)
        self.count, self.failures, self.over = 0, [], threading.Event()
        self.start()

    def run(self):
        while not self.over.wait(0.01):
            try:
                self.step()
                self.count += 1
            except Exception:  # noqa: BLE001: told by stop()
                self.failures.append(traceback.format_exc())
                return

    def step(self):
        for which in OTHERS:
            name = f"n{self.count}"
            with dial(which) as sock:
                sock.sendall(f"GET /{name}/3000 HTTP/1.1\r\nHost: web\r\n\r\n".encode())
                status, _, body = Reader(sock).answer()
                assert (status, body) == (200, text_of(f"{name}/3000")), (status, body[:100])
            with dial(which) as sock:
                peer = H2(sock)
                stream = peer.over(peer.request(f"/{name}/3000"))
                assert (stream.status, stream.body) == (200, text_of(f"{name}/3000")), (stream.status, stream.reset)

    def stop(self):
        least = self.count + 1
        with contextlib.suppress(AssertionError):
            eventually(lambda: self.count > least or self.failures, "others are served")
        self.over.set()
        self.join(PATIENCE)
        assert not self.failures, self.failures[0]
        assert self.count > least, "nobody was served"


# -- the proxy --------------------------------------------------------------------------------------------------------

def address(port):
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


def cluster(which, **more):
    protocol = {"http_protocol_options": {}} if which in (BAD1, GOOD1) else {"http2_protocol_options": {}}
    name = f"c{which}"
    return {"name": name, "connect_timeout": "5s", "load_assignment": {"cluster_name": name, "endpoints": [
        {"lb_endpoints": [{"endpoint": {"address": address(9000 + which)}}]}]},
            "typed_extension_protocol_options": {"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": TYPE + "extensions.upstreams.http.v3.HttpProtocolOptions", "explicit_http_config": protocol}},
            **more}


def listener(which, hcm):
    log = {"name": "log", "typed_config": {"@type": TYPE + "extensions.access_loggers.file.v3.FileAccessLog",
                                           "path": str(FOLDER / "access.log")}}
    route = {"name": "r", "virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [
        {"match": {"prefix": "/"}, "route": {"cluster": f"c{OTHERS.get(which, which)}"}}]}]}
    router = {"name": "router", "typed_config": {"@type": TYPE + "extensions.filters.http.router.v3.Router"}}
    return {"name": f"l{which}", "address": address(8000 + which), "filter_chains": [{"filters": [
        {"name": "hcm", "typed_config": {
            "@type": TYPE + "extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
            "stat_prefix": "x", "access_log": [log], "route_config": route, "http_filters": [router], **hcm}}]}]}


class Proxy:
    """hcm: more fields of the connection managers; clusters: of the clusters; change: what else is done to the
    configuration. stop() asserts that it ends well, which with AddressSanitizer says also that nothing has leaked."""

    def __init__(self, hcm=None, clusters=None, files=None, options=(), workers=1, change=None):
        self.config = {"node": {"id": "x", "cluster": "x"}, "admin": {"address": address(ADMIN)}, "static_resources": {
            "listeners": [*(listener(which, hcm or {}) for which in (BAD1, BAD2, GOOD1, GOOD2)), *(listener(which, {}) for which in OTHERS)],
            "clusters": [cluster(which, **(clusters or {})) for which in (BAD1, BAD2, GOOD1, GOOD2)]}}
        if change is not None:
            change(self.config)
        self.path, self.log = FOLDER / "proxy.json", FOLDER / "proxy.log"
        self.write()
        limit = (lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))) if files else None
        environment = {**os.environ, "ASAN_OPTIONS": "quarantine_size_mb=1:detect_leaks=1", "TSAN_OPTIONS": "exitcode=66"}
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                [PROGRAM, "-c", str(self.path), "--concurrency", str(workers), "--drain-time-s", "2", *options],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, preexec_fn=limit, env=environment)
        processes.append(self.process)
        eventually(self.is_there, "the proxy is there")

    def write(self):
        new = self.path.with_suffix(".new")
        new.write_text(json.dumps(self.config))
        new.rename(self.path)

    def is_there(self):
        assert self.process.poll() is None, self.tail()
        with socket.socket() as sock:
            return sock.connect_ex(("127.0.0.1", ADMIN)) == 0 and self.admin("/ready")[0] == 200

    def tail(self):
        return self.log.read_text(errors="replace")[-8000:]

    def admin(self, path):
        with socket.socket() as sock:
            sock.settimeout(PATIENCE)
            sock.connect(("127.0.0.1", ADMIN))
            sock.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
            head, _, body = read_all(sock).partition(b"\r\n\r\n")
        return int(head.split()[1]), body.decode()

    def metric(self, name, **labels):
        lines = self.admin("/stats/prometheus")[1].splitlines()
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines if re.split("[{ ]", line)[0] == name and
                   all(f'{key}="{value}"' in line for key, value in labels.items()))

    def errors(self, reason, side="downstream"):
        return self.metric("fairlead_http_parse_errors_total", side=side, reason=reason)

    def flags(self, flag, code=None):
        labels = {"response_flags": flag} if code is None else {"response_flags": flag, "response_code": code}
        return self.metric("istio_requests_total", **labels)

    def open(self, side):
        return self.metric("fairlead_connections", side=side)

    def rss_kib(self):
        return int(re.search(r"VmRSS:\s+(\d+)", pathlib.Path(f"/proc/{self.process.pid}/status").read_text())[1])

    def access(self):
        path = FOLDER / "access.log"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        try:
            status = self.process.wait(PATIENCE * 2)
        except subprocess.TimeoutExpired:
            self.process.send_signal(signal.SIGABRT)
            status = self.process.wait()
        assert status == 0, f"exit status {status}: {self.tail()}"


@contextlib.contextmanager
def counted(proxy, name, count=1, **labels):
    """What is done within adds at least `count` to the metric."""
    before = proxy.metric(name, **labels)
    yield
    eventually(lambda: proxy.metric(name, **labels) >= before + count, f"{name} {labels} +{count}")


def run_tests(tests):
    """tests: names to functions of no arguments. With names on the command line, those alone."""
    failed, wanted = 0, sys.argv[2:]
    for test in tests:
        if wanted and test.__name__ not in wanted:
            continue
        began = time.monotonic()
        try:
            test()
            word = "ok"
        except Exception as error:  # noqa: BLE001: every failure is told, and the next test runs
            traceback.print_exc()
            word, failed = f"FAILED: {type(error).__name__}", failed + 1
        print(f"{time.monotonic() - began:6.2f} s  {test.__name__.replace('_', ' ')}: {word}", flush=True)
    return failed


def main(tests, good=True, proxy=True, others=True, **how):
    """Runs the tests with `proxy` as the module's proxy: each may take it by support.proxy()."""
    atexit.register(clean_up)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    own_namespace()
    servers = [Server(GOOD1, serve_good1), Server(GOOD2, serve_good2)] if good else []
    state["proxy"] = Proxy(**how) if proxy else None
    others = Others() if proxy and good and others else None
    failed = run_tests(tests)

    def others_were_served():
        others.stop()
        errors = [error for server in servers for error in server.errors]
        assert not errors, errors[0]

    def it_ends_well():
        state["proxy"].stop()

    sys.argv[2:] = []
    failed += run_tests([test for test, wanted in ((others_were_served, others), (it_ends_well, state["proxy"])) if wanted])
    sys.exit(1 if failed else 0)


state = {"proxy": None}


def the_proxy():
    return state["proxy"]
