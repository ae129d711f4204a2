"""Three processes after each other take the listeners over from the one before, under load: new connections and requests
on kept ones. None fails. usage: proxy_handover_test.py PROXY
"""
import socket
import threading

import proxy_support as s
from proxy_support import Client, Origin, Proxy, get

HAND_OVERS = 3


class Load:
    """A thread that asks until it is stopped, and what went wrong."""

    def __init__(self, ask):
        self.ask, self.count, self.failures, self.ends = ask, 0, [], False
        self.thread = threading.Thread(target=self.loop, daemon=True)
        self.thread.start()

    def loop(self):
        while not self.ends and not self.failures:
            try:
                self.ask()
                self.count += 1
            except (OSError, EOFError, AssertionError) as error:
                self.failures.append(repr(error))

    def stop(self):
        self.ends = True
        self.thread.join(s.PATIENCE)
        assert not self.failures, self.failures
        assert self.count > 0


def fresh():
    """A connection for each request."""
    client = Client("a", "b", 8080, as_proxy=True)
    with client.sock:
        assert client.ask(get("/", "Connection: close"))[0] == 200


class Kept:
    """Requests on one connection, for as long as the server keeps it."""

    def __init__(self):
        self.client = None

    def __call__(self):
        self.client = self.client or Client("a", "b", 8080, as_proxy=True)
        status, fields, _body = self.client.ask(get("/"))
        assert status == 200, status
        if fields.get("connection") == "close":
            self.client.sock.close()
            self.client = None


def echo(sock):
    reader = s.Reader(sock)
    while True:
        reader.head()
        sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")


def start(volume, *options):
    return Proxy("b", (s.GOLDEN / "server-permissive.yaml").read_text(), "server",
                 options=("--state-dir", volume, "--drain-time-s", "5", *options))


def three_hand_overs_lose_nobody(*options):
    volume = s.volume("handed-over" + "".join(options))
    proxy = start(volume, *options)
    loads = [Load(fresh), Load(fresh), Load(Kept()), Load(Kept())]
    for _ in range(HAND_OVERS):
        before = [load.count for load in loads]
        after = start(volume, "--take-over")
        proxy.wait_for("another process has taken over")
        proxy.ended()
        assert after.admin("/ready") == (200, "LIVE\n")
        s.eventually(lambda: all(load.count > count + 5 or load.failures for load, count in zip(loads, before)), "no load")
        proxy = after
    for load in loads:
        load.stop()
    proxy.stop()
    assert not (volume / "handover").exists()


def several_workers_hand_over_theirs():
    three_hand_overs_lose_nobody("--concurrency", "3")


def without_anybody_it_is_an_ordinary_start():
    proxy = start(s.volume("alone"), "--take-over")
    fresh()
    proxy.stop()


def a_process_that_fails_changes_nothing():
    """It takes the sockets, and dies before it is ready: the old one goes on."""
    volume = s.volume("fails")
    proxy = start(volume)
    with s.inside("b", as_proxy=True):
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    sock.connect(str(volume / "handover"))
    sock.settimeout(s.PATIENCE)
    assert sock.recv(16) == b""  # another user than the proxy's: nothing is passed
    sock.close()
    broken = Proxy("b", "static_resources: {listeners: [{}]}", "server", wait=False, options=("--state-dir", volume, "--take-over"))
    assert broken.process.wait(s.PATIENCE) == 1
    fresh()
    assert proxy.admin("/ready") == (200, "LIVE\n")
    proxy.stop()


TESTS = [three_hand_overs_lose_nobody, several_workers_hand_over_theirs, without_anybody_it_is_an_ordinary_start,
         a_process_that_fails_changes_nothing]

if __name__ == "__main__":
    s.skip_unless_possible()
    s.make_pods()
    s.make_ca("ca")
    s.make_identity("server", s.SERVER_ID)
    Origin(8080, echo)
    s.run_tests(TESTS)
