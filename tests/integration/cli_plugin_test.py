#!/usr/bin/env python3
"""Kubeconfigs as people have them: credentials of an exec plugin, a proxy on the way, impersonation. The command uses them, servers refuse plugins.

usage: cli_plugin_test.py FAIRLEAD FAIRLEAD_CONTROL FAIRLEAD_WEBHOOK FAIRLEAD_KEEPER
"""
import json
import pathlib
import re
import socket
import subprocess
import sys
import threading
import unittest

from cli_cluster import Authority, good

FAIRLEAD, SERVERS = None, ()
AUTHORITY = Authority()
V1, V1BETA1 = "client.authentication.k8s.io/v1", "client.authentication.k8s.io/v1beta1"


def credential(version=V1, **status):
    return json.dumps({"kind": "ExecCredential", "apiVersion": version, "status": status})


class Door:
    """Takes connections and passes them on, as a proxy of one kind does; `asked` is what it was told to reach."""

    def __init__(self, kind):
        self.kind, self.asked, self.heads = kind, [], []
        self.listener = socket.create_server(("127.0.0.1", 0))
        threading.Thread(target=self.serve, daemon=True).start()

    def url(self):
        return f"{self.kind}://127.0.0.1:{self.listener.getsockname()[1]}"

    def serve(self):
        while True:
            try:
                client = self.listener.accept()[0]
            except OSError:
                return
            threading.Thread(target=self.pass_on, args=(client,), daemon=True).start()

    def pass_on(self, client):
        with client:
            reader = client.makefile("rb", buffering=0)
            host, port = self.connect(client, reader) if self.kind == "http" else self.socks(client, reader)
            self.asked.append((host, port))
            with socket.create_connection(("127.0.0.1", port)) as server:
                back = threading.Thread(target=self.pump, args=(server, client), daemon=True)
                back.start()
                self.pump(client, server)
                back.join()

    def connect(self, client, reader):
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += reader.read(1)
        self.heads.append(head.decode())
        host, port = re.match(r"CONNECT (\S+):(\d+) ", head.decode()).groups()
        client.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        return host, int(port)

    @staticmethod
    def socks(client, reader):
        reader.read(reader.read(2)[1])
        client.sendall(b"\x05\x00")
        kind = reader.read(4)[3]
        host = socket.inet_ntoa(reader.read(4)) if kind == 1 else reader.read(reader.read(1)[0]).decode()
        port = int.from_bytes(reader.read(2), "big")
        client.sendall(b"\x05\x00\x00\x01\x7f\x00\x00\x01\x00\x00")
        return host, port

    @staticmethod
    def pump(one, other):
        try:
            while data := one.recv(65536):
                other.sendall(data)
        except OSError:
            pass
        try:
            other.shutdown(socket.SHUT_WR)
        except OSError:
            pass


class Way(unittest.TestCase):
    def cluster(self, script=None, **more):
        """One that wants a token `good`, and a user whose plugin is `script`; what it prints is counted by `starts`."""
        cluster = good(AUTHORITY.pem)
        cluster.authority = AUTHORITY
        cluster.who = lambda handler: handler.headers["Authorization"] == "Bearer good"
        self.enterContext(cluster)
        if script is not None:
            path = pathlib.Path(cluster.folder.name, "get-token")
            path.write_text(f"#!/bin/sh\necho started >>{cluster.folder.name}/starts\n{script}\n")
            path.chmod(0o755)
            cluster.user = {"exec": {"apiVersion": V1, "command": "./get-token", "interactiveMode": "IfAvailable", **more}}
        return cluster

    def enterContext(self, thing):  # unittest's own, of Python 3.11
        self.addCleanup(thing.__exit__, None, None, None)
        return thing.__enter__()

    @staticmethod
    def starts(cluster):
        path = pathlib.Path(cluster.folder.name, "starts")
        return len(path.read_text().splitlines()) if path.exists() else 0

    @staticmethod
    def check(cluster, **more):
        return cluster.run(FAIRLEAD, "check", "--kubectl", cluster.kubectl(), **more)

class Plugins(Way):
    def test_a_token(self):
        cluster = self.cluster(f"echo '{credential(token='good', expirationTimestamp='2099-01-01T00:00:00Z')}'")
        done = self.check(cluster)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertEqual(self.starts(cluster), 1)
        self.assertGreater(len(cluster.requests), 5)

    def test_without_the_token_nothing_goes(self):
        cluster = self.cluster()
        done = self.check(cluster)
        self.assertEqual(done.returncode, 1, done.stdout)
        self.assertIn("Unauthorized", done.stdout)

    def test_v1beta1_with_what_it_is_told(self):
        cluster = self.cluster(f"echo \"$KUBERNETES_EXEC_INFO\" >\"$OUT\"; [ \"$1\" = \"a b\" ] || exit 9; echo '{credential(V1BETA1, token='good')}'",
                               apiVersion=V1BETA1, args=["a b"], provideClusterInfo=True)
        out = pathlib.Path(cluster.folder.name, "info")
        cluster.user["exec"]["env"] = [{"name": "OUT", "value": str(out)}]
        del cluster.user["exec"]["interactiveMode"]
        self.assertEqual(self.check(cluster).returncode, 0)
        told = json.loads(out.read_text())
        self.assertEqual((told["apiVersion"], told["spec"]["interactive"]), (V1BETA1, False))
        self.assertEqual(told["spec"]["cluster"], {"server": f"https://127.0.0.1:{cluster.port()}", **cluster.where, "config": None})

    def test_a_certificate(self):
        leaf = AUTHORITY.leaf("me", use="clientAuth")
        cert, key = leaf[:leaf.index("-----BEGIN PRIVATE")], leaf[leaf.index("-----BEGIN PRIVATE"):]
        cluster = self.cluster("cat \"$(dirname \"$0\")/answer\"")
        pathlib.Path(cluster.folder.name, "answer").write_text(credential(clientCertificateData=cert, clientKeyData=key))
        subjects = []
        cluster.who = lambda handler: subjects.append(handler.connection.getpeercert()) or bool(subjects[-1])
        done = self.check(cluster)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertTrue(all(subjects))

    def test_a_token_that_is_refused_later(self):
        """Asked for anew, once, and the request that was refused is made again."""
        cluster = self.cluster(f"[ $(wc -l <\"$(dirname \"$0\")/starts\") = 1 ] && echo '{credential(token='first')}' || echo '{credential(token='good')}'")
        cluster.who = lambda handler: handler.headers["Authorization"] == ("Bearer good" if len(cluster.requests) >= 3 else "Bearer first")
        done = self.check(cluster)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertEqual(self.starts(cluster), 2)

    def test_a_token_that_is_never_taken(self):
        cluster = self.cluster(f"echo '{credential(token='bad')}'")
        done = self.check(cluster)
        self.assertEqual(done.returncode, 1)
        self.assertIn("Unauthorized", done.stdout)
        self.assertEqual(self.starts(cluster), 2)

    def test_an_answer_that_has_expired(self):
        cluster = self.cluster(f"echo '{credential(token='good', expirationTimestamp='2020-01-01T00:00:00Z')}'")
        self.assertEqual(self.check(cluster).returncode, 0)
        self.assertGreater(self.starts(cluster), 5)

    def test_what_a_plugin_says_to_the_person(self):
        cluster = self.cluster("echo 'run: aws sso login' >&2; exit 255")
        done = self.check(cluster)
        self.assertEqual(done.returncode, 1)
        self.assertIn("run: aws sso login\n", done.stderr)
        self.assertRegex(done.stderr, r'user "nobody", exec "/\S+/\./get-token": ended with status 255: expected an ExecCredential')

    def test_a_plugin_that_is_not_there(self):
        cluster = self.cluster()
        cluster.user = {"exec": {"apiVersion": V1BETA1, "command": "gke-gcloud-auth-plugin-not-here", "installHint": "Install it by following https://x"}}
        for command in (("check",), ("status",), ("members",), ("mtls", "ready", "shop")):
            with self.subTest(command=command):
                done = cluster.run(FAIRLEAD, *command)
                self.assertEqual(done.returncode, 1)
                self.assertIn('user "nobody", exec "gke-gcloud-auth-plugin-not-here": is in no folder of PATH: Install it by following https://x', done.stderr)

    def test_completion_waits_for_nobody(self):
        cluster = self.cluster(f"echo '{credential(token='good')}'")
        offered = cluster.run(FAIRLEAD, "__complete", "check", "-n", "sh")
        self.assertEqual(offered.stdout.split()[0], "shop")
        cluster.user["exec"]["interactiveMode"] = "Always"
        self.assertNotIn("shop", cluster.run(FAIRLEAD, "__complete", "check", "-n", "sh").stdout)
        self.assertEqual(self.starts(cluster), 1)

    def test_servers_start_nothing(self):
        cluster = self.cluster("exit 0")
        pem = pathlib.Path(cluster.folder.name, "server.pem")
        for argv in SERVERS:
            with self.subTest(program=argv[0]):
                argv = [word.replace("KUBECONFIG", str(cluster.kubeconfig())).replace("PEM", str(pem)) for word in argv]
                done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
                self.assertNotEqual(done.returncode, 0)
                self.assertRegex(done.stderr, r'user \\?"nobody\\?": exec is not supported here')
        self.assertEqual(self.starts(cluster), 0)


class Ways(Way):
    """What else a kubeconfig may say of the way to the API server."""

    def test_impersonation(self):
        cluster = self.cluster()
        cluster.user = {"token": "good", "as": "jane", "as-groups": ["dev", "ops"], "as-user-extra": {"example.org/why": ["on call"]}}
        self.assertEqual(self.check(cluster).returncode, 0)
        for headers in cluster.headers:
            self.assertEqual((headers["Impersonate-User"], headers.get_all("Impersonate-Group"), headers["Impersonate-Extra-example.org%2Fwhy"]),
                             ("jane", ["dev", "ops"], "on call"))

    def test_proxies(self):
        for kind in ("http", "socks5"):
            with self.subTest(kind=kind):
                door = Door(kind)
                self.addCleanup(door.listener.close)
                cluster = self.cluster()
                cluster.user, cluster.where = {"token": "good"}, {**cluster.where, "proxy-url": door.url()}
                done = self.check(cluster, env={"no_proxy": "*", "NO_PROXY": "*", "https_proxy": "http://127.0.0.1:1"})
                self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
                self.assertEqual(set(door.asked), {("127.0.0.1", cluster.port())})
                self.assertNotIn("authorization", "".join(door.heads).lower())  # that is the API server's alone

    def test_a_proxy_that_is_not_there(self):
        cluster = self.cluster()
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
        cluster.user, cluster.where = {"token": "good"}, {**cluster.where, "proxy-url": f"http://127.0.0.1:{port}"}
        done = self.check(cluster)
        self.assertEqual(done.returncode, 1)
        self.assertEqual(cluster.requests, [])


if __name__ == "__main__":
    FAIRLEAD = sys.argv[1]
    SERVERS = ((sys.argv[2], "--source", "kubernetes", "--kubeconfig", "KUBECONFIG"),
               (sys.argv[3], "--listen", "127.0.0.1:0", "--tls-cert", "PEM", "--tls-key", "PEM", "--kubeconfig", "KUBECONFIG"),
               (sys.argv[4], "--configuration", "x", "--kubeconfig", "KUBECONFIG"))
    del sys.argv[1:5]
    unittest.main(verbosity=2)
