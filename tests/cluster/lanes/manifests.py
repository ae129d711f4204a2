#!/usr/bin/env python3
"""What the charts render, judged by kubeconform with the schemas of this very cluster: strict, offline, in all modes that tests/charts
looks at. (The API server's own word on the same objects: lane `install`.)"""
import json
import subprocess
import sys

import yaml

from support import chart, place, schemas
from support.lane import Lane, main

sys.path.append(str(place.TOP / "tests" / "charts"))
from render_test import MODES  # noqa: E402 (its folder is in no path)

NEEDS = "api"
BUILD = "cluster/build-kubeconform"  # before the cluster is up: it needs Go's modules

MORE = {
    "the agent": {"cni": {"enabled": True}},
    "the agent and all": {"cni": {"enabled": True}, "podMonitor": {"enabled": True}, "networkPolicy": {"enabled": True}},
    **{f"the agent on {name}": {"cni": {"enabled": True, "platform": name}} for name in ("gke", "openshift")},
    "certificates for some": {"control": {"certificates": {"namespaces": ["edge", "shop"]}}},
    "other ports": {"control": {"port": 443, "httpPort": 10250}},
    "a webhook by URL": {"webhook": {"url": "https://webhook.example/inject"}},
}
GATEWAY = {
    "as it comes": {},
    "with parameters": {"parameters": {"replicas": 3, "serviceType": "ClusterIP"}, "infrastructure": {"labels": {"team": "a"}}},
    "growing": {"autoscaling": {"enabled": True}},
}
# Kinds of others whose CRDs this tree does not have.
FOREIGN = {("monitoring.coreos.com/v1", "PodMonitor"), ("cert-manager.io/v1", "Certificate"), ("cert-manager.io/v1", "Issuer"),
           ("security.openshift.io/v1", "SecurityContextConstraints")}


class Manifests(Lane):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.schemas = schemas.Schemas(cls.folder(), cls.api.request("GET", "/openapi/v2"))
        crds = [yaml.safe_load(path.read_text()) for path in (place.BIN / "gateway-api" / "standard").glob("*.yaml")]
        for crd in crds + chart.render(chart="fairlead-crds"):
            if crd["kind"] == "CustomResourceDefinition":
                cls.schemas.add_crd(crd)

    @classmethod
    def judge(cls, text):
        """kubeconform's word of each object: [(kind/name, status, what it says)]."""
        done = subprocess.run([place.BIN / "kubeconform", "-strict", "-verbose", "-output", "json", "-schema-location",
                               f"{cls.schemas.folder}/{schemas.TEMPLATE}", "-skip", ",".join(f"{version}/{kind}" for version, kind in FOREIGN), "-"],
                              input=text, capture_output=True, text=True, timeout=120, check=False)
        assert done.stdout, done.stderr
        return [(f"{one['kind']}/{one['name']}", one["status"], one["msg"]) for one in json.loads(done.stdout)["resources"]]

    def assert_valid(self, text):
        things = [thing for thing in yaml.safe_load_all(text) if thing]
        wanted = [(f"{thing['kind']}/{thing['metadata']['name']}", "statusSkipped" if (thing["apiVersion"], thing["kind"]) in FOREIGN else "statusValid", "")
                  for thing in things]
        self.assertEqual(sorted(self.judge(text)), sorted(wanted))

    def test_charts(self):
        for name, modes in (("fairlead", {**MODES, **MORE}), ("fairlead-crds", {"as it comes": {}}), ("gateway", GATEWAY)):
            for mode, values in modes.items():
                with self.subTest(chart=name, mode=mode):
                    self.assert_valid(chart.helm("template", "fairlead", place.CHARTS / name, "--namespace", "fairlead-system", *chart.settings(values)))

    def test_mistakes_are_found(self):
        """One for each way in which it could look away."""
        text = chart.helm("template", "fairlead", place.CHARTS / "fairlead", "--namespace", "fairlead-system")
        deployment = next(thing for thing in yaml.safe_load_all(text) if thing and thing["kind"] == "Deployment")
        policy = {"apiVersion": "fairlead.io/v1alpha1", "kind": "AuthorizationPolicy", "metadata": {"name": "x"}, "spec": {"action": "ALLOW"}}
        self.assert_valid(yaml.safe_dump(deployment))
        self.assert_valid(yaml.safe_dump(policy))
        for what, change, says in (
                ("a member misspelt", lambda thing: thing["spec"].update(replica=2), "replica"),
                ("deep within", lambda thing: thing["spec"]["template"]["spec"]["containers"][0].update(ports=[{"containerport": 1}]), "containerport"),
                ("another type", lambda thing: thing["spec"].update(replicas="2"), "replicas"),
                ("what is required", lambda thing: thing["spec"].pop("selector"), "selector"),
                ("in the metadata", lambda thing: thing["metadata"].update(label={}), "label")):
            with self.subTest(what):
                wrong = json.loads(json.dumps(deployment))
                change(wrong)
                [(_, status, said)] = self.judge(yaml.safe_dump(wrong))
                self.assertEqual(status, "statusInvalid")
                self.assertIn(says, said)
        for what, wrong in (("a kind that nobody knows", {**policy, "kind": "Policy"}), ("a version that is not served", {**policy, "apiVersion": "fairlead.io/v9"}),
                            ("a member of ours misspelt", {**policy, "spec": {"actoin": "ALLOW"}}), ("a word that is none", {**policy, "spec": {"action": "allow"}})):
            with self.subTest(what):
                [(_, status, _)] = self.judge(yaml.safe_dump(wrong))
                self.assertIn(status, ("statusInvalid", "statusError"))
        with self.subTest("a key twice"):
            self.assertNotIn("statusValid", [status for _, status, _ in self.judge(yaml.safe_dump(policy) + "spec: {}\n")])


if __name__ == "__main__":
    main()
