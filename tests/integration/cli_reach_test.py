#!/usr/bin/env python3
"""What the command asks of pods, by kubectl port-forward: status, proxy-config; and kubectls that fail in every way.

usage: cli_reach_test.py FAIRLEAD
"""
import json
import pathlib
import re
import subprocess
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
        cluster.pages["shop", "deploy/web", 15000, "/config_dump?include_eds"] = cluster.pages["shop", "web-1", 15000, "/config_dump?include_eds"]
        for argv in (("deploy/web",), ("deploy/web.shop",), ("deploy/web", "-n", "shop")):
            done = self.run_on(cluster, "proxy-config", "clusters", *argv)
            self.assertEqual(done.returncode, 0, done.stderr)
        for name in ("deploy/", "deploy/A", "deploy/web.", "deploy/a/b"):
            self.assertIn("is not the name of a pod", self.run_on(cluster, "proxy-config", "clusters", name).stderr)
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

    @staticmethod
    def scrape(mutual=0, plaintext=0, workload="unknown"):
        lines = [(f'istio_requests_total{{reporter="destination",source_workload="{workload}",source_workload_namespace="unknown",'
                  f'connection_security_policy="{policy}"}} {count}\n') for policy, count in (("mutual_tls", mutual), ("none", plaintext))]
        return (200, "# TYPE istio_requests_total counter\n" + "".join(lines))

    def mtls(self, pages, *argv, modes=()):
        cluster = good(ROOT)
        for name, page in pages.items():
            cluster.pages["shop", name, 15090, "/stats/prometheus"] = page
        cluster.add("peerauthentications", *modes)
        return self.run_on(cluster, "mtls", "ready", *argv)

    def test_mtls_ready(self):
        mode = thing("PeerAuthentication", "default", "shop", "fairlead.io/v1alpha1", spec={"mtls": {"mode": "STRICT"}})
        done = self.mtls({"web-1": self.scrape(7), "web-2": self.scrape()}, "shop")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertRegex(done.stdout, r"(?m)^web-1  PERMISSIVE  7 .*\n(.*\n)*READY: nobody calls in plaintext")
        done = self.mtls({"web-1": self.scrape(7, 3), "web-2": self.scrape()}, "-n", "shop")
        self.assertEqual(done.returncode, 3)
        self.assertRegex(done.stdout, r"(?m)^web-1  PERMISSIVE  7 +3 +http +not in the mesh\n(.*\n)*NOT READY")
        done = self.mtls({"web-1": self.scrape(7, 3, "old"), "web-2": self.scrape()}, "shop", "-o", "json")
        answer = json.loads(done.stdout)
        self.assertEqual((done.returncode, answer["ready"]), (3, False))
        self.assertEqual(answer["pods"][0]["sources"], [{"workload": "old", "namespace": "unknown", "protocol": "http", "count": 3}])
        done = self.mtls({"web-1": self.scrape(7)}, "shop")
        self.assertEqual(done.returncode, 1)
        self.assertIn("NOT KNOWN", done.stdout)
        self.assertIn("not asked: pod shop/web-2", done.stderr)
        done = self.mtls({"web-1": self.scrape(7), "web-2": self.scrape()}, "shop", modes=[mode])
        self.assertIn("READY: all are under STRICT", done.stdout)

    def test_mtls_ready_within_a_time(self):
        """What was counted before the time began counts no more."""
        done = self.mtls({"web-1": self.scrape(7, 3), "web-2": self.scrape()}, "shop", "--over", "50ms")
        self.assertEqual(done.returncode, 0, done.stdout)

    def test_completion(self):
        """By bash itself, by kubectl's program, and with what the cluster knows."""
        cluster = good(ROOT)
        with cluster:
            def ask(*words):
                return cluster.run(FAIRLEAD, "__complete", *words).stdout.splitlines()
            self.assertEqual(ask("proxy-config", "clusters", "-n", "shop", "w"), ["web-1", "web-2", ":4"])
            self.assertEqual(ask("mtls", "ready", "sh"), ["shop", ":4"])
            self.assertEqual(ask("status", "--kubeconfig", ""), [":0"])
            self.assertEqual(ask("mtls", "ready", "--kubeconfig", "/nowhere", ""), [":4"])
            folder = pathlib.Path(cluster.folder.name)
            (folder / "kubectl_complete-fairlead").symlink_to(FAIRLEAD)
            done = cluster.run(folder / "kubectl_complete-fairlead", "route", "")
            self.assertEqual(done.stdout.splitlines(), ["explain", ":4"])
            (folder / "fairlead").symlink_to(FAIRLEAD)
            (folder / "c.bash").write_text(cluster.run(FAIRLEAD, "completion", "bash").stdout)
            text = (f'source {folder}/c.bash; COMP_WORDS=({folder}/fairlead proxy-config "$1"); COMP_CWORD=2; _fairlead; '
                    'printf "%s\\n" "${COMPREPLY[@]}"')
            done = cluster.run("bash", "--norc", "-c", text, "x", "r")
            self.assertEqual(done.stdout.split(), ["routes"], done.stderr)
        for shell in ("bash", "zsh", "fish", "kubectl"):
            done = subprocess.run([FAIRLEAD, "completion", shell], capture_output=True, text=True, timeout=30, check=False)
            self.assertEqual(done.returncode, 0)
            self.assertIn("__complete", done.stdout)
        self.assertEqual(subprocess.run([FAIRLEAD, "completion", "tcsh"], capture_output=True, timeout=30, check=False).returncode, 2)

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
