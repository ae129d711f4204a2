"""fairlead-proxy under attack: hostile clients in and outside of the mesh, hostile apps, hostile neighbours in the pod,
against two real sidecars in network namespaces.

usage: proxy_attack_test.py FOLDER-OF-PROGRAMS [unittest arguments]
"""
import collections
import json
import random
import re
import signal
import socket
import struct
import sys
import threading
import time
import unittest

import cni_support as cni
from proxy_attack_support import ALPN, App, Mesh, OUTSIDE, SERVER, dial, echo_head, preface, read_all, read_until, reset

HOST = b"Host: server\r\n"
TWO_ENDPOINTS = """  clusters:
  - name: two
    type: STATIC
    connect_timeout: 5s
    load_assignment:
      cluster_name: two
      endpoints:
      - lb_endpoints:
        - endpoint: {address: {socket_address: {address: %s, port_value: 7001}}}
        - endpoint: {address: {socket_address: {address: %s, port_value: 7002}}}
""" % (OUTSIDE, OUTSIDE)


CHUNKED = HOST + b"Transfer-Encoding: chunked\r\n"
REFUSED = (  # what is wrong, the request, its status
    ("both lengths", b"POST / HTTP/1.1\r\n" + CHUNKED + b"Content-Length: 4\r\n\r\n0\r\n\r\n", 400),
    ("two codings", b"POST / HTTP/1.1\r\n" + CHUNKED + b"Transfer-Encoding: identity\r\n\r\n0\r\n\r\n", 400),
    ("space before colon", b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n", 400),
    ("vertical tab", b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n", 400),
    ("empty list item", b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked,\r\n\r\n0\r\n\r\n", 400),
    ("other coding", b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", 501),
    ("coding in 1.0", b"POST / HTTP/1.0\r\n" + CHUNKED + b"\r\n0\r\n\r\n", 400),
    ("length with sign", b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: +4\r\n\r\nabcd", 400),
    ("length list", b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 4, 4\r\n\r\nabcd", 400),
    ("two lengths", b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 4\r\nContent-Length: 5\r\n\r\nabcd", 400),
    ("huge length", b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 99999999999999999999\r\n\r\n", 400),
    ("folded line", b"GET / HTTP/1.1\r\n" + HOST + b"X: a\r\n b\r\n\r\n", 400),
    ("bare LF", b"GET / HTTP/1.1\nHost: server\n\n", 400),
    ("bare CR", b"GET / HTTP/1.1\r\n" + HOST + b"X: a\rGET /smuggled HTTP/1.1\r\n\r\n", 400),
    ("NUL", b"GET / HTTP/1.1\r\n" + HOST + b"X: a\0b\r\n\r\n", 400),
    ("two hosts", b"GET / HTTP/1.1\r\n" + HOST + b"Host: evil\r\n\r\n", 400),
    ("no host", b"GET / HTTP/1.1\r\n\r\n", 400),
    ("userinfo", b"GET http://a@evil/ HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    ("HTTP/0.9", b"GET /\r\n\r\n", 400),
    ("many fields", b"GET / HTTP/1.1\r\n" + HOST + b"x: y\r\n" * 200 + b"\r\n", 431),
    ("large head", b"GET / HTTP/1.1\r\n" + HOST + b"x: " + b"a" * 70000 + b"\r\n\r\n", 431),
    ("TLS where HTTP is", b"\x16\x03\x01\x02\x00\x01\x00", 400),
)
BAD_CHUNKS = (b"4\nabcd\n0\n\n", b"-4\r\nabcd\r\n0\r\n\r\n", b"0x4\r\nabcd\r\n0\r\n\r\n", b"4 \r\nabcd\r\n0\r\n\r\n",
              b"4\r\nabcdef\r\n0\r\n\r\n", b"ffffffffffffffff0\r\nabcd", b"4;a\nabcd\r\n0\r\n\r\n",
              b"0\r\nx: " + b"a" * 9000 + b"\r\n\r\n")
EVIL = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nEVIL"
BAD_ANSWERS = (  # each is a 502, or nothing that looks complete
    b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\nEVIL",
    b"HTTP/1.1 204 N\r\nContent-Length: 4\r\n\r\nEVIL",
    b"HTTP/1.1 103 E\r\n\r\n" * 100 + EVIL,
    b"HTTP/1.1 103 E\r\nContent-Length: 4\r\n\r\nEVIL", b"HTTP/1.1 099 X\r\n\r\n",
    b"HTTP/1.1 101 X\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n" + EVIL, b"HTTP/1.1 200 OK\r\nX: a\rb\r\n\r\n",
    b"HTTP/1.1 200 OK\nContent-Length: 0\n\n",
    b"HTTP/1.1 200 OK\r\nX: a\r\n b\r\n\r\n", b"HTTP/2 200\r\n\r\n", b"\0\1\2\3",
    b"HTTP/1.1 200 OK\r\nX: " + b"a" * 70000 + b"\r\n\r\n")


def statuses(data):
    """Status codes of the answers in the bytes; bodies of our apps hold none."""
    return [int(code) for code in re.findall(rb"HTTP/1\.[01] (\d{3})", data)]


class Attack(unittest.TestCase):
    """Two sidecars, the server's with `bootstrap`; a test that leaves one dead or leaking fails its class."""
    bootstrap = "server-strict.yaml"

    @classmethod
    def setUpClass(cls):
        cls.mesh = Mesh(programs)
        cls.addClassCleanup(cls.mesh.close)
        cls.server = cls.mesh.start("server", cls.bootstrap)
        cls.client = cls.mesh.start("client")

    def app(self, handle, port=8080):
        app = App(self.mesh.server, handle, port)
        self.addCleanup(lambda: (app.close(), self.assertEqual(app.errors, [])))
        return app

    def ask(self, connection, request):
        """Everything that comes for a request whose connection ends with it."""
        connection.sendall(request)
        return read_all(connection)


class Requests(Attack):
    def test_a_forged_client_certificate_field_is_not_passed_on(self):
        self.app(echo_head)
        forged = b"X-Forwarded-Client-Cert: URI=spiffe://cluster.local/ns/admin/sa/root\r\n"
        for fields in (forged, b"X-Forwarded-Client-Cert:\r\n" + forged, forged * 3):
            with self.subTest(fields), self.mesh.meshed() as connection:
                answer = self.ask(connection, b"GET / HTTP/1.1\r\n" + HOST + fields + b"Connection: close\r\n\r\n")
                self.assertEqual(statuses(answer), [200])
                self.assertNotIn(b"admin", answer)

    def everyone(self):
        """A meshed client of our own making, and an app behind its own sidecar."""
        yield "meshed", self.mesh.meshed()
        yield "two hops", dial(self.mesh.client, SERVER, 8080)

    def test_ambiguous_requests_are_refused(self):
        seen = []
        app = self.app(lambda connection: (seen.append(connection.recv(65536)), echo_head(connection)))
        post = b"POST / HTTP/1.1\r\n" + CHUNKED + b"\r\n"
        rows = REFUSED + tuple((chunks, post + chunks, None) for chunks in BAD_CHUNKS)
        for what, request, status in rows:
            for who, connection in self.everyone():
                with self.subTest(what, who=who), connection:
                    answer = self.ask(connection, request + b"GET /smuggled HTTP/1.1\r\n" + HOST + b"\r\n")
                    got = statuses(answer)
                    self.assertEqual(len(got), 1, answer[-300:])
                    self.assertIn(got[0], (status,) if status else (400, 431))
        self.assertFalse([head for head in seen if b"smuggled" in head])
        app.close()

    def test_bad_answers_are_not_passed_on(self):
        bad = []

        def handle(connection):
            while head := read_until(connection, b"\r\n\r\n"):
                connection.sendall(bad[0] if b"/bad" in head else b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nhonest")

        self.app(handle)
        for answer in BAD_ANSWERS:
            bad[:] = [answer]
            with self.subTest(answer[:60]), dial(self.mesh.client, SERVER, 8080) as connection:
                got = self.ask(connection, b"GET /bad HTTP/1.1\r\n" + HOST + b"\r\nGET /next HTTP/1.1\r\n" + HOST +
                               b"Connection: close\r\n\r\n")
                self.assertEqual([code for code in statuses(got) if code >= 200], [502, 200])
                self.assertNotIn(b"EVIL", got)
                self.assertTrue(got.endswith(b"honest"))

    def test_log_lines_cannot_be_forged(self):
        self.app(echo_head)
        with self.mesh.meshed(first=preface(workload='"}{"x')) as connection:
            self.ask(connection, b'GET /"}\xff\xfe,{"x":"y HTTP/1.1\r\n' + HOST +
                     b'User-Agent: "\\\x80\t}{\r\nConnection: close\r\n\r\n')
        for line in self.server.access().splitlines():
            self.assertEqual(json.loads(line)["direction"], "inbound")

    def test_bytes_behind_a_refused_connect_are_no_request(self):
        seen = []

        def refuse(connection):
            seen.append(read_until(connection, b"\r\n\r\n"))
            connection.sendall(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
            seen.append(connection.recv(1000))

        self.app(refuse)
        with self.mesh.meshed() as connection:
            answer = self.ask(connection, b"CONNECT server:8080 HTTP/1.1\r\n" + HOST + b"\r\nGET /behind HTTP/1.1\r\n" +
                              HOST + b"\r\n")
            self.assertEqual(statuses(answer), [404])
        self.assertNotIn(b"behind", b"".join(seen))

    def test_an_upstream_is_let_go_when_a_pipelining_client_has_gone(self):
        gone = threading.Event()

        def stream(connection):
            read_until(connection, b"\r\n\r\n")
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000000\r\n\r\n")
            try:
                while not gone.wait(0.005):
                    connection.sendall(b"x" * 16384)
            except OSError:
                gone.set()

        self.app(stream)
        connection = dial(self.mesh.client, SERVER, 8080)
        connection.sendall((b"GET / HTTP/1.1\r\n" + HOST + b"\r\n") * 2)
        connection.recv(1000)
        reset(connection)
        self.assertTrue(gone.wait(5))


class Identities(Attack):
    REQUEST = b"GET / HTTP/1.1\r\n" + HOST + b"Connection: close\r\n\r\n"
    WRONG = ("stranger-signed", "foreign-domain", "longer-domain", "no-uri", "two-uris", "expired")

    def test_only_our_clients_are_served(self):
        seen = []
        self.app(lambda connection: seen.append(connection.recv(100)), 7000)
        for leaf in (*self.WRONG, None):
            for alpn in ((ALPN,), (), ("h2",), ("istio", "http/1.1")):
                with self.subTest(leaf, alpn=alpn):
                    try:
                        with self.mesh.meshed(leaf, alpn, first=b"", port=7000) as connection:
                            connection.sendall(preface() + b"x")
                            self.assertEqual(connection.recv(1000), b"")
                    except OSError:
                        pass  # an alert, or a reset
        for plain in (self.REQUEST, b"\x16\x03\x01", b"\x16", b"SSH-2.0\r\n"):
            for address in (SERVER, "fd88::3"):
                with dial(self.mesh.outside, address, 7000, timeout=1) as connection:
                    connection.sendall(plain)
                    self.assertIn(read_all(connection)[:1], (b"", b"\x15"))  # nothing, or an alert
        self.assertEqual(seen, [])

    def test_bad_prefaces_end_the_connection(self):
        for first in (b"FLP\x01\xff\xff", b"FLP\x02\0\0", b"GET / HTTP/1.1\r\n\r\n", b"FLP\x01\0\6\1\0\0\1\0\0"):
            with self.subTest(first), self.mesh.meshed(first=first) as connection:
                self.assertNotIn(b"HTTP", read_all(connection))

    def test_requests_go_to_the_one_identity_alone(self):
        got = []
        self.server.stop()
        self.addCleanup(self.restart)
        for leaf in (*self.WRONG, "other-server"):
            context = self.mesh.pki.server_context(leaf)
            context.load_verify_locations(self.mesh.folder / "ca.crt")

            def impostor(connection, context=context):
                with context.wrap_socket(connection, server_side=True) as tls:
                    tls.sendall(preface())
                    got.append(tls.recv(65536))

            app = App(self.mesh.server, impostor, 15006)
            with self.subTest(leaf), dial(self.mesh.client, SERVER, 8080) as connection:
                self.assertEqual(statuses(self.ask(connection, self.REQUEST)), [503])
            app.close()
        app = App(self.mesh.server, lambda connection: got.append(connection.recv(65536)), 15006)
        with dial(self.mesh.client, SERVER, 8080) as connection:  # plaintext
            self.assertEqual(statuses(self.ask(connection, self.REQUEST)), [503])
        app.close()
        self.assertFalse([data for data in got if b"GET" in data or b"FLP" in data])

    def restart(self):
        type(self).server = self.mesh.start("server", self.bootstrap)


class Storm(Attack):
    """An app that misbehaves in every other answer, clients that come and go, reloads and new certificates meanwhile:
    everyone gets the answer to the own request, or an error."""
    KINDS = ["ok"] * 5 + ["chunked", "close", "behind", "reset", "half", "early", "interim", "304", "204", "head body",
                          "fin", "slow", "nothing"]

    def misbehave(self, connection):
        data = b""
        choose = random.Random()
        while True:
            while b"\r\n\r\n" not in data:
                part = connection.recv(65536)
                if not part:
                    return
                data += part
            head, _, data = data.partition(b"\r\n\r\n")
            token = re.search(rb" /(\w+)", head)[1]
            length = 5000 if head.startswith(b"POST") else 0
            kind = choose.choice(self.KINDS)
            start = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(token)
            answer = start + (b"" if head.startswith(b"HEAD") else token)
            if kind == "early":
                connection.sendall(answer)
            while len(data) < length:
                part = connection.recv(65536)
                if not part:
                    return
                data += part
            data = data[length:]
            if kind in ("ok", "close", "fin"):
                connection.sendall(answer)
            elif kind == "chunked" and not head.startswith(b"HEAD"):
                start = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n" % len(token)
                for piece in (start, token, b"\r\n0\r\n", b"\r\n"):
                    connection.sendall(piece)
            elif kind == "behind":
                connection.sendall(answer + EVIL)
            elif kind == "head body":
                connection.sendall(start + token)
            elif kind == "reset":
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            elif kind == "half":
                connection.sendall(answer[:len(answer) // 2])
            elif kind == "interim":
                connection.sendall(b"HTTP/1.1 103 E\r\n\r\n" * 3 + answer)
            elif kind in ("304", "204"):
                connection.sendall(b"HTTP/1.1 %s N\r\nX-Token: %s\r\n\r\n" % (kind.encode(), token))
            elif kind == "slow":
                for at in range(0, len(answer), 7):
                    connection.sendall(answer[at:at + 7])
                    time.sleep(0.001)
            elif kind != "early":
                return
            if kind in ("close", "reset", "half", "nothing"):
                return
            if kind == "fin":
                connection.shutdown(socket.SHUT_WR)

    @staticmethod
    def receive(connection, head_only):
        """One final answer, exactly: (status, head, body). OSError where there is none."""
        file = connection.makefile("rb", buffering=0)
        while True:
            head = b""
            while not head.endswith(b"\r\n\r\n"):
                octet = file.read(1)
                if not octet:
                    raise OSError("closed")
                head += octet
            if not head.startswith(b"HTTP/1.1 1"):
                break
        status = int(head[9:12])
        length = re.search(rb"(?i)content-length: (\d+)", head)
        body = b""
        while not head_only and status not in (204, 304) and (len(body) < int(length[1]) if length else True):
            part = file.read(int(length[1]) - len(body) if length else 1)
            if not part:
                raise OSError("truncated")
            body += part
            if not length and body.endswith(b"0\r\n\r\n"):
                size, _, rest = body.partition(b"\r\n")
                return status, head, rest[:int(size, 16)]
        return status, head, body

    def visit(self, number, wrong, counts):
        choose = random.Random(number)
        connection = None
        for turn in range(120):
            token = b"t%dx%dy" % (number, turn)
            kind = choose.choice(("GET", "GET", "POST", "HEAD", "PIPELINE", "LEAVE"))
            method = kind.encode() if kind in ("POST", "HEAD") else b"GET"
            tokens = [token, token + b"z"] if kind == "PIPELINE" else [token]
            body = b"b" * 5000 if kind == "POST" else b""
            length = b"Content-Length: 5000\r\n" if body else b""
            try:
                if connection is None:
                    connection = dial(self.mesh.client, SERVER, 8080)
                heads = (b"%s /%s HTTP/1.1\r\n%s%s\r\n" % (method, one, HOST, length) for one in tokens)
                connection.sendall(b"".join(heads) + body)
                if kind == "LEAVE":
                    reset(connection)
                    connection = None
                    continue
                for one in tokens:
                    status, head, got = self.receive(connection, kind == "HEAD")
                    counts[status] += 1
                    other_body = status == 200 and kind != "HEAD" and got != one
                    if other_body or (status in (204, 304) and one not in head):
                        wrong.append((kind, one, head, got))
                    if b"connection: close" in head:
                        connection.close()
                        connection = None
                        break
            except TimeoutError:
                wrong.append((kind, token, "no answer"))
                connection = None
            except OSError:
                connection = None

    def test_nobody_gets_anothers_answer(self):
        self.app(self.misbehave)
        wrong, counts = [], collections.Counter()
        threads = [threading.Thread(target=self.visit, args=(number, wrong, counts)) for number in range(16)]
        for thread in threads:
            thread.start()
        rounds = 0
        while any(thread.is_alive() for thread in threads):
            rounds += 1
            self.server.signal(signal.SIGHUP)
            self.client.signal(signal.SIGHUP)
            if rounds % 5 == 0:
                self.mesh.secrets("server")
                self.mesh.secrets("client")
            time.sleep(0.05)
        self.assertEqual(wrong, [])
        self.assertGreater(counts[200], 500)

    def test_hangup_and_terminate_under_load(self):
        self.app(echo_head)
        stop = threading.Event()

        def load():
            while not stop.is_set():
                try:
                    with dial(self.mesh.client, SERVER, 8080) as connection:
                        connection.sendall(b"GET / HTTP/1.1\r\n" + HOST + b"\r\n")
                        connection.recv(65536)
                except OSError:
                    time.sleep(0.005)

        threads = [threading.Thread(target=load) for _ in range(8)]
        for thread in threads:
            thread.start()
        time.sleep(0.3)
        for proxy in (self.server, self.client):
            for number in (signal.SIGHUP, signal.SIGTERM, signal.SIGHUP):
                proxy.signal(number)
        codes = [proxy.process.wait(15) for proxy in (self.server, self.client)]
        stop.set()
        for thread in threads:
            thread.join()
        self.assertEqual(codes, [0, 0])
        for role in ("server", "client"):
            setattr(type(self), role, self.mesh.start(role, self.bootstrap if role == "server" else None))


class Neighbours(Attack):
    def test_silent_connections_do_not_keep_the_health_check_out(self):
        held = [dial(self.mesh.outside, SERVER, 15021) for _ in range(200)]
        with dial(self.mesh.outside, SERVER, 15021) as probe:
            answer = self.ask(probe, b"GET /healthz/ready HTTP/1.1\r\nHost: 10.0.0.1\r\nConnection: close\r\n\r\n")
        self.assertEqual(statuses(answer), [200])
        for connection in held:
            connection.close()


class Opaque(Attack):
    @classmethod
    def setUpClass(cls):
        def change(text):
            plain = text.rpartition("          cluster: PassthroughCluster\n")
            text = plain[0] + "          cluster: two\n          max_connect_attempts: 3\n" + plain[2]
            return text.replace("  clusters:\n", TWO_ENDPOINTS)
        cls.mesh = Mesh(programs)
        cls.addClassCleanup(cls.mesh.close)
        cls.client = cls.mesh.start("client", change=change)

    def test_the_second_attempt_gets_all_bytes(self):
        got = []

        def swallow(connection):
            got.append(read_all(connection))
            connection.sendall(b"done")

        app = App(self.mesh.outside, swallow, 7002)
        self.addCleanup(app.close)
        for _ in range(4):  # round robin: half of them begin with the endpoint that refuses
            with dial(self.mesh.client, OUTSIDE, 5000) as connection:
                connection.sendall(b"hello")
                connection.shutdown(1)
                self.assertEqual(read_all(connection), b"done")
        self.assertEqual(got, [b"hello"] * 4)


if __name__ == "__main__":
    cni.skip_unless_possible()
    programs = sys.argv.pop(1)
    unittest.main()
