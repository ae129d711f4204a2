#!/usr/bin/env python3
"""The kinds of the chart fairlead-crds beside the reader of fairlead-control: at every place of every kind both know the same members.

usage: schema_test.py [unittest options]; FAIRLEAD_CONTROL names the program
The reader says of an unknown member which it knows ("known are …"): each object of each schema is asked for one. What values are
good the two are asked in the lane `kinds`, where the API server is.
"""
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import unittest
import urllib.request

import yaml
from render_test import ROOT, SKIPPED, find_helm, helm

CHART = ROOT / "charts" / "fairlead-crds"
NOBODY = "x-nobody"  # a member that no object has
JWKS = ('{"keys":[{"kty":"EC","crv":"P-256","x":"nX-Zqn1rjQWxUlXLJOLT1hpP44HqhMFwoA3M47F6auk",'
        '"y":"cek--1Be97cLPKXYCnd0vgilvrfD_FbTt_g3KvlADlY"}]}')
REQUIRED = {"issuer": "https://issuer.example", "jwks": JWKS, "targetRefs": [{"kind": "Service", "name": "a"}], "attempts": 1}


def kinds(values=None):
    """{kind: CustomResourceDefinition}"""
    done = helm("template", "fairlead-crds", CHART, values=values)
    assert done.returncode == 0, done.stderr
    return {thing["spec"]["names"]["kind"]: thing for thing in yaml.safe_load_all(done.stdout) if thing}


def schema_of(thing):
    return thing["spec"]["versions"][0]["schema"]["openAPIV3Schema"]


def objects(schema, path=()):
    """(path, schema) of every object with members of its own, outermost first; a list's item is 0, a map's member "80"."""
    if "properties" in schema:
        yield path, schema
        for name, below in schema["properties"].items():
            yield from objects(below, (*path, name))
    elif "additionalProperties" in schema:
        yield from objects(schema["additionalProperties"], (*path, "80"))
    elif "items" in schema:
        yield from objects(schema["items"], (*path, 0))


def with_member(schema, path, member):
    """A value in which `path` leads to an object with that one member; what is required on the way is there."""
    if not path:
        return {member: 1}
    if path[0] == 0:
        return [with_member(schema["items"], path[1:], member)]
    below = schema["properties"][path[0]] if path[0] in schema.get("properties", {}) else schema["additionalProperties"]
    required = {name: REQUIRED[name] for name in schema.get("required", ()) if name in REQUIRED and name != path[0]}
    return {**required, path[0]: with_member(below, path[1:], member)}


def walk(schema):
    yield schema
    for below in (*schema.get("properties", {}).values(), *(schema[key] for key in ("items", "additionalProperties") if key in schema)):
        yield from walk(below)


class Reader:
    """fairlead-control over a folder of documents, and what it says of each."""

    def __init__(self, documents):
        self.folder = tempfile.TemporaryDirectory()
        source = pathlib.Path(self.folder.name) / "source"
        source.mkdir()
        for number, document in enumerate(documents):
            (source / f"{number}.json").write_text(json.dumps(document))
        self.process = subprocess.Popen(
            [os.environ["FAIRLEAD_CONTROL"], "--source", f"directory:{source}", "--listen", "none", "--listen-plaintext", "127.0.0.1:0",
             "--http", "127.0.0.1:0"], stderr=subprocess.PIPE, text=True)

    def __enter__(self):
        port = None
        for line in self.process.stderr:
            event = json.loads(line)
            if event.get("msg", event.get("message")) == "ready":
                port = event["http_port"]
                break
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/status") as answer:
            return json.load(answer)

    def __exit__(self, *_):
        self.process.terminate()
        self.process.communicate()
        self.folder.cleanup()


class Schema(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.kinds = kinds()

    def test_lint(self):
        for values in ({}, {"keep": False}, {"commonLabels": {"team": "mesh"}}):
            done = helm("lint", "--strict", CHART, values=values)
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertNotEqual(helm("template", "x", CHART, values={"kept": True}).returncode, 0)

    def test_every_kind_of_the_reader(self):
        text = (ROOT / "control" / "model" / "object.h").read_text()
        read = dict(re.findall(r'"(\w+)", "fairlead\.io", "(\w+)"', text))
        self.assertEqual({kind: thing["spec"]["versions"][0]["name"] for kind, thing in self.kinds.items()}, read)
        for kind, thing in self.kinds.items():
            self.assertEqual(thing["metadata"]["name"], f"{thing['spec']['names']['plural']}.fairlead.io")
            self.assertEqual((thing["spec"]["scope"], thing["spec"]["names"]["categories"]), ("Namespaced", ["fairlead"]))
            version = thing["spec"]["versions"][0]
            self.assertEqual(version["subresources"], {"status": {}})
            self.assertLessEqual({"Accepted", "Age"}, {column["name"] for column in version["additionalPrinterColumns"]}, kind)

    def test_they_outlive_the_release(self):
        def policies(things):
            return {thing["metadata"].get("annotations", {}).get("helm.sh/resource-policy") for thing in things.values()}
        self.assertEqual(policies(self.kinds), {"keep"})
        self.assertEqual(policies(kinds({"keep": False})), {None})

    def test_the_same_members(self):
        specs = {kind: schema_of(thing)["properties"]["spec"] for kind, thing in self.kinds.items()}
        asked = [(kind, path, sorted(schema["properties"])) for kind, spec in specs.items() for path, schema in objects(spec)]
        self.assertGreater(len(asked), 30)
        documents = [{"apiVersion": "fairlead.io/v1alpha1", "kind": kind, "metadata": {"name": f"n{number}", "namespace": "fairlead-system"},
                      "spec": with_member(specs[kind], path, NOBODY)} for number, (kind, path, _) in enumerate(asked)]
        with Reader(documents) as status:
            said = {}
            for thing in (*status["objects"], *status["problems"]):
                text = json.dumps(thing)
                name = thing.get("metadata", {}).get("name")
                found = re.search(rf"\$\.spec([^:]*)\.{NOBODY}: unknown member; known are ([^\";]+)", text)
                if found:
                    said[name] = found[1], sorted(re.split(", | and ", found[2].strip()))
        for number, (kind, path, members) in enumerate(asked):
            with self.subTest(kind, path=path):
                where = "".join(f"[{step}]" if step == 0 else f".{step}" for step in path)
                self.assertEqual(said.get(f"n{number}"), (where, members))

    def test_everything_has_a_bound(self):
        """So that what CEL may cost can be told, and one object stays small."""
        for kind, thing in self.kinds.items():
            for schema in walk(schema_of(thing)["properties"]["spec"]):
                with self.subTest(kind, schema=json.dumps(schema)[:80]):
                    if schema.get("type") == "array":
                        self.assertIn("maxItems", schema)
                    if schema.get("type") == "string" and "enum" not in schema:
                        self.assertIn("maxLength", schema)
                    if "additionalProperties" in schema:
                        self.assertIn("maxProperties", schema)
                    if schema.get("type") in ("integer", "number"):
                        self.assertLessEqual({"minimum", "maximum"}, set(schema))

    def test_every_rule_says_why(self):
        rules = [rule for thing in self.kinds.values() for schema in walk(schema_of(thing)) for rule in schema.get("x-kubernetes-validations", ())]
        self.assertGreater(len(rules), 10)
        for rule in rules:
            self.assertTrue(rule.get("message"), rule)


if __name__ == "__main__":
    if find_helm() is None:
        print("skipped: helm is not here (neither $HELM, nor the test cluster's, nor in PATH)")
        sys.exit(SKIPPED)
    unittest.main()
