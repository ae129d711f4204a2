#!/usr/bin/env python3
"""The chart of a Gateway as Helm renders it, without a cluster."""
import re
import sys
import unittest

import yaml
from render_test import ROOT, SKIPPED, find_helm, helm

CHART = ROOT / "charts" / "gateway"


def render(values=None, release="edge"):
    done = helm("template", release, CHART, "--namespace", "shop", values=values)
    assert done.returncode == 0, done.stderr
    return {thing["kind"]: thing for thing in yaml.safe_load_all(done.stdout) if thing}


class Gateway(unittest.TestCase):
    def test_lint(self):
        for values in ({}, {"autoscaling": {"enabled": True}}, {"parameters": {"replicas": 3}}):
            with self.subTest(values):
                done = helm("lint", "--strict", CHART, values=values)
                self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def test_plain(self):
        things = render()
        self.assertEqual(set(things), {"Gateway"})
        self.assertEqual(things["Gateway"]["metadata"]["name"], "edge")
        spec = things["Gateway"]["spec"]
        self.assertEqual((spec["gatewayClassName"], [row["port"] for row in spec["listeners"]]), ("fairlead", [80]))
        self.assertNotIn("infrastructure", spec)

    def test_parameters(self):
        things = render({"parameters": {"replicas": 3, "serviceType": "ClusterIP"}, "infrastructure": {"labels": {"team": "a"}}})
        reference = things["Gateway"]["spec"]["infrastructure"]
        self.assertEqual(reference, {"labels": {"team": "a"},
                                     "parametersRef": {"group": "", "kind": "ConfigMap", "name": "edge-parameters"}})
        self.assertEqual(things["ConfigMap"]["metadata"]["name"], "edge-parameters")
        self.assertEqual(things["ConfigMap"]["data"], {"replicas": "3", "serviceType": "ClusterIP"})

    def test_parameters_are_the_deployers(self):
        """Those of the schema, and no other."""
        source = (ROOT / "control" / "gateway" / "override.c").read_text()
        known = set(re.findall(r'^    \{"(\w+)", \w+, offsetof', source, re.MULTILINE)) | {"replicas", "drainSeconds"}
        schema = yaml.safe_load((CHART / "values.schema.json").read_text())["properties"]["parameters"]["properties"]
        self.assertEqual(set(schema), known)

    def test_autoscaling(self):
        things = render({"autoscaling": {"enabled": True}})
        self.assertEqual(things["HorizontalPodAutoscaler"]["spec"]["scaleTargetRef"]["name"], "edge-fairlead")
        self.assertEqual(things["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"],
                         {"gateway.networking.k8s.io/gateway-name": "edge"})

    def test_wrong_values_are_refused(self):
        for wrong in ({"name": "Edge"}, {"name": "e" * 55}, {"name": "1edge"}, {"listeners": []}, {"listeners": [{"name": "a", "port": 0, "protocol": "HTTP"}]},
                      {"listeners": [{"name": "a", "port": 53, "protocol": "UDP"}]}, {"parameters": {"image": "x"}}, {"parameters": {"cpuLimit": "much"}},
                      {"addresses": [{"value": "a"}, {"value": "b"}]}, {"autoscaling": {"enabled": True}, "parameters": {"replicas": 2}}, {"image": {}}):
            with self.subTest(wrong):
                self.assertNotEqual(helm("template", "edge", CHART, values=wrong).returncode, 0)
        self.assertNotEqual(helm("template", "e" * 53, CHART, values={"name": "x" * 60}).returncode, 0)


if __name__ == "__main__":
    if find_helm() is None:
        print("skipped: helm is not here (neither $HELM, nor the test cluster's, nor in PATH)")
        sys.exit(SKIPPED)
    unittest.main()
