#!/usr/bin/env python3
"""fairlead inject, uninject, explain, pause, resume: files, folders, standard input, Lists; pipes and full disks; and a cluster, by an
API server in memory.

usage: cli_manifests_test.py FAIRLEAD
"""
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

import fake_api

FAIRLEAD = None
fake_api.KINDS.update({"namespaces": "Namespace", "pods": "Pod", "deployments": "Deployment", "statefulsets": "StatefulSet",
                       "daemonsets": "DaemonSet", "replicasets": "ReplicaSet", "cronjobs": "CronJob", "jobs": "Job",
                       "replicationcontrollers": "ReplicationController"})

APP = {"name": "app", "image": "nginx", "ports": [{"name": "http", "containerPort": 8080}],
       "readinessProbe": {"httpGet": {"port": "http"}}, "livenessProbe": {"tcpSocket": {"port": 8080}}}
TEMPLATE = {"metadata": {"labels": {"app": "web"}, "annotations": {"prometheus.io/scrape": "true", "prometheus.io/port": "9100"}},
            "spec": {"containers": [APP]}}


def thing(kind, name, version="v1", **more):
    return {"apiVersion": version, "kind": kind, "metadata": {"name": name}, **more}


DEPLOYMENT = thing("Deployment", "web", "apps/v1", spec={"replicas": 2, "template": TEMPLATE})
CRONJOB = thing("CronJob", "nightly", "batch/v1", spec={"jobTemplate": {"spec": {"template": {"spec": {"containers": [APP]}}}}})
POD = {"apiVersion": "v1", "kind": "Pod", "metadata": {"generateName": "web-"}, "spec": {"containers": [APP]}}
SECRET = thing("Secret", "s", data={"a": "AAAA"}, big=12345678901234567890)
UNKNOWN = thing("Oxen", "x", "example.com/v1", spec={"template": {"spec": {"containers": []}}})
LIST = {"apiVersion": "v1", "kind": "List", "items": [DEPLOYMENT, {"apiVersion": "v1", "kind": "PodList", "items": [POD]}, SECRET]}


def run(*argv, data="", env=None):
    return subprocess.run([FAIRLEAD, *map(str, argv)], input=data, capture_output=True, text=True, timeout=60, check=False,
                          env={**os.environ, **(env or {})})


def containers(pod):
    return [item["name"] for name in ("initContainers", "containers") for item in pod["spec"].get(name, [])]


class Manifests(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="fairlead-cli-"))
        self.addCleanup(shutil.rmtree, self.folder)

    def write(self, name, *documents):
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("---\n".join(json.dumps(document) + "\n" for document in documents))
        return path

    def refuse(self, word, *argv, status=1, data=""):
        done = run(*argv, data=data)
        self.assertEqual((done.returncode, done.stdout), (status, ""), done.stderr)
        self.assertIn(word, done.stderr)

    def test_there_and_back(self):
        for document in (DEPLOYMENT, CRONJOB, POD, SECRET, UNKNOWN, LIST, thing("Pod", "alone", spec={"containers": []})):
            for form in ("json", "yaml"):
                with self.subTest(document["kind"], form=form):
                    injected = run("inject", "-o", form, "-", data=json.dumps(document))
                    self.assertEqual(injected.returncode, 0, injected.stderr)
                    again = run("inject", "-o", form, "-", data=injected.stdout)
                    self.assertEqual(again.stdout, injected.stdout)
                    back = run("uninject", "-o", "json", "-", data=injected.stdout)
                    self.assertEqual(json.loads(back.stdout), document)
                    once = run("uninject", "-o", "json", "-", data=back.stdout)
                    self.assertEqual(once.stdout, back.stdout)

    def test_what_is_injected(self):
        made = json.loads(run("inject", "-q", "-o", "json", "-", data=json.dumps(LIST)).stdout)["items"]
        self.assertEqual(containers(made[0]["spec"]["template"]), ["fairlead-proxy", "app"])
        self.assertEqual(containers(made[1]["items"][0]), ["fairlead-proxy", "app"])
        self.assertEqual(made[2], SECRET)
        env = {item["name"]: item.get("value") for item in made[0]["spec"]["template"]["spec"]["initContainers"][0]["env"]}
        self.assertEqual(env["FAIRLEAD_WORKLOAD"], "web")
        self.assertNotIn("ownerReferences", made[0]["spec"]["template"]["metadata"])

    def test_labels_of_namespaces(self):
        space = self.write("space.json", thing("Namespace", "quiet", ) | {"metadata": {"name": "quiet", "labels": {"fairlead.io/inject": "disabled"}}})
        web = self.write("web.json", DEPLOYMENT)
        for argv in (("-n", "quiet", space, web), ("-n", "quiet", "--namespaces", space, web)):
            done = run("inject", *argv)
            self.assertIn("skipped [namespace_disabled]", done.stderr)
            self.assertNotIn("fairlead-proxy", done.stdout)

    def test_folders(self):
        self.write("b.yaml", DEPLOYMENT)
        self.write("a.json", POD, CRONJOB)
        self.write("deep/c.yml", SECRET)
        self.write("notes.txt", SECRET)
        (self.folder / "deep/loop").symlink_to(self.folder)
        kinds = [item["kind"] for item in json.loads(run("inject", "-o", "json", self.folder).stdout)["items"]]
        self.assertEqual(kinds, ["Pod", "CronJob", "Deployment"])
        self.refuse("Too many levels", "inject", "-R", self.folder)
        (self.folder / "deep/loop").unlink()
        self.assertIn("kind: Secret", run("inject", "-R", self.folder).stdout)

    def test_what_cannot_be_read(self):
        for text, word in (("a: b\n a: c\n", "standard input:2:"), ("apiVersion: v1\nkind: Pod\nkind: Pod\n", "standard input:3:"),
                           ("kind: Pod\n", "needs a apiVersion"), ("[]", "1:1: expected a Kubernetes object"), ("", "no Kubernetes object"),
                           ("---\n# nothing\n", "no Kubernetes object"), ("\x01\x02", "standard input"), ("{\"kind\": ", "standard input")):
            for command in ("inject", "uninject"):
                with self.subTest(text, command=command):
                    self.refuse(word, command, "-", data=text)
        self.refuse("read once", "inject", "-", "-")
        self.refuse("No such file", "uninject", self.folder / "nothing")
        self.refuse("no Kubernetes object", "inject", self.folder)
        self.refuse("expected files", "uninject", status=2)
        self.refuse("expected -o", "uninject", "-o", "xml", "-", status=2)

    def test_windows_line_ends(self):
        text = "apiVersion: v1\r\nkind: Pod\r\nmetadata:\r\n  name: w\r\nspec:\r\n  containers:\r\n  - name: a\r\n    image: b\r\n"
        done = run("uninject", "-o", "json", "-", data=run("inject", "-", data=text).stdout)
        self.assertEqual(json.loads(done.stdout)["spec"], {"containers": [{"name": "a", "image": "b"}]})

    def test_one_that_is_refused(self):
        bad = json.loads(json.dumps(POD))
        bad["metadata"]["annotations"] = {"fairlead.io/log-level": "loud"}
        self.refuse("[setting_invalid]", "inject", "-", data=json.dumps(bad))
        lost = json.loads(run("inject", "-o", "json", "-", data=json.dumps(POD)).stdout)
        del lost["metadata"]["annotations"]["fairlead.io/probes"]
        self.refuse("container app: readinessProbe", "uninject", "-", data=json.dumps(lost))

    def test_a_full_disk_and_a_closed_pipe(self):
        for command in ("inject", "uninject"):
            with open("/dev/full", "w", encoding="ascii") as full:
                done = subprocess.run([FAIRLEAD, command, self.write("a.json", POD)], stdout=full, stderr=subprocess.PIPE, timeout=30, check=False)
            self.assertEqual(done.returncode, 1)
            self.assertIn(b"No space left", done.stderr)
        reader, writer = os.pipe()
        os.close(reader)
        done = subprocess.run([FAIRLEAD, "inject", self.write("a.json", POD)], stdout=writer, stderr=subprocess.DEVNULL, timeout=30, check=False)
        os.close(writer)
        self.assertNotEqual(done.returncode, 0)

    def test_explain(self):
        space = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop", "labels": {"fairlead.io/inject": "enabled"},
                                                                         "annotations": {"fairlead.io/log-level": "debug"}}}
        path = self.write("all.json", space, DEPLOYMENT)
        told = json.loads(run("explain", "-n", "shop", "-o", "json", "-f", path).stdout)
        self.assertEqual((told["revision"], told["configuration"]), ("default", "the webhook's defaults"))
        web = told["items"][0]
        self.assertEqual((web["outcome"], web["reason"], web["workload"]), ("injected", "namespace_enabled", "web"))
        settings = {item["setting"]: (item["value"], item["from"]) for item in web["settings"]}
        self.assertEqual(settings["fairlead.io/log-level"], ("debug", "namespace"))
        self.assertEqual(settings["fairlead.io/probe-rewrite"][1], "builtin")
        self.assertEqual([probe["kind"] for probe in web["probes"]], ["readyz", "livez"])
        self.assertTrue(web["rules"])
        text = run("explain", "-n", "shop", "-f", path).stdout
        self.assertIn("injected [namespace_enabled]", text)
        self.assertRegex(text, r"fairlead\.io/log-level +\"debug\" +namespace")

    def test_reasons(self):
        told = json.loads(run("explain", "--reasons", "-o", "json").stdout)
        words = {item["reason"] for item in told["reasons"]}
        self.assertTrue({"paused", "required", "probe_lost", "pod_enabled"} <= words)
        self.assertTrue({item["reason"] for item in told["decisions"]} <= words)
        text = run("explain", "--reasons").stdout
        for word in words:
            self.assertIn(word, text)


class Cluster(unittest.TestCase):
    def setUp(self):
        self.api = fake_api.FakeApi()
        self.addCleanup(self.api.close)
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="fairlead-cli-"))
        self.addCleanup(shutil.rmtree, self.folder)
        config = self.folder / "config"
        config.write_text(self.api.kubeconfig())
        self.env = {"KUBECONFIG": str(config)}
        self.forbidden = set()
        self.api.store.trouble = self.trouble
        self.put("/api/v1/namespaces/shop", thing("Namespace", "shop") | {"metadata": {"name": "shop", "labels": {"fairlead.io/inject": "enabled"}}})
        self.put("/api/v1/namespaces/plain", thing("Namespace", "plain"))

    def trouble(self, method, path):
        if path.endswith("/selfsubjectreviews"):
            answer = fake_api.Refused(201, "", "")
            answer.body = {"status": {"userInfo": {"username": "ann"}}}
            raise answer
        if (method, path) in self.forbidden:
            raise fake_api.Refused(403, "Forbidden", f"{path} is forbidden")

    def put(self, path, item):
        with self.api.store.lock:
            self.api.store.stamp(path, item, "ADDED")

    def run(self, *argv, **more):
        if argv and isinstance(argv[0], unittest.TestResult):
            return super().run(*argv, **more)
        return run(*argv, env=self.env)

    def name_space(self, name):
        return self.api.store.get(f"/api/v1/namespaces/{name}")["metadata"]

    def test_pause_and_resume(self):
        done = self.run("pause", "--reason", "fire \"drill\"", "shop")
        self.assertEqual((done.returncode, done.stdout), (0, "namespace/shop paused\n"), done.stderr)
        now = self.name_space("shop")
        self.assertEqual(now["labels"], {"fairlead.io/inject": "enabled", "fairlead.io/pause": "true"})
        self.assertEqual((now["annotations"]["fairlead.io/paused-by"], now["annotations"]["fairlead.io/pause-reason"]), ("ann", 'fire "drill"'))
        self.assertIn(("PATCH", "/api/v1/namespaces/shop", "fairlead-cli"), self.api.store.writes)
        self.assertRegex(self.run("pause", "--list").stdout, r'^shop  since 2\S+Z  by ann  fire "drill"\n$')
        self.assertEqual(self.run("resume", "shop").returncode, 0)
        now = self.name_space("shop")
        self.assertEqual(now["labels"], {"fairlead.io/inject": "enabled"})
        self.assertFalse(now.get("annotations"))

    def test_all_and_what_is_forbidden(self):
        self.put("/api/v1/namespaces/zoo", thing("Namespace", "zoo") | {"metadata": {"name": "zoo", "labels": {"fairlead.io/require": "true"}}})
        self.forbidden = {("PATCH", "/api/v1/namespaces/shop")}
        done = self.run("pause", "--all")
        self.assertEqual((done.returncode, done.stdout), (1, "namespace/zoo paused\n"))
        self.assertIn("forbidden", done.stderr)
        self.assertNotIn("labels", self.name_space("plain"))

    def test_exit_statuses(self):
        for argv, status in ((("pause",), 2), (("pause", "Shop"), 2), (("pause", "nowhere"), 1), (("resume", "--list"), 2), (("pause", "--all", "shop"), 2),
                             (("explain", "-n", "nowhere"), 1), (("explain", "oxen/x"), 1), (("explain", "pod/none", "-n", "shop"), 1)):
            with self.subTest(argv):
                self.assertEqual(self.run(*argv).returncode, status)

    def test_explain_live(self):
        self.put("/apis/apps/v1/namespaces/plain/deployments/web", DEPLOYMENT)
        meshed = json.loads(run("inject", "-q", "-o", "json", "-", data=json.dumps(thing("Pod", "in", spec={"containers": [APP]}))).stdout)
        self.put("/api/v1/namespaces/shop/pods/in", meshed)
        old = json.loads(json.dumps(meshed))
        old["metadata"]["name"] = "old"
        old["spec"]["initContainers"][0]["image"] = "fairlead.local/proxy:older"
        self.put("/api/v1/namespaces/shop/pods/old", old)
        self.put("/api/v1/namespaces/shop/pods/out", thing("Pod", "out", spec={"containers": [APP]}))
        version = self.api.store.version
        told = {item["name"]: item for item in json.loads(self.run("explain", "-n", "shop", "-o", "json").stdout)["items"]}
        self.assertEqual({name: item["reason"] for name, item in told.items()}, dict.fromkeys(("in", "old", "out"), "namespace_enabled"))
        self.assertEqual(told["in"]["now"], "meshed, as it would be made anew")
        self.assertEqual(told["old"]["now"], "meshed, otherwise than it would be made anew (1 changes)")
        self.assertEqual(told["out"]["now"], "not meshed")
        plain = self.run("explain", "-n", "plain", "deploy/web")
        self.assertIn("skipped [no_label]", plain.stdout)
        self.assertIn("its defaults are assumed", plain.stderr)
        self.assertIn("injected", self.run("explain", "-n", "plain", "--as-if-labelled").stdout)
        self.assertEqual((self.api.store.version, self.api.store.writes), (version, []))

    def test_the_clusters_configuration(self):
        self.put("/api/v1/namespaces/fairlead-system/configmaps/fairlead-webhook",
                 thing("ConfigMap", "fairlead-webhook", data={"config.yaml": "logLevel: debug\n"}))
        self.put("/api/v1/namespaces/shop/pods/out", thing("Pod", "out", spec={"containers": [APP]}))
        told = json.loads(self.run("explain", "-n", "shop", "-o", "json", "out").stdout)
        self.assertEqual(told["configuration"], "ConfigMap fairlead-system/fairlead-webhook")
        settings = {item["setting"]: (item["value"], item["from"]) for item in told["items"][0]["settings"]}
        self.assertEqual(settings["fairlead.io/log-level"], ("debug", "mesh"))


class Page(unittest.TestCase):
    """The examples of docs/cli.md."""

    def test_examples(self):
        page = (pathlib.Path(__file__).resolve().parents[2] / "docs/cli.md").read_text()
        examples = re.findall(r"```console\n\$ (.*)\n([^`]*)```", page)
        elsewhere = ("fairlead status", "fairlead route", "fairlead authz", "fairlead mtls")  # they ask a control plane, or its folder
        examples = [example for example in examples if not example[0].startswith(elsewhere)]
        self.assertEqual(len(examples), 3)
        with tempfile.TemporaryDirectory() as folder:
            (pathlib.Path(folder) / "web.yaml").write_text(re.search(r"```yaml\n([^`]*)```", page)[1])
            path = f"{pathlib.Path(FAIRLEAD).resolve().parent}:{os.environ['PATH']}"
            for command, output in examples:
                done = subprocess.run(["sh", "-c", command], cwd=folder, env={**os.environ, "PATH": path}, stdout=subprocess.PIPE,
                                      stderr=subprocess.STDOUT, text=True, timeout=30, check=False)
                self.assertEqual(done.stdout, output, command)


class Plugin(unittest.TestCase):
    def test_as_kubectl_fairlead(self):
        with tempfile.TemporaryDirectory() as folder:
            plugin = pathlib.Path(folder) / "kubectl-fairlead"
            plugin.symlink_to(pathlib.Path(FAIRLEAD).resolve())
            done = subprocess.run([plugin, "uninject", "-q", "-"], input=json.dumps(POD), capture_output=True, text=True, timeout=30, check=False)
            self.assertEqual(done.returncode, 0, done.stderr)


if __name__ == "__main__":
    FAIRLEAD = sys.argv[1]
    unittest.main(argv=sys.argv[:1])
