"""fairlead-proxy under attack: hostile clients in and outside of the mesh, hostile apps, hostile neighbours in the pod,
against two real sidecars in network namespaces.

usage: proxy_attack_test.py FOLDER-OF-PROGRAMS [unittest arguments]
"""
import re
import sys
import threading
import unittest

import cni_support as cni
from proxy_attack_support import (App, CLIENT, Mesh, OUTSIDE, SERVER, dial, echo_head, listen, preface, read_all,
                                  read_until, reset, until)

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

    def test_bytes_behind_a_refused_connect_are_no_request(self):
        self.app(echo_head)
        with self.mesh.meshed() as connection:
            answer = self.ask(connection, b"CONNECT server:8080 HTTP/1.1\r\n" + HOST + b"\r\nGET /behind HTTP/1.1\r\n" +
                              HOST + b"\r\n")
            self.assertEqual(statuses(answer), [404])

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
