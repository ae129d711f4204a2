#!/usr/bin/env python3
"""What the command asks of pods, by kubectl port-forward: status, proxy-config; and kubectls that fail in every way.

usage: cli_reach_test.py FAIRLEAD
"""
import json
import pathlib
import re
import sys
import time
import unittest

from cli_cluster import MESH, certificate, control_pages, good, proxy, thing

FAIRLEAD = None
TREE = pathlib.Path(__file__).resolve().parents[2]
ROOT = certificate()


class Reach(unittest.TestCase):
    def run_on(self, cluster, *argv, kubectl=None):
        with cluster:
            return cluster.run(FAIRLEAD, *argv, "--kubectl", kubectl(cluster) if kubectl else cluster.kubectl())

    def script(self, text):
        def write(cluster):
            path = pathlib.Path(cluster.folder.name, "kubectl")
            path.write_text(f"#!/bin/sh\n{text}\n")
            path.chmod(0o755)
            return path
        return write

    def test_status_of_all_replicas(self):
        cluster = good(ROOT)
        control_pages(cluster, 1, proxy("web-1"), proxy("edge", "plain"))
        control_pages(cluster, 2, proxy("web-2"), proxy("web-1"))
        done = self.run_on(cluster, "status")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(sorted(re.findall(r"(?m)^(\S+)  +sidecar", done.stdout)), ["edge.plain", "web-1.shop", "web-2.shop"])
        done = self.run_on(cluster, "status", "-n", "plain", "-o", "json")
        self.assertEqual([one["name"] for one in json.loads(done.stdout)["proxies"]], ["edge"])

    def test_status_that_is_not_well(self):
        cluster = good(ROOT)
        control_pages(cluster, 1, proxy("web-1", in_sync=False))
        control_pages(cluster, 2)
        self.assertEqual(self.run_on(cluster, "status").returncode, 1)
        control_pages(cluster, 1, proxy("web-1"), problems=3)
        done = self.run_on(cluster, "status")
        self.assertEqual(done.returncode, 1)
        self.assertIn("3 objects have problems", done.stdout)

    def test_a_replica_that_cannot_be_asked(self):
        cluster = good(ROOT)
        del cluster.pages[MESH, "fairlead-control-1", 15014, "/debug/proxies"], cluster.pages[MESH, "fairlead-control-1", 15014, "/status"]
        control_pages(cluster, 2, proxy("web-1"))
        done = self.run_on(cluster, "status")
        self.assertEqual(done.returncode, 1)
        self.assertIn("web-1.shop", done.stdout)
        self.assertRegex(done.stderr, r"not asked: pod fairlead-system/fairlead-control-1: kubectl port-forward: .*not found")

    def test_no_control_plane(self):
        cluster = good(ROOT)
        for number in (1, 2):
            cluster.remove("pods", f"fairlead-control-{number}")
        done = self.run_on(cluster, "status")
        self.assertEqual((done.returncode, done.stdout), (1, ""))
        self.assertIn("no replica of the control plane runs in namespace fairlead-system", done.stderr)

    def test_proxy_config_of_a_pod(self):
        cluster = good(ROOT)
        cluster.pages["shop", "web-1", 15000, "/config_dump?include_eds"] = (200, (TREE / "tests/golden/cli/config_dump.json").read_text())
        for argv in (("web-1",), ("web-1.shop",), ("shop/web-1",), ("pod/web-1", "-n", "shop")):
            done = self.run_on(cluster, "proxy-config", "clusters", *argv)
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertIn("STATIC", done.stdout)
        done = self.run_on(cluster, "proxy-config", "clusters", "web-9")
        self.assertEqual((done.returncode, done.stdout), (1, ""))
        self.assertIn("pod shop/web-9: kubectl port-forward: Error from server (NotFound)", done.stderr)
        self.assertIn("is not the name of a pod", self.run_on(cluster, "proxy-config", "clusters", "A_B").stderr)
        self.assertEqual(self.run_on(cluster, "proxy-config", "clusters", "web-1", "--admin", "127.0.0.1:1").returncode, 2)
        cluster.pages["shop", "web-1", 15000, "/config_dump?include_eds"] = (503, "warming")
        self.assertIn("pod shop/web-1, port 15000", self.run_on(cluster, "proxy-config", "clusters", "web-1").stderr)

    def test_route_explain_over_the_cluster(self):
        cluster = good(ROOT)
        cluster.add("services", *(thing("Service", name, "shop", spec={"ports": [{"port": 8080}]}) for name in ("web", "v2")))
        cluster.add("httproutes", thing("HTTPRoute", "canary", "shop", "gateway.networking.k8s.io/v1", spec={
            "parentRefs": [{"group": "", "kind": "Service", "name": "web"}],
            "rules": [{"matches": [{"path": {"value": "/b"}}], "backendRefs": [{"name": "v2", "port": 8080}]}]}),
            thing("HTTPRoute", "bad", "shop", "gateway.networking.k8s.io/v1", spec={"parentRefs": 7}))
        with cluster:
            for target in ("web.shop:8080", "web:8080"):
                done = cluster.run(FAIRLEAD, "route", "explain", target, "/b/c")
                self.assertEqual(done.returncode, 0, done.stderr)
                self.assertIn("100.0% shop/v2:8080", done.stdout)
                self.assertRegex(done.stderr, r"left out: HTTPRoute shop/bad: .*parentRefs")
            self.assertIn("no Service none", cluster.run(FAIRLEAD, "route", "explain", "none.shop:1").stderr)
        cluster.refused.add("services")
        with cluster:
            done = cluster.run(FAIRLEAD, "route", "explain", "web.shop:8080")
        self.assertEqual((done.returncode, done.stdout), (1, ""))
        self.assertIn("forbidden", done.stderr)

    def test_kubectls_that_fail(self):
        for text, word in (("exit 3", "ended without a word"), ("echo oops >&2; exit 1", "port-forward: oops"),
                           ("printf 'bad\\033[2Jword' >&2; exit 1", "bad?[2Jword"),
                           ("exec sleep 60", "did not listen within 300 ms"), ("echo Forwarding from 127.0.0.1:x; exec sleep 60", "did not listen"),
                           ("echo 'Forwarding from 127.0.0.1:40000 -> 9'; exec sleep 60", "did not listen"),
                           ("yes; exec sleep 60", ""), ("exec 1>&- 2>&-; exec sleep 1", "ended without a word")):
            with self.subTest(text):
                begun = time.monotonic()
                done = self.run_on(good(ROOT), "proxy-config", "clusters", "web-1", "--timeout", "300ms", kubectl=self.script(text))
                self.assertEqual((done.returncode, done.stdout), (1, ""))
                self.assertIn(word, done.stderr)
                self.assertLess(time.monotonic() - begun, 20)
        done = self.run_on(good(ROOT), "proxy-config", "clusters", "web-1", kubectl=lambda _: "/nowhere/kubectl")
        self.assertIn("/nowhere/kubectl is not there", done.stderr)

    def test_nothing_is_left_running(self):
        cluster = good(ROOT)
        cluster.pages["shop", "web-1", 15000, "/config_dump?include_eds"] = (200, "{}")
        with cluster:
            done = cluster.run(FAIRLEAD, "proxy-config", "clusters", "web-1", "--kubectl", cluster.kubectl())
            self.assertEqual(done.returncode, 0, done.stderr)
            left = [path for path in pathlib.Path("/proc").glob("[0-9]*/cmdline") if self.reads(path, cluster.folder.name)]
            self.assertEqual(left, [])

    @staticmethod
    def reads(path, word):
        try:
            return word.encode() in path.read_bytes()
        except OSError:
            return False


if __name__ == "__main__":
    FAIRLEAD = sys.argv[1]
    unittest.main(argv=sys.argv[:1])
