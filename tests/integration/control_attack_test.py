#!/usr/bin/env python3
"""fairlead-control against strangers: bytes of HTTP/2 as no library sends them, floods, a browser.

usage: control_attack_test.py FAIRLEAD_CONTROL [unittest options]
"""
import os
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
from wire import field, fields

try:
    import grpc

    import ads_client
except ImportError:
    grpc = ads_client = None

CONTROL = None
ADS = b"/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources"
CREATE = "/istio.v1.auth.IstioCertificateService/CreateCertificate"
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

    def ca_channel(self, control, folder):
        with open(folder + "/ca/root-cert.pem", "rb") as root:
            channel = grpc.secure_channel(f"127.0.0.1:{control.ready['port']}",
                                          grpc.ssl_channel_credentials(root.read()),
                                          [("grpc.use_local_subchannel_pool", 1)])
        self.addCleanup(channel.close)
        return channel

    def token(self, folder, account):
        made = subprocess.run([CONTROL, "token", "create", "--token-dir", folder, "--namespace", "shop",
                               "--service-account", account], check=True, capture_output=True, text=True)
        return [("authorization", "Bearer " + made.stdout.strip())]

    def request(self, folder):
        made = subprocess.run(["openssl", "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                               "-subj", "/", "-keyout", "/dev/null", "-out", folder + "/csr"], capture_output=True)
        self.assertEqual(made.returncode, 0, made.stderr)
        with open(folder + "/csr", "rb") as csr:
            return field(1, csr.read())

    @NEEDS_GRPC
    def test_a_flood_of_one_identity_keeps_nobody_out(self):
        """One identity asks for certificates without end, from as many connections as it likes; another gets its own."""
        with tempfile.TemporaryDirectory() as folder:
            control = self.start("--listen", "127.0.0.1:0", "--ca-dir", folder + "/ca", "--token-dir", folder,
                                 "--peer-rate", "0", "--identity-rate", "5")  # all of them come from one address here
            csr, flood, honest = self.request(folder), self.token(folder, "flood"), self.token(folder, "honest")
            calls = [self.ca_channel(control, folder).unary_unary(CREATE) for _ in range(4)]
            under_way = [call.future(csr, metadata=flood, timeout=WAIT_S) for _ in range(250) for call in calls]
            other = self.ca_channel(control, folder).unary_unary(CREATE)
            for _ in range(20):
                self.assertIn(b"BEGIN CERTIFICATE", other(csr, metadata=honest, timeout=WAIT_S))
            codes = [call.code() for call in under_way]
            self.assertGreater(codes.count(grpc.StatusCode.RESOURCE_EXHAUSTED), 500)
            self.assertGreater(codes.count(grpc.StatusCode.OK), 0)

    @NEEDS_GRPC
    def test_two_control_planes_on_one_folder_have_one_root(self):
        """Started at once on a folder that is not there yet."""
        with tempfile.TemporaryDirectory() as folder:
            self.token(folder, "web")  # makes the key
            options = ("--listen", "127.0.0.1:0", "--ca-dir", folder + "/ca", "--token-dir", folder)
            both = [control_support.Control(CONTROL, {}, *options) for _ in range(2)]
            for control in both:
                control.__enter__()
                self.addCleanup(control.__exit__)
            self.assertEqual([name for name in sorted(os.listdir(folder + "/ca")) if name.startswith("root-")],
                             ["root-1.pem", "root-cert.pem"])
            csr, headers = self.request(folder), self.token(folder, "web")
            for control in both:
                answer = self.ca_channel(control, folder).unary_unary(CREATE)(csr, metadata=headers, timeout=WAIT_S)
                with open(folder + "/leaf.pem", "wb") as leaf:
                    leaf.write([value for number, value in fields(answer) if number == 1][0])
                subprocess.run(["openssl", "verify", "-CAfile", folder + "/ca/root-cert.pem", folder + "/leaf.pem"],
                               check=True, capture_output=True)
                self.assertIn("fairlead_ca_issuer_isolated ", control.get("/metrics")[1])

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
