#!/usr/bin/env python3
"""The chart as Helm renders it, without a cluster: every object of every mode, what must hold for all of them, and the schema.

usage: render_test.py [unittest options]; FL_CHARTS_UPDATE=1 writes what the schema has from webhook/config.schema.json anew
Helm is $HELM, or the test cluster's, or PATH's; without one the test is skipped.
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

import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
CHART = ROOT / "charts" / "fairlead"
SCHEMA = CHART / "values.schema.json"
SYSTEM = "fairlead-system"
SKIPPED = 77
DESCRIPTION = "The webhook's configuration file, as webhook/config.schema.json has it (a test compares them)."


def find_helm():
    folder = os.environ.get("CLUSTER_BIN") or os.environ.get("CLUSTER_DIR", "/var/tmp/fairlead-cluster") + "/bin"
    built = pathlib.Path(folder) / "helm"
    return os.environ.get("HELM") or (str(built) if built.exists() else shutil.which("helm"))


def helm(command, *arguments, values=None):
    with tempfile.TemporaryDirectory() as home:
        file = pathlib.Path(home) / "values.yaml"
        file.write_text(yaml.safe_dump(values or {}))
        environment = {**os.environ, **{f"HELM_{kind}_HOME": home for kind in ("CACHE", "CONFIG", "DATA")}}
        return subprocess.run([find_helm(), command, *arguments, "--values", file], env=environment, text=True, check=False,
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def render(values=None, namespace=SYSTEM, arguments=()):
    """{(kind, name): object}"""
    done = helm("template", "fairlead", CHART, "--namespace", namespace, *arguments, values=values)
    assert done.returncode == 0, done.stderr
    things = [thing for thing in yaml.safe_load_all(done.stdout) if thing]
    named = {(thing["kind"], thing["metadata"]["name"]): thing for thing in things}
    places = {(thing["kind"], thing["metadata"]["name"], thing["metadata"].get("namespace")) for thing in things}
    assert len(places) == len(things), "two objects of one kind and name"
    return named


def pod_of(thing):
    """The spec of a Pod, or of a template's."""
    return thing["spec"] if thing["kind"] == "Pod" else thing["spec"]["template"]["spec"]


def walk(thing):
    yield thing
    children = thing.values() if isinstance(thing, dict) else thing if isinstance(thing, list) else ()
    for child in children:
        yield from walk(child)


def bare(schema):
    """What a schema refuses, without its words and defaults."""
    if isinstance(schema, list):
        return [bare(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    named = {key: {name: bare(each) for name, each in value.items()} for key, value in schema.items() if key == "properties"}
    return {**{key: bare(value) for key, value in schema.items() if key not in ("description", "default", "properties")}, **named}


def webhook_config(things, name="fairlead-webhook"):
    return yaml.safe_load(things["ConfigMap", name]["data"]["config.yaml"])


MODES = {
    "as it comes": {},
    "cert-manager": {"certificate": {"mode": "certManager"}},
    "an own Secret": {"certificate": {"mode": "secret", "secretName": "mine"}, "webhook": {"caBundle": "LS0t"}},
    "another revision": {"revision": "canary"},
    "everything on": {"networkPolicy": {"enabled": True}, "podMonitor": {"enabled": True}, "registry": "mirror.example:5000",
                      "keeper": {"replicas": 2}, "webhook": {"hostNetwork": True, "port": 10250}, "commonLabels": {"team": "mesh"},
                      "imagePullSecrets": [{"name": "pull"}]},
    "without policies": {"policies": {"enabled": False}},
    "without a control plane": {"control": {"mode": "none"}},
    "pods do not decide": {"config": {"podOverrides": False, "levels": {"proxyImage": "pod", "privilegedApps": "pod"}}},
}


class Rendered(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.modes = {name: render(values) for name, values in MODES.items()}
        cls.plain = cls.modes["as it comes"]

    def in_every_mode(self):
        """The objects of each; a failure tells of which."""
        for mode, things in self.modes.items():
            self.mode = mode
            yield things
        self.mode = None

    def _formatMessage(self, msg, standardMsg):  # noqa: N802 (unittest's name)
        return super()._formatMessage(msg, standardMsg) + (f" ({self.mode})" if getattr(self, "mode", None) else "")

    def test_lint(self):
        for mode, values in MODES.items():
            with self.subTest(mode):
                done = helm("lint", "--strict", CHART, values=values)
                self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
                self.assertNotRegex(done.stdout, r"\[(WARNING|ERROR)\]")

    def test_what_is_there(self):
        def kinds(mode):
            return sorted(f"{kind}/{name}" for kind, name in self.modes[mode])
        policies = ("binding", "capture", "control.writes", "deployer.writes", "immutable", "keeper.admission", "keeper.secrets", "namespaces", "sidecar", "users")
        keeper = {f"{kind}/fairlead-keeper" for kind in (
            "ClusterRole", "ClusterRoleBinding", "Deployment", "Role", "RoleBinding", "ServiceAccount")}
        served = {f"{kind}/fairlead-revision-default" for kind in ("ClusterRole", "ClusterRoleBinding")}
        webhook = served | {f"{kind}/fairlead-webhook" for kind in (
            "ClusterRole", "ClusterRoleBinding", "ConfigMap", "Deployment", "MutatingWebhookConfiguration", "PodDisruptionBudget",
            "Service", "ServiceAccount")}
        bound = {f"ValidatingAdmissionPolicy{kind}/fairlead-{name}" for kind in ("", "Binding") for name in policies}
        operators = {"ClusterRole/fairlead-namespaces"}
        accounts = ("ClusterRole", "ClusterRoleBinding", "Deployment", "Role", "RoleBinding", "ServiceAccount")
        control = {f"{kind}/fairlead-{part}" for kind in accounts for part in ("control", "deployer")} | {
            f"{kind}/fairlead-control" for kind in ("PodDisruptionBudget", "Service")}
        hooks = {f"{kind}/fairlead-{name}" for kind in ("ClusterRole", "ClusterRoleBinding", "ServiceAccount") for name in ("test", "uninstall")}
        webhook |= hooks | {"Job/fairlead-uninstall", "Pod/fairlead-test"}
        self.assertEqual(set(kinds("as it comes")), keeper | webhook | control | bound | operators)
        of_control = {f"ValidatingAdmissionPolicy{kind}/fairlead-{part}.writes" for kind in ("", "Binding") for part in ("control", "deployer")}
        self.assertEqual(set(kinds("without a control plane")), keeper | webhook | operators | bound - of_control)
        self.assertEqual(set(kinds("without policies")), keeper | webhook | control)
        webhook |= control
        of_keeper = {f"ValidatingAdmissionPolicy{kind}/fairlead-keeper.{what}" for kind in ("", "Binding") for what in ("admission", "secrets")}
        self.assertEqual(set(kinds("an own Secret")), webhook | operators | bound - of_keeper)
        self.assertEqual(set(kinds("cert-manager")), webhook | operators | bound - of_keeper | {"Issuer/fairlead-webhook", "Certificate/fairlead-webhook"})
        self.assertLessEqual({"NetworkPolicy/fairlead-webhook", "NetworkPolicy/fairlead-keeper", "PodMonitor/fairlead-webhook"},
                             set(kinds("everything on")))

    def test_a_revision_that_looks_like_a_number(self):
        for revision in ("7", "true"):
            for thing in render({"revision": revision}).values():
                labels = [each["labels"] for each in walk(thing) if isinstance(each, dict) and isinstance(each.get("labels"), dict)]
                self.assertEqual({type(value) for each in labels for value in each.values()} - {str}, set(), thing["metadata"]["name"])
                names = [name for each in walk(thing) if isinstance(each, dict) for name in each.get("resourceNames", ())]
                self.assertTrue(all(isinstance(name, str) for name in names), thing["metadata"]["name"])

    def test_revisions_share_no_name(self):
        self.assertEqual(set(self.plain) & set(self.modes["another revision"]), set())

    def test_the_same_each_time(self):
        """Nothing random, nothing looked up: what is rendered twice is equal."""
        self.assertEqual(self.plain, render())

    def test_another_namespace(self):
        things = render(namespace="mesh")
        for (kind, _), thing in things.items():
            self.assertIn(thing["metadata"].get("namespace"), (None, "mesh"), kind)
        self.assertNotIn("fairlead-system", json.dumps(list(things.values())))
        self.assertEqual(webhook_config(things)["ownNamespace"], "mesh")

    def test_labels(self):
        for things in self.in_every_mode():
            for (kind, name), thing in things.items():
                labels = thing["metadata"]["labels"]
                self.assertLessEqual({"app.kubernetes.io/name", "app.kubernetes.io/instance", "app.kubernetes.io/component",
                                      "app.kubernetes.io/managed-by", "helm.sh/chart"}, set(labels), (kind, name))

    # -- pods ---------------------------------------------------------------------------------------------------------

    def test_pods_pass_restricted(self):
        for things in self.in_every_mode():
            pods = [pod_of(thing) for (kind, _), thing in things.items() if kind in ("Deployment", "Job", "Pod")]
            self.assertGreater(len(pods), 3)
            for pod in pods:
                self.assertIs(pod["securityContext"]["runAsNonRoot"], True)
                self.assertEqual(pod["securityContext"]["seccompProfile"], {"type": "RuntimeDefault"})
                for container in pod["containers"]:
                    security = container["securityContext"]
                    self.assertEqual(security["capabilities"], {"drop": ["ALL"]})
                    self.assertIs(security["allowPrivilegeEscalation"], False)
                    self.assertIs(security["readOnlyRootFilesystem"], True)
                    for kind in ("requests", "limits"):
                        self.assertIn("memory", container["resources"][kind])
                for volume in pod.get("volumes", ()):
                    self.assertTrue({"secret", "configMap", "emptyDir"} & set(volume), volume)

    def test_tokens_are_mounted_where_they_are_used(self):
        for things in self.in_every_mode():
            for (kind, _), thing in things.items():
                if kind == "ServiceAccount":
                    self.assertIs(thing["automountServiceAccountToken"], False)
                if kind == "Deployment":
                    self.assertIs(pod_of(thing)["automountServiceAccountToken"], True)

    def test_the_webhook_is_reached(self):
        for things in self.in_every_mode():
            suffix = next(name for kind, name in things if kind == "MutatingWebhookConfiguration").removeprefix("fairlead-webhook")
            name = f"fairlead-webhook{suffix}"
            deployment, service = things["Deployment", name], things["Service", name]
            template = deployment["spec"]["template"]
            self.assertEqual(deployment["spec"]["replicas"], 2)
            self.assertLessEqual(service["spec"]["selector"].items(), template["metadata"]["labels"].items())
            container = template["spec"]["containers"][0]
            ports = {port["name"]: port["containerPort"] for port in container["ports"]}
            self.assertEqual(service["spec"]["ports"][0]["targetPort"], "https")
            self.assertIn(f"--listen=0.0.0.0:{ports['https']}", container["args"])
            for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
                self.assertEqual((container[probe]["httpGet"]["port"], container[probe]["httpGet"]["scheme"]), ("https", "HTTPS"))
            drain = next(int(word.split("=")[1]) for word in container["args"] if word.startswith("--drain-delay="))
            self.assertGreaterEqual(template["spec"]["terminationGracePeriodSeconds"], drain + 20)  # what the webhook may take
            budget = things["PodDisruptionBudget", name]["spec"]
            self.assertEqual(budget["maxUnavailable"], 1)
            self.assertLessEqual(budget["selector"]["matchLabels"].items(), template["metadata"]["labels"].items())
            self.assertEqual(template["spec"]["priorityClassName"], "system-cluster-critical")
            self.assertEqual(template["spec"]["topologySpreadConstraints"][0]["topologyKey"], "kubernetes.io/hostname")

    def test_who_may_ask(self):
        """Options of the webhook, and the ConfigMap that they name; nothing of it unless it is asked for."""
        def look(things):
            spec = things["Deployment", "fairlead-webhook"]["spec"]["template"]["spec"]
            words = [word for word in spec["containers"][0]["args"] if word.startswith(("--client", "--token"))]
            return words, [volume["configMap"]["name"] for volume in spec["volumes"] if volume["name"] == "caller"]
        self.assertEqual(look(self.plain), ([], []))
        words, maps = look(render({"webhook": {"caller": {"configMap": "who", "certificateNames": ["a", "b"], "token": "require",
                                                          "issuer": "https://i"}}}))
        self.assertEqual(words, ["--client-ca=/etc/fairlead/caller/client-ca.crt", "--client-name=a", "--client-name=b",
                                 "--token=require", "--token-keys=/etc/fairlead/caller/jwks.json", "--token-issuer=https://i",
                                 "--token-audience=https://fairlead-webhook.fairlead-system.svc:443/inject"])
        self.assertEqual(maps, ["who"])

    def test_images(self):
        def images(mode):
            return sorted(container["image"] for (kind, _), thing in self.modes[mode].items() if kind == "Deployment"
                          for container in thing["spec"]["template"]["spec"]["containers"])
        version = yaml.safe_load((CHART / "Chart.yaml").read_text())["appVersion"]
        self.assertEqual(images("as it comes"), [f"fairlead/fairlead-{name}:{version}" for name in ("control", "control", "keeper", "webhook")])
        self.assertTrue(all(image.startswith("mirror.example:5000/fairlead/") for image in images("everything on")))
        pinned = render({"webhook": {"image": {"digest": "sha256:" + "0" * 64}}})["Deployment", "fairlead-webhook"]
        self.assertEqual(pinned["spec"]["template"]["spec"]["containers"][0]["image"], "fairlead/fairlead-webhook@sha256:" + "0" * 64)

    # -- rights -------------------------------------------------------------------------------------------------------

    def test_rights(self):
        webhook = self.plain["ClusterRole", "fairlead-webhook"]["rules"]
        self.assertEqual(webhook, [{"apiGroups": [""], "resources": ["namespaces"], "verbs": ["get", "list", "watch"]}])
        keeper = self.plain["ClusterRole", "fairlead-keeper"]["rules"]
        self.assertEqual(keeper, [{"apiGroups": ["admissionregistration.k8s.io"], "resources": ["mutatingwebhookconfigurations"],
                                   "resourceNames": ["fairlead-webhook"], "verbs": ["get", "list", "watch", "patch"]}])
        for things in self.in_every_mode():
            for (kind, name), thing in things.items():
                for rule in thing.get("rules", ()) if kind in ("Role", "ClusterRole") else ():
                    self.assertFalse({"*"} & {*rule["verbs"], *rule["resources"], *rule["apiGroups"]}, name)
                    if "secrets" in rule["resources"] and rule["verbs"] not in (["create"], ["get"]):
                        self.assertTrue(rule.get("resourceNames"), name)

    # -- the webhook configuration ------------------------------------------------------------------------------------

    def test_entries(self):
        for things in self.in_every_mode():
            configuration = next(thing for (kind, _), thing in things.items() if kind == "MutatingWebhookConfiguration")
            names = [entry["name"] for entry in configuration["webhooks"]]
            self.assertEqual(len(names), len(set(names)))
            for entry in configuration["webhooks"]:
                self.assertRegex(entry["name"], r"^(namespace|pod|require)\.((pod-)?rev\.)?inject\.fairlead\.io$")
                self.assertEqual((entry["failurePolicy"], entry["timeoutSeconds"], entry["sideEffects"], entry["matchPolicy"],
                                  entry["reinvocationPolicy"], entry["admissionReviewVersions"]),
                                 ("Fail", 5, "None", "Equivalent", "IfNeeded", ["v1"]))
                self.assertEqual(entry["rules"], [{"operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["v1"],
                                                   "resources": ["pods"], "scope": "Namespaced"}])
                first, second = entry["namespaceSelector"]["matchExpressions"][:2]
                self.assertEqual((first["key"], first["operator"]), ("kubernetes.io/metadata.name", "NotIn"))
                self.assertLessEqual({"kube-system", "kube-public", "kube-node-lease", SYSTEM}, set(first["values"]))
                self.assertEqual(second, {"key": "fairlead.io/pause", "operator": "NotIn", "values": ["true"]})
                self.assertEqual("hostNetwork" in json.dumps(entry["matchConditions"]), not entry["name"].startswith("require"))
                self.assertLessEqual(len(entry["matchConditions"]), 64)
                self.assertEqual(entry["clientConfig"].get("caBundle"), "LS0t" if things is self.modes["an own Secret"] else None)
                self.assertEqual(entry["clientConfig"]["service"]["path"], "/inject")
        self.assertEqual(len(self.plain["MutatingWebhookConfiguration", "fairlead-webhook"]["webhooks"]), 9)

    def test_who_writes_the_bundle(self):
        for mode, things in self.modes.items():
            meta = next(thing for (kind, _), thing in things.items() if kind == "MutatingWebhookConfiguration")["metadata"]
            expected = {"cert-manager.io/inject-ca-from": f"{SYSTEM}/fairlead-webhook"} if mode == "cert-manager" else {}
            self.assertEqual(meta.get("annotations", {}), expected, mode)
        with_url = render({"webhook": {"url": "https://webhook.example/inject"}})["MutatingWebhookConfiguration", "fairlead-webhook"]
        self.assertEqual(with_url["webhooks"][0]["clientConfig"], {"url": "https://webhook.example/inject"})

    def test_policies(self):
        for things in self.in_every_mode():
            for (kind, name), thing in things.items():
                if kind != "ValidatingAdmissionPolicy":
                    continue
                self.assertEqual(thing["spec"]["failurePolicy"], "Fail")
                binding = things["ValidatingAdmissionPolicyBinding", name]["spec"]
                self.assertEqual(binding, {"policyName": name, "validationActions": ["Deny"]})
                for validation in thing["spec"]["validations"]:
                    self.assertTrue(validation.get("message") or validation.get("messageExpression"), name)
        softer = render({"policies": {"actions": ["Warn", "Audit"], "namespaces": False}})
        self.assertNotIn(("ValidatingAdmissionPolicy", "fairlead-namespaces"), softer)
        self.assertEqual(softer["ValidatingAdmissionPolicyBinding", "fairlead-sidecar"]["spec"]["validationActions"], ["Warn", "Audit"])

    def test_values_reach_the_policies(self):
        text = json.dumps([thing for (kind, _), thing in render({"config": {"uid": 4000000001, "gid": 2103}}).items()
                           if kind == "ValidatingAdmissionPolicy"])
        self.assertIn("4000000001", text)
        self.assertNotIn("1337", text)
        self.assertNotIn("e+09", text)

    # -- the webhook's file, and what stands in two places ------------------------------------------------------------

    def test_the_webhooks_file(self):
        things = render({"config": {"uid": 4000000001, "outboundExcludePorts": "25", "levels": {"logLevel": "mesh"}}, "revision": "canary"})
        text = things["ConfigMap", "fairlead-webhook-canary"]["data"]["config.yaml"]
        config = yaml.safe_load(text)
        self.assertEqual((config["uid"], config["outboundExcludePorts"], config["levels"], config["revision"], config["ownNamespace"]),
                         (4000000001, "25", {"logLevel": "mesh"}, "canary", SYSTEM))
        self.assertNotIn("e+", text)
        members = set(json.loads((ROOT / "webhook" / "config.schema.json").read_text())["properties"])
        for things in self.in_every_mode():
            name = next(name for kind, name in things if kind == "ConfigMap")
            self.assertLessEqual(set(webhook_config(things, name)), members)

    def test_the_schema_is_the_webhooks(self):
        whole = json.loads(SCHEMA.read_text())
        config = json.loads((ROOT / "webhook" / "config.schema.json").read_text())
        wanted = {**bare(config), "description": DESCRIPTION, "required": ["proxyImage", "uid", "gid"]}
        for key in ("$schema", "title"):
            wanted.pop(key, None)
        for key in ("revision", "ownNamespace"):  # the chart's own to set
            wanted["properties"].pop(key)
        if os.environ.get("FL_CHARTS_UPDATE"):
            whole["properties"]["config"] = wanted
            SCHEMA.write_text(json.dumps(whole, indent=2) + "\n")
        self.assertEqual(whole["properties"]["config"], wanted, "FL_CHARTS_UPDATE=1 writes it anew")

    def test_every_value_is_in_the_schema(self):
        def compare(values, schema, path):
            for key, value in values.items():
                self.assertIn(key, schema["properties"], path)
                below = schema["properties"][key]
                if isinstance(value, dict) and below.get("properties"):
                    self.assertIs(below["additionalProperties"], False, f"{path}.{key}")
                    compare(value, below, f"{path}.{key}")
        compare(yaml.safe_load((CHART / "values.yaml").read_text()), json.loads(SCHEMA.read_text()), "")

    def test_wrong_values_are_refused(self):
        for wrong in ({"webhok": {}}, {"webhook": {"replica": 3}}, {"webhook": {"failurePolicy": "Open"}}, {"config": {"uid": 0}},
                      {"config": {"proxyImages": "x"}}, {"config": {"revision": "x"}}, {"config": {"levels": {"logLevel": "cluster"}}},
                      {"certificate": {"mode": "helm"}}, {"certificate": {"mode": "secret"}}, {"revision": "Canary"},
                      {"policies": {"actions": []}}, {"webhook": {"image": {"digest": "sha256:x"}}}, {"webhook": {"url": "http://x/"}}):
            with self.subTest(wrong):
                self.assertNotEqual(helm("template", "fairlead", CHART, values=wrong).returncode, 0)

    def test_other_meshes_are_known_by_the_same_names(self):
        """webhook/foreign.c decides, the policy agrees."""
        code = (ROOT / "webhook" / "foreign.c").read_text()
        names, images = (re.findall(r'"([^"]+)"', re.search(rf"{what}\[\] = \{{(.*?)\}};", code, re.DOTALL)[1]) for what in ("names", "ends"))
        policy = self.plain["ValidatingAdmissionPolicy", "fairlead-sidecar"]["spec"]["variables"]
        expression = next(row["expression"] for row in policy if row["name"] == "foreign")
        listed = re.search(r"c\.name in \[(.*?)\]", expression)[1]
        self.assertEqual(set(re.findall(r"'([^']+)'", listed)), set(names))
        pattern = re.search(r"matches\('(.*?)'\)", expression)[1]
        for image in images:
            for text in (image[1:], f"mirror.example:5000{image}", f"{image[1:]}:1.2", f"{image[1:]}@sha256:0", f"a{image}:1@sha256:0"):
                self.assertTrue(re.search(pattern, text), text)
            for text in (f"{image[1:]}x", f"x{image[1:]}", f"{image[1:]}/x"):
                self.assertFalse(re.search(pattern, text), text)

    def test_keys_are_the_codes(self):
        """Labels and annotations that the templates name exist in common/mesh/label.h."""
        known = set(re.findall(r'"(fairlead\.io/[a-z-]+)"', (ROOT / "common" / "mesh" / "label.h").read_text()))
        for things in self.in_every_mode():
            for (kind, name), thing in things.items():
                if kind in ("ValidatingAdmissionPolicy", "MutatingWebhookConfiguration"):
                    text = json.dumps(thing["spec"] if "spec" in thing else thing["webhooks"])
                    self.assertLessEqual(set(re.findall(r"(?<![\w.])fairlead\.io/[a-z-]+", text)), known, name)


if __name__ == "__main__":
    if find_helm() is None:
        print("skipped: helm is not here (neither $HELM, nor the test cluster's, nor in PATH)")
        sys.exit(SKIPPED)
    unittest.main()
