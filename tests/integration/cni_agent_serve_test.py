"""The agent's pages (/metrics, /healthz, /readyz), attacked: they stand on the node's network, in the loop that repairs pods.
Whatever anybody does there, probes are answered, memory and descriptors stay bounded, and the agent lives.

usage: cni_agent_serve_test.py PATH-OF-fairlead-agent [unittest arguments]
"""
import os
import pathlib
import re
import socket
import sys
import tempfile
import threading
import unittest

from agent_support import Agent
from waiting import PATIENCE, eventually

LIMIT = 16  # connections at a time
HEAD = 4096


class Pages(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.scratch = tempfile.TemporaryDirectory(prefix="fl-agent-")
        folder = pathlib.Path(cls.scratch.name)
        (folder / "conf").mkdir()
        (folder / "bin").mkdir()
        cls.agent = Agent(PROGRAM, folder, "--no-events", "--no-repair", "--payload", folder / "payload")
        cls.agent.wait_listening()
        cls.descriptors = cls.agent.descriptors()

    @classmethod
    def tearDownClass(cls):
        assert cls.agent.stop() == 0
        cls.scratch.cleanup()

    def setUp(self):
        self.open = []

    def tearDown(self):
        for connection in self.open:
            connection.close()
        self.assert_well()

    def connect(self):
        connection = socket.create_connection(("127.0.0.1", self.agent.port), PATIENCE)
        self.open.append(connection)
        return connection

    def exchange(self, data):
        """What comes back until the end, or until the connection is reset."""
        connection = self.connect()
        answer = b""
        try:
            connection.sendall(data)
            while more := connection.recv(65536):
                answer += more
        except ConnectionError:
            pass
        return answer

    def status(self, data):
        match = re.match(rb"HTTP/1\.1 (\d{3}) [^\r\n]+\r\n", self.exchange(data))
        return int(match[1]) if match else None

    def assert_well(self):
        """Probes are answered, and nothing is left behind."""
        self.assertEqual(self.agent.get("/healthz"), (200, "ok\n"))
        eventually(lambda: self.agent.descriptors() <= self.descriptors + LIMIT, "descriptors are bounded")

    def test_pages(self):
        self.assertEqual(self.agent.get("/healthz"), (200, "ok\n"))
        status, text = self.agent.get("/metrics")
        self.assertEqual(status, 200)
        self.assertIn("fairlead_cni_build_info{", text)
        self.assertEqual(self.agent.get("/metrics?x=y")[0], 200)
        status, text = self.agent.get("/readyz")
        self.assertEqual(status, 503)
        self.assertTrue(text.strip())
        for path in ("/", "/metrics/", "/METRICS", "/../metrics", "/healthz%00"):
            self.assertEqual(self.agent.get(path)[0], 404, path)

    def test_methods(self):
        self.assertEqual(self.status(b"POST /metrics HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc"), 405)
        self.assertEqual(self.status(b"DELETE /healthz HTTP/1.1\r\n\r\n"), 405)
        self.assertEqual(self.status(b"get /healthz HTTP/1.1\r\n\r\n"), 405)
        answer = self.exchange(b"HEAD /metrics HTTP/1.1\r\n\r\n")
        self.assertTrue(answer.startswith(b"HTTP/1.1 200 OK\r\n"))
        self.assertTrue(answer.endswith(b"\r\n\r\n"))
        self.assertNotIn(b"Content-Length: 0", answer)

    def test_no_http(self):
        self.assertEqual(self.status(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + os.urandom(300)), 400)
        self.assertEqual(self.status(b"GET /\r\n\r\n"), 400)
        self.assertEqual(self.status(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), 400)
        self.assertEqual(self.status(b"GET / HTTP/1.1\nHost: a\n\n"), 400)
        self.assertEqual(self.status(b"GET / HTTP/1.1\r\n" + os.urandom(100).replace(b"\n", b"") + b"\r\n\r\n"), 400)

    def test_noise(self):
        for _ in range(300):
            self.exchange(os.urandom(64) + b"\n")

    def test_large_heads(self):
        line = b"A: " + b"b" * 100 + b"\r\n"
        start = b"GET /healthz HTTP/1.1\r\n"
        fits = start + line * ((HEAD - len(start) - 4) // len(line))
        self.assertEqual(self.status(fits + b"\r\n"), 200)
        self.assertEqual(self.status(fits + line * 2 + b"\r\n"), 431)
        self.assertEqual(self.status(b"GET /" + b"a" * 5000 + b" HTTP/1.1\r\n\r\n"), 431)

    def test_endless_head(self):
        connection = self.connect()
        try:
            for _ in range(10000):
                connection.sendall(b"A: " + b"b" * 4000 + b"\r\n")
        except ConnectionError:
            return
        self.fail("40 MB of a head were taken")

    def test_pipelined(self):
        """One is answered; what is behind it is not, and takes the answer from nobody."""
        answer = self.exchange(b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n" * 50)
        self.assertEqual(answer.count(b"HTTP/1.1 "), 1)
        self.assertTrue(answer.endswith(b"ok\n"))

    def test_body_behind(self):
        answer = self.exchange(b"GET /healthz HTTP/1.1\r\nContent-Length: 50000\r\n\r\n" + b"x" * 50000)
        self.assertTrue(answer.endswith(b"ok\n"))

    def test_byte_by_byte(self):
        connection = self.connect()
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n":
            connection.sendall(bytes([byte]))
        self.assertTrue(connection.recv(4096).startswith(b"HTTP/1.1 200 OK"))

    def test_slow_clients_shut_nobody_out(self):
        """Five times as many as there are places hold half a head; probes come through, each at once."""
        for _ in range(5 * LIMIT):
            self.connect().sendall(b"GET /healthz HTTP/1.1\r\n")
        before = self.agent.metrics()['fairlead_cni_http_connections_total{result="displaced"}']
        self.assertGreaterEqual(before, 3 * LIMIT)
        for _ in range(50):
            self.assertEqual(self.agent.get("/healthz"), (200, "ok\n"))

    def test_slow_client_is_ended(self):
        connection = self.connect()
        connection.sendall(b"GET /healthz HTTP/1.1\r\n")
        self.assertEqual(connection.recv(100), b"")  # after five seconds
        self.assertGreaterEqual(self.agent.metrics()['fairlead_cni_http_connections_total{result="late"}'], 1)

    def test_client_that_does_not_read(self):
        for _ in range(2 * LIMIT):
            connection = self.connect()
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
            connection.sendall(b"GET /metrics HTTP/1.1\r\n\r\n")

    def test_client_that_stays(self):
        """Answered, and does not hang up: the place goes to whoever comes."""
        for _ in range(2 * LIMIT):
            connection = self.connect()
            connection.sendall(b"GET /healthz HTTP/1.1\r\n\r\n")
            self.assertTrue(connection.recv(4096).endswith(b"ok\n"))

    def test_ten_thousand_connections(self):
        """Opened and cut, some with a piece of a head, by four at once; memory is what it was."""
        before = self.agent.private_bytes()

        def storm(number):
            for i in range(2500):
                with socket.create_connection(("127.0.0.1", self.agent.port), PATIENCE) as connection:
                    if i % 3 == number % 3:
                        connection.sendall(b"GET /met")

        threads = [threading.Thread(target=storm, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            self.assertEqual(self.agent.get("/healthz"), (200, "ok\n"))
        for thread in threads:
            thread.join()
        if not self.agent.is_sanitized():
            self.assertLess(self.agent.private_bytes() - before, 512 * 1024)

    def test_reset_in_the_middle(self):
        for _ in range(200):
            connection = self.connect()
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
            connection.sendall(b"GET /metrics HTTP/1.1\r\n\r\n")
            connection.close()


if __name__ == "__main__":
    PROGRAM = pathlib.Path(sys.argv.pop(1)).resolve()
    unittest.main()
