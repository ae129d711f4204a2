#!/usr/bin/env python3
"""Gateway API's own conformance suite against the mesh (tests/conformance/gatewayapi): MESH-HTTP and MESH-GRPC with every test
that any feature of the mesh has; with --full the gateway profiles too, of which the reports in the tree say what passes."""
import os
import pathlib
import re
import shutil
import unittest

import yaml

from support.lane import LOGS, Lane, main
from support.place import TOP, run

NEEDS = "mesh"
MINUTES = 80
BUILD = "conformance/gatewayapi/build"  # before the cluster is up: it needs Go's modules

SUITE = TOP / "tests" / "conformance" / "gatewayapi"
TESTS_OF_THE_MESH = 22  # README.md there: what counts in a profile, and what does not
CORE = {"MESH-HTTP": (7, 7), "MESH-GRPC": (2, 0)}


class Conformance(Lane):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        run(SUITE / "load")

    def suite(self, *arguments):
        """What passed, what failed, and the report as profile → (core, extended) that passed. The log and the report are kept."""
        said = run(SUITE / "run", *arguments, check=False)
        folder = pathlib.Path(re.search(r"log and report in (\S+)", said)[1])
        shutil.copytree(folder, LOGS / folder.name, dirs_exist_ok=True)
        told = {word: set(re.findall(rf"^{word} (\S+)$", said, re.MULTILINE)) for word in ("PASS", "FAIL")}
        report = folder / "report.yaml"
        profiles = yaml.safe_load(report.read_text()).get("profiles", []) if report.exists() else []
        passed = {one["name"]: tuple(one.get(level, {}).get("statistics", {}).get("Passed", 0) for level in ("core", "extended"))
                  for one in profiles}
        return told["PASS"], told["FAIL"], passed, said

    def test_mesh(self):
        passed, failed, profiles, said = self.suite("mesh")
        self.assertEqual(failed, set(), said)
        self.assertEqual(len(passed), TESTS_OF_THE_MESH, said)
        self.assertEqual(profiles, CORE)

    @unittest.skipUnless(os.environ.get("CLUSTER_FULL") == "yes", "with --full")
    def test_gateway(self):
        """With the features that the GatewayClass names: all that is claimed passes."""
        _, failed, profiles, said = self.suite("gateway")
        print(f"gateway profiles: {profiles}", flush=True)
        self.assertEqual(failed, set(), said)


if __name__ == "__main__":
    main()
