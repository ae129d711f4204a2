#!/usr/bin/env python3
"""fairlead, the command: subcommands over real objects and a real proxy, and its words where it cannot answer.

usage: cli_test.py FAIRLEAD FAIRLEAD_PROXY
"""
import pathlib
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import unittest

TREE = pathlib.Path(__file__).resolve().parents[2]
FAIRLEAD, PROXY = None, None


def run(*argv):
    return subprocess.run([FAIRLEAD, *map(str, argv)], capture_output=True, text=True, timeout=30, check=False)


class Usage(unittest.TestCase):
    def test_exit_statuses(self):
        for argv, status in (((), 2), (("--help",), 0), (("--version",), 0), (("dance",), 2), (("proxy-config",), 2),
                             (("proxy-config", "oxen"), 2), (("proxy-config", "--help"), 0), (("route",), 2),
                             (("route", "explain"), 2), (("route", "explain", "--source", "kubernetes", "a:1"), 2),
                             (("route", "explain", "--source", "directory:/nowhere", "a.b:1"), 1),
                             (("status", "now"), 2), (("status", "--help"), 0), (("status", "--control", "127.0.0.1:1"), 1),
                             (("proxy-config", "clusters", "--admin", "127.0.0.1:1"), 1)):
            with self.subTest(argv=argv):
                done = run(*argv)
                self.assertEqual(done.returncode, status, done.stderr)
                self.assertTrue(done.stdout if status == 0 else done.stderr)


class RouteExplain(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="fairlead-cli-"))
        self.addCleanup(shutil.rmtree, self.folder)
        for name in ("mesh", "demo", "traffic"):
            shutil.copy(TREE / "examples/mesh" / f"{name}.yaml", self.folder)

    def explain(self, *argv):
        return run("route", "explain", "--source", f"directory:{self.folder}", *argv)

    def test_the_rule_that_is_hit(self):
        done = self.explain("server.demo:8080", "/a?b=c")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("header x-canary differs or is missing", done.stdout)
        self.assertRegex(done.stdout, r"90\.0% demo/server-v1:8080\n\s+10\.0% demo/server-v2:8080")
        done = self.explain("server.demo:8080", "-H", "X-Canary: yes")
        self.assertIn("100.0% demo/server-v2:8080", done.stdout)

    def test_no_route(self):
        self.assertIn("goes straight to the Service's endpoints", self.explain("retried.demo:8080").stdout)

    def test_what_is_not_there(self):
        for target, word in (("nobody.demo:8080", "no Service nobody"), ("server.demo:81", "no TCP port 81"),
                             ("server:8080", "in namespace default")):
            done = self.explain(target)
            self.assertEqual(done.returncode, 1)
            self.assertIn(word, done.stderr)

    def test_bad_objects_are_told_of(self):
        (self.folder / "bad.yaml").write_text("kind: HTTPRoute\napiVersion: gateway.networking.k8s.io/v1\nmetadata: [7]\n")
        done = self.explain("server.demo:8080")
        self.assertEqual(done.returncode, 0)
        self.assertRegex(done.stderr, r"left out: .*bad\.yaml:3:")

    def test_bad_targets(self):
        for target in ("", ":", "a:", "a:0", "a:65536", "a:b", ".demo:1", "a.b.c:1"):
            self.assertEqual(self.explain(target).returncode, 2, target)


class ProxyConfig(unittest.TestCase):
    def setUp(self):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        folder = pathlib.Path(tempfile.mkdtemp(prefix="fairlead-cli-"))
        self.addCleanup(shutil.rmtree, folder)
        text = (TREE / "examples/bootstrap.yaml").read_text()
        text = text.replace("port_value: 15000", f"port_value: {self.port}").replace("port_value: 8000", "port_value: 0")
        (folder / "bootstrap.yaml").write_text(text)
        self.process = subprocess.Popen([PROXY, "-c", folder / "bootstrap.yaml", "-l", "error"])
        self.addCleanup(self.stop)
        end = time.monotonic() + 10
        while True:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            self.assertLess(time.monotonic(), end, "the proxy does not listen")

    def stop(self):
        self.process.kill()
        self.process.wait()

    def test_tables_of_a_running_proxy(self):
        admin = f"127.0.0.1:{self.port}"
        for table, row in (("listeners", r"^in +127\.0\.0\.1:0 .*http: "), ("clusters", r"^app +STATIC +ROUND_ROBIN +plain"),
                           ("endpoints", r"^app +127\.0\.0\.1:8080 ")):
            done = run("proxy-config", table, "--admin", admin)
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertRegex(done.stdout, f"(?m){row}")
        done = run("proxy-config", "clusters", "--admin", f"http://{admin}/", "-o", "json")
        self.assertIn('"configs"', done.stdout)
        self.assertEqual(run("proxy-config", "clusters", "--admin", admin, "--name", "nothing").stdout.count("\n"), 1)


if __name__ == "__main__":
    FAIRLEAD, PROXY = sys.argv[1:3]
    unittest.main(argv=sys.argv[:1])
