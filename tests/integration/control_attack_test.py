#!/usr/bin/env python3
"""fairlead-control against strangers: bytes of HTTP/2 as no library sends them, floods, a browser.

usage: control_attack_test.py FAIRLEAD_CONTROL [unittest options]
"""
import re
import socket
import ssl
import subprocess
import sys
import tempfile
import time
import unittest
import urllib.error
import urllib.request

import control_support
from wire import field

try:
    import grpc

    import ads_client
except ImportError:
    grpc = ads_client = None

CONTROL = None
ADS = b"/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources"
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
WAIT_S = 10
NEEDS_GRPC = unittest.skipUnless(grpc, "Python's grpc is not here (Debian: python3-grpcio)")
LDS = "type.googleapis.com/envoy.config.listener.v3.Listener"


def frame(kind, flags, stream, payload=b""):
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


def literal(name, value):
    return b"\x00" + bytes([len(name)]) + name + bytes([len(value)]) + value


SETTINGS = frame(4, 0, 0)
CALL = b"\x83\x86" + b"".join(literal(*pair) for pair in (
    (b":path", ADS), (b":authority", b"a"), (b"content-type", b"application/grpc"), (b"te", b"trailers")))


def connect(address, source="127.0.0.1"):
    host, port = address.split(":")
    return socket.create_connection((host, int(port)), WAIT_S, (source, 0))


class Strangers(unittest.TestCase):
    def start(self, *options, files=None):
        """With so many descriptors at most."""
        prefix = ["prlimit", f"--nofile={files}:{files}"] if files else []
        control = control_support.Control(CONTROL, {}, *options, prefix=prefix)
        control.__enter__()
        self.addCleanup(control.__exit__)
        return control

    def test_idle_connections_of_one_source_keep_nobody_out(self):
        control = self.start(files=700)
        idle = []
        self.addCleanup(lambda: [sock.close() for sock in idle])
        for _ in range(900):
            idle.append(connect(control.plaintext))
        with connect(control.plaintext, "127.0.0.2") as sock:
            sock.sendall(PREFACE + SETTINGS)
            self.assertNotEqual(sock.recv(100), b"")
        self.assertEqual(control.get("/healthz")[0], 200)
        control.write("a.yaml", "apiVersion: v1\nkind: Service\nmetadata: {name: a}\n")
        deadline = time.monotonic() + WAIT_S
        while "fairlead_control_objects 1" not in control.get("/metrics")[1]:
            self.assertLess(time.monotonic(), deadline)

    def test_a_flood_of_refused_streams_is_some_lines(self):
        control = self.start()
        garbage = b"\x00" + (4).to_bytes(4, "big") + b"\xff\xff\xff\xff"
        with connect(control.plaintext) as sock:
            sock.sendall(PREFACE + SETTINGS)
            for first in range(1, 4000, 16):
                sock.sendall(b"".join(frame(1, 4, stream, CALL) + frame(0, 1, stream, garbage)
                                      for stream in range(first, first + 16, 2)))
                self.assertNotEqual(sock.recv(65536), b"")
        self.assertEqual(control.get("/healthz")[0], 200)
        lines = [line for line in control.lines if line["message"] == "proxy refused"]
        self.assertGreater(len(lines), 0)
        self.assertLess(len(lines), 1000)

    def test_a_flood_of_bad_tokens_is_not_looked_at(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        control = self.start("--listen", "127.0.0.1:0", "--ca-dir", folder.name + "/ca", "--token-dir", folder.name)
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        context.set_alpn_protocols(["h2"])
        call = CALL + literal(b"authorization", b"Bearer a.b.c")
        with context.wrap_socket(connect(f"127.0.0.1:{control.ready['port']}")) as sock:
            sock.sendall(PREFACE + SETTINGS)
            for first in range(1, 6000, 16):
                sock.sendall(b"".join(frame(1, 5, stream, call) for stream in range(first, first + 16, 2)))
                self.assertNotEqual(sock.recv(65536), b"")
            deadline = time.monotonic() + WAIT_S
            while 'streams_ended_total{reason="resources"} 0' in control.get("/metrics")[1]:
                self.assertLess(time.monotonic(), deadline)

    def ended(self, control, reason, at_least=1):
        deadline = time.monotonic() + WAIT_S
        pattern = re.compile(f'streams_ended_total{{reason="{reason}"}} (\\d+)')
        while int(pattern.search(control.get("/metrics")[1])[1]) < at_least:
            self.assertLess(time.monotonic(), deadline, reason)

    @NEEDS_GRPC
    def test_many_streams_of_one_client_take_what_one_may(self):
        control = self.start("--proxy-budget", "4")  # MiB: one client has 1
        names = [f"outbound|80||{number}.{'x' * 200}" for number in range(2000)]
        first, second = (ads_client.Stream(control.plaintext, "") for _ in range(2))
        first.ask(ads_client.EDS, names)
        first.next()
        second.ask(ads_client.EDS, names)
        with self.assertRaises(grpc.RpcError) as caught:
            second.next()
        self.assertEqual(caught.exception.code(), grpc.StatusCode.RESOURCE_EXHAUSTED)
        self.ended(control, "client_budget")
        for stream in (first, second):
            stream.close()
        deadline = time.monotonic() + WAIT_S
        while 'held_bytes{kind="subscribed"} 0' not in control.get("/metrics")[1]:
            self.assertLess(time.monotonic(), deadline, "what the streams took is not given back")
        third = ads_client.Stream(control.plaintext, "")
        self.addCleanup(third.close)
        third.ask(ads_client.EDS, names)
        third.next()

    def test_streams_that_do_not_read_take_what_one_may(self):
        control = self.start("--proxy-budget", "4")  # MiB: one client has half of one in queues
        services = "---\n".join(
            "apiVersion: v1\nkind: Service\nmetadata: {name: s%d}\n"
            "spec: {clusterIPs: [10.2.%d.%d], ports: [{port: 80}]}\n" % (number, number // 250, number % 250 + 1)
            for number in range(600))
        control.write("services.yaml", services)
        deadline = time.monotonic() + WAIT_S
        while "fairlead_control_objects 600" not in control.get("/metrics")[1]:
            self.assertLess(time.monotonic(), deadline)
        message = field(1, b"") + field(2, LDS)
        call = b"\x00" + len(message).to_bytes(4, "big") + message
        deaf = frame(4, 0, 0, b"\x00\x04" + bytes(4))  # an initial window of 0
        with connect(control.plaintext) as sock:
            sock.sendall(PREFACE + deaf + b"".join(
                frame(1, 4, stream, CALL) + frame(0, 0, stream, call) for stream in range(1, 16, 2)))
            self.ended(control, "client_budget", 4)
            self.assertEqual(control.get("/healthz")[0], 200)

    @NEEDS_GRPC
    def test_a_stream_ends_with_its_token(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        control = self.start("--listen", "127.0.0.1:0", "--ca-dir", folder.name + "/ca", "--token-dir", folder.name)
        token = subprocess.run([CONTROL, "token", "create", "--token-dir", folder.name, "--namespace", "shop",
                                "--service-account", "web", "--ttl", "3"], check=True, capture_output=True, text=True)
        with open(folder.name + "/ca/root-cert.pem", "rb") as root:
            channel = grpc.secure_channel(f"127.0.0.1:{control.ready['port']}",
                                          grpc.ssl_channel_credentials(root.read()))
        stream = ads_client.Stream("", "", channel=channel,
                                   headers=[("authorization", "Bearer " + token.stdout.strip())])
        self.addCleanup(stream.close)
        stream.ask(ads_client.CDS)
        stream.next()
        with self.assertRaises(grpc.RpcError) as caught:
            stream.next()
        self.assertEqual(caught.exception.code(), grpc.StatusCode.UNAUTHENTICATED)
        self.assertIn("expired", caught.exception.details())
        self.ended(control, "expired")

    def test_a_web_page_sees_nothing(self):
        control = self.start()
        for path, host, status in (("/debug/proxies", "evil.example", 403), ("/status", "evil.example:15014", 403),
                                   ("/debug/proxies", "localhost:1", 200), ("/status", "[::1]:1", 200),
                                   ("/debug/config?proxy=x", "127.0.0.1.evil.example", 403), ("/status", "[", 403),
                                   ("/metrics", "fairlead-control:15014", 200), ("/status", "127.0.0.1", 200)):
            request = urllib.request.Request(control.http + path, headers={"Host": host})
            try:
                with urllib.request.urlopen(request, timeout=WAIT_S) as answer:
                    self.assertEqual(answer.status, status, (path, host))
            except urllib.error.HTTPError as error:
                with error:
                    self.assertEqual(error.code, status, (path, host))


if __name__ == "__main__":
    CONTROL = sys.argv.pop(1)
    unittest.main()
