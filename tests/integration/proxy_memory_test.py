"""A proxy under a small memory ceiling: two thousand clients ask for bodies and do not read them. It lives below the
ceiling, others are served, and it is small again afterwards. usage: proxy_memory_test.py PROXY
"""
import re
import resource
import selectors
import socket
import sys
import threading

import proxy_support as s
from proxy_support import Client, Proxy, get

READERS = 2000
BODY = 1 << 20
MIB = 1 << 20
LIMIT = 64


class Bodies:
    """GET /big: a megabyte; else two bytes. One thread for all connections."""

    def __init__(self, port):
        with s.inside("b"):
            self.listener = socket.socket()
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 16384)
        self.listener.bind(("0.0.0.0", port))
        self.listener.listen(1024)
        self.listener.setblocking(False)
        self.selector = selectors.DefaultSelector()
        self.selector.register(self.listener, selectors.EVENT_READ)
        threading.Thread(target=self.loop, daemon=True).start()

    def loop(self):
        while True:
            for key, _events in self.selector.select():
                try:
                    self.accept() if key.fileobj is self.listener else self.serve(key)
                except OSError:
                    self.selector.unregister(key.fileobj)
                    key.fileobj.close()

    def accept(self):
        sock, _peer = self.listener.accept()
        sock.setblocking(False)
        self.selector.register(sock, selectors.EVENT_READ, {"in": b"", "left": 0})

    def serve(self, key):
        sock, state = key.fileobj, key.data
        if state["left"] > 0:
            state["left"] -= sock.send(b"x" * min(state["left"], 65536))
        else:
            piece = sock.recv(65536)
            if not piece:
                raise OSError
            state["in"] += piece
            if b"\r\n\r\n" not in state["in"]:
                return
            state["left"] = BODY if b"/big" in state["in"] else 2
            state["in"] = b""
            sock.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % state["left"])
        self.selector.modify(sock, selectors.EVENT_WRITE if state["left"] > 0 else selectors.EVENT_READ, state)


def config():
    """No circuit breaker stands in the way."""
    limits = "circuit_breakers: {thresholds: [{max_connections: 99999, max_pending_requests: 99999, max_requests: 99999}]}"
    return (s.GOLDEN / "server-permissive.yaml").read_text().replace("    type: ORIGINAL_DST\n", f"    type: ORIGINAL_DST\n    {limits}\n")


def slow_reader():
    with s.inside("a", as_proxy=True):
        sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sock.settimeout(s.PATIENCE)
    sock.connect((s.ADDRESS["b", 4], 8080))
    sock.sendall(get("/big").encode())
    return sock


def peak_kib(proxy):
    with open(f"/proc/{proxy.process.pid}/status") as file:
        return int(re.search(r"VmHWM:\s+(\d+)", file.read())[1])


def slow_readers_under_a_small_ceiling():
    proxy = Proxy("b", config(), "server", files=10000,
                  options=("--memory-limit-mib", str(LIMIT)))
    assert proxy.metric("fairlead_memory_limit_bytes") == LIMIT * MIB
    other = Client("a", "b", 8080, as_proxy=True)
    assert other.ask(get("/"))[0] == 200
    readers = []
    for number in range(READERS):
        readers.append(slow_reader())
        if number % 200 == 199:
            assert other.ask(get("/"))[0] == 200, number
    s.eventually(lambda: proxy.metric("fairlead_memory_stages_total", stage="stop_reading") >= 1, "no stage began")
    assert proxy.wait_for("memory ceiling")["stage"] == "stop_reading"
    for _ in range(50):
        assert other.ask(get("/"))[0] == 200
        fresh = Client("a", "b", 8080, as_proxy=True)
        assert fresh.ask(get("/"))[0] == 200
        fresh.sock.close()
    assert peak_kib(proxy) < LIMIT * 1024, peak_kib(proxy)
    for sock in readers:
        sock.close()
    s.eventually(lambda: proxy.metric("fairlead_memory_stage") == 0, "the stage does not end")
    assert other.ask(get("/"))[0] == 200
    other.sock.close()
    s.eventually(lambda: proxy.private_kib() < 16384, "it does not get small again")
    proxy.stop()


def too_many_for_any_ceiling_are_refused_and_the_process_lives():
    """So many connections that reading less does not help: they are reset or answered 503, and counted."""
    proxy = Proxy("b", config(), "server", files=20000,
                  options=("--memory-limit-mib", "16"))
    readers = []
    for _ in range(3 * READERS):
        try:
            readers.append(slow_reader())
        except OSError:
            pass
        if len(readers) % 100 == 0 and proxy.metric("fairlead_connections_refused_total", reason="overload") + \
                proxy.metric("fairlead_memory_requests_refused_total") > 0:
            break
    else:
        raise AssertionError("nobody was refused")
    for sock in readers:
        sock.close()

    def served():
        try:
            fresh = Client("a", "b", 8080, as_proxy=True)
            with fresh.sock:
                return fresh.ask(get("/"))[0] == 200
        except (OSError, EOFError):
            return False
    s.eventually(served, "it does not come back")
    proxy.stop()


TESTS = [slow_readers_under_a_small_ceiling, too_many_for_any_ceiling_are_refused_and_the_process_lives]

if __name__ == "__main__":
    s.skip_unless_possible()
    if s.SANITIZED:
        print("skipped: AddressSanitizer keeps what is freed")
        sys.exit(s.SKIPPED)
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 20000), hard))
    s.make_pods()
    s.make_ca("ca")
    s.make_identity("server", s.SERVER_ID)
    Bodies(8080)
    s.run_tests(TESTS)
