#!/usr/bin/env python3
"""common/grpc against implementations that are not ours: Python's grpc (the C core), both ways, plaintext and mTLS; and
grpc-go by tests/xds-go. On loopback; what is missing here is skipped and named.

usage: grpc_interop_test.py GRPC_PEER BUILD_FOLDER [unittest options]
"""
import concurrent.futures
import json
import pathlib
import subprocess
import sys
import tempfile
import unittest

import xds_go

try:
    import grpc
except ImportError:
    grpc = None

PEER = BUILD = None
NEEDS_GRPC = unittest.skipUnless(grpc, "Python's grpc is not here (Debian: python3-grpcio)")
WAIT_S = 30


def openssl(*arguments):
    subprocess.run(["openssl", *map(str, arguments)], check=True, stdin=subprocess.DEVNULL, capture_output=True)


class Identity:
    """One certificate for both sides, from a root of its own."""

    def __init__(self, folder):
        self.root, self.root_key = folder / "root.crt", folder / "root.key"
        self.cert, self.key = folder / "leaf.crt", folder / "leaf.key"
        curve = ("-nodes", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256")
        openssl("req", "-x509", *curve, "-days", "2", "-subj", "/CN=root", "-keyout", self.root_key, "-out", self.root,
                "-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign")
        openssl("req", *curve, "-subj", "/CN=leaf", "-keyout", self.key, "-out", folder / "leaf.csr")
        (folder / "ext").write_text("subjectAltName=DNS:localhost,IP:127.0.0.1,URI:spiffe://a/ns/b/sa/c\n"
                                    "keyUsage=critical,digitalSignature\nextendedKeyUsage=serverAuth,clientAuth\n")
        openssl("x509", "-req", "-in", folder / "leaf.csr", "-CA", self.root, "-CAkey", self.root_key, "-days", "2",
                "-extfile", folder / "ext", "-out", self.cert)

    @property
    def files(self):
        return [str(self.cert), str(self.key), str(self.root)]

    @property
    def texts(self):
        return self.key.read_bytes(), self.cert.read_bytes(), self.root.read_bytes()


FOLDER = IDENTITY = None


def setUpModule():
    global FOLDER, IDENTITY
    FOLDER = tempfile.TemporaryDirectory()
    IDENTITY = Identity(pathlib.Path(FOLDER.name))


def tearDownModule():
    FOLDER.cleanup()


class Ours:
    """grpc_peer as a server."""

    def __init__(self, secure):
        files = IDENTITY.files if secure else []
        self.process = subprocess.Popen([PEER, "server", *files], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.address = self.process.stdout.readline().split()[1]

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.process.stdin.close()
        code = self.process.wait(timeout=WAIT_S)
        self.process.stdout.close()
        if code != 0:
            raise AssertionError(f"grpc_peer ended with {code}")


def channel_to(address, secure, **options):
    if not secure:
        return grpc.insecure_channel(address, **options)
    key, cert, root = IDENTITY.texts
    return grpc.secure_channel(address.replace("127.0.0.1", "localhost"),
                               grpc.ssl_channel_credentials(root, key, cert), **options)


@NEEDS_GRPC
class TheirClient(unittest.TestCase):
    """Python calls our server."""

    secure = False

    def setUp(self):
        ours = Ours(self.secure)
        ours.__enter__()
        self.addCleanup(ours.__exit__)
        self.channel = channel_to(ours.address, self.secure)
        self.addCleanup(self.channel.close)

    def refused(self, invoke):
        with self.assertRaises(grpc.RpcError) as caught:
            invoke()
        return caught.exception.code(), caught.exception.details()

    def test_unary(self):
        unary = self.channel.unary_unary("/t.S/Unary")
        for message in (b"hello", b"", b"x" * 3_000_000):
            self.assertEqual(unary(message, timeout=WAIT_S), message)

    def test_many_at_a_time(self):
        unary = self.channel.unary_unary("/t.S/Unary")
        calls = [unary.future(b"%d" % i, timeout=WAIT_S) for i in range(300)]
        self.assertEqual([call.result() for call in calls], [b"%d" % i for i in range(300)])

    def test_streams(self):
        messages = [b"%d" % i * (i % 50) for i in range(300)]
        self.assertEqual(list(self.channel.stream_stream("/t.S/Echo")(iter(messages), timeout=WAIT_S)), messages)
        self.assertEqual(self.channel.stream_unary("/t.S/Count")(iter(messages), timeout=WAIT_S), b"300")
        poured = [len(m) for m in self.channel.unary_stream("/t.S/Pour")(b"x" * 100, timeout=WAIT_S)]
        self.assertEqual(poured, [100_000] * 100)

    def test_refusals(self):
        refuse = self.channel.unary_unary("/t.S/Refuse")
        self.assertEqual(self.refused(lambda: refuse(b"", timeout=WAIT_S, metadata=(("x-who", "me"),))),
                         (grpc.StatusCode.PERMISSION_DENIED, "me is 100% not ällowed"))
        self.assertEqual(self.refused(lambda: self.channel.unary_unary("/t.S/None")(b"", timeout=WAIT_S)),
                         (grpc.StatusCode.UNIMPLEMENTED, "no such method"))
        self.assertEqual(self.refused(lambda: self.channel.unary_unary("/t.S/Unary")(b"x" * 4_200_000, timeout=WAIT_S)),
                         (grpc.StatusCode.RESOURCE_EXHAUSTED, "a message is too long"))

    def test_compressed(self):
        unary = self.channel.unary_unary("/t.S/Unary")
        self.assertEqual(self.refused(lambda: unary(b"x" * 1000, timeout=WAIT_S, compression=grpc.Compression.Gzip)),
                         (grpc.StatusCode.UNIMPLEMENTED, "compressed messages are not supported"))

    def test_cancel(self):
        call = self.channel.stream_stream("/t.S/Echo")(iter(lambda: b"x", None), timeout=WAIT_S)
        self.assertEqual(next(call), b"x")
        call.cancel()
        self.assertEqual(self.channel.unary_unary("/t.S/Unary")(b"alive", timeout=WAIT_S), b"alive")


class TheirClientSecure(TheirClient):
    secure = True


class Methods(grpc.GenericRpcHandler if grpc else object):
    """The methods of grpc_peer, in Python."""

    @staticmethod
    def refuse(_, context):
        who = dict(context.invocation_metadata()).get("x-who")
        context.abort(grpc.StatusCode.PERMISSION_DENIED, f"{who} is 100% not ällowed")

    def service(self, details):
        return {
            "/t.S/Unary": grpc.unary_unary_rpc_method_handler(lambda message, _: message),
            "/t.S/Echo": grpc.stream_stream_rpc_method_handler(lambda messages, _: messages),
            "/t.S/Count": grpc.stream_unary_rpc_method_handler(lambda messages, _: b"%d" % len(list(messages))),
            "/t.S/Pour": grpc.unary_stream_rpc_method_handler(lambda message, _: (bytes(100_000) for _ in message)),
            "/t.S/Refuse": grpc.unary_unary_rpc_method_handler(self.refuse),
        }.get(details.method)


OUTCOMES = """\
unary OK 1 5 
big OK 1 3000000 
empty OK 1 0 
echo OK 200 200000 
echo-burst OK 50 5000 
count OK 1 3 
pour OK 50 5000000 
refuse PERMISSION_DENIED 0 0 me is 100% not ällowed
none UNIMPLEMENTED 0 0 Method not found!
"""


@NEEDS_GRPC
class TheirServer(unittest.TestCase):
    """Our client calls Python's server."""

    def run_client(self, secure):
        server = grpc.server(concurrent.futures.ThreadPoolExecutor(4), handlers=(Methods(),))
        if secure:
            key, cert, root = IDENTITY.texts
            port = server.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials([(key, cert)], root, True))
        else:
            port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        self.addCleanup(lambda: server.stop(None).wait())
        command = [PEER, "client", f"127.0.0.1:{port}", *(IDENTITY.files if secure else [])]
        done = subprocess.run(command, capture_output=True, text=True, timeout=4 * WAIT_S, check=False)
        self.assertEqual((done.stdout, done.stderr, done.returncode), (OUTCOMES, "", 0))

    def test_plaintext(self):
        self.run_client(False)

    def test_mtls(self):
        self.run_client(True)


class OursToOurs(unittest.TestCase):
    """The same calls between our own two, so that a difference shows whose it is."""

    def run_client(self, secure):
        with Ours(secure) as ours:
            command = [PEER, "client", ours.address, *(IDENTITY.files if secure else [])]
            done = subprocess.run(command, capture_output=True, text=True, timeout=WAIT_S, check=False)
        self.assertEqual(done.stdout, OUTCOMES.replace("Method not found!", "no such method"))

    def test_plaintext(self):
        self.run_client(False)

    def test_mtls(self):
        self.run_client(True)


class GoServer(unittest.TestCase):
    """Our client asks go-control-plane, over grpc-go."""

    def ask(self, secure):
        try:
            program = xds_go.build(BUILD)
        except xds_go.Missing as missing:
            self.skipTest(str(missing))
        resources = json.loads((xds_go.SOURCE / "sample.json").read_text())
        options = ["--cert", *IDENTITY.files[:1], "--key", IDENTITY.files[1], "--ca", IDENTITY.files[2]] if secure else []
        with xds_go.Server(program, resources, *options) as server:
            command = [PEER, "ads", server.address, *(IDENTITY.files if secure else [])]
            done = subprocess.run(command, capture_output=True, text=True, timeout=WAIT_S, check=False)
            self.assertRegex(done.stdout, r"^response \d{2,}\n$")
            self.assertEqual(server.wait("request", type=xds_go.CLUSTER)["names"], None)
            self.assertEqual(server.wait("response", type=xds_go.CLUSTER)["resources"], 1)
            server.wait("close")

    def test_plaintext(self):
        self.ask(False)

    def test_mtls(self):
        self.ask(True)


if __name__ == "__main__":
    PEER, BUILD = sys.argv[1:3]
    unittest.main(argv=[sys.argv[0], *sys.argv[3:]])
