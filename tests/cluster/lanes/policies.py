#!/usr/bin/env python3
"""The shipped ValidatingAdmissionPolicies, each with hostile objects and harmless ones beside them.

Every hostile object is refused by the policy that it is meant for, and by no other reason; with the policy's binding taken away
the very same object passes, so that none of these tests can pass for nothing. No webhook is there: the policies hold alone.
"""
import copy
import json
import re

from support.api import ApiError, JSON_PATCH
from support.lane import a_pod, main
from support.policy import PolicyLane, changed
from support.release import ADMISSION, BINDING, POLICY, Release, account, creatable, goldens, injected
from waiting import eventually

NEEDS = "api"

KEEPER = account("fairlead-keeper")
CONFIGURATION = "fairlead-webhook"
CAPTURE = "fairlead.io/capture"
INJECT, REV, REQUIRE, PAUSE = (f"fairlead.io/{name}" for name in ("inject", "rev", "require", "pause"))
FOREIGN = "somebody-elses"
CLASSIC = "classic-short-grace"  # the golden admission of a small pod with a classic sidecar


def sidecar(pod):
    return pod["spec"]["initContainers"][0]


def app(pod):
    return pod["spec"]["containers"][0]


def update(holder, key, value):
    """For lambdas: holder[key] = value, or without the key where value is None."""
    if value is None:
        holder.pop(key, None)
    else:
        holder[key] = value


class Policies(PolicyLane):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.release = Release(cls)
        cls.rules = cls.api.get(ADMISSION, "MutatingWebhookConfiguration", CONFIGURATION)
        cls.api.delete(ADMISSION, "MutatingWebhookConfiguration", CONFIGURATION)
        cls.meshed = cls.namespace("meshed", labels={INJECT: "enabled"})
        cls.plain = cls.namespace("plain")
        cls.required = cls.namespace("required", labels={REQUIRE: "true"})
        cls.paused = cls.namespace("paused", labels={REQUIRE: "true", PAUSE: "true"})

    # -- all of them --------------------------------------------------------------------------------------------------

    def test_every_policy_is_bound_and_well_typed(self):
        policies = {thing.name: thing for thing in self.api.list(ADMISSION, POLICY) if thing.name.startswith("fairlead")}
        self.assertEqual(set(policies), {f"fairlead-{name}" for name in (
            "binding", "capture", "control.writes", "deployer.writes", "immutable", "keeper.admission", "keeper.secrets", "namespaces", "sidecar", "users")})
        for name, policy in policies.items():
            binding = self.api.get(ADMISSION, BINDING, name)
            self.assertEqual((binding["spec"]["policyName"], binding["spec"]["validationActions"]), (name, ["Deny"]))
            self.assertEqual(policy["spec"]["failurePolicy"], "Fail")
            checked = self.api.wait(ADMISSION, POLICY, name, None, lambda thing: thing.get("status", {}).get("typeChecking") is not None)
            self.assertEqual(checked["status"]["typeChecking"], {}, "expressions of the wrong type")
            for validation in policy["spec"]["validations"]:
                self.assertTrue(validation.get("message") or validation.get("messageExpression"), "a rule without a word")

    # -- the keeper ---------------------------------------------------------------------------------------------------

    def test_keeper_changes_the_bundle_alone(self):
        """With all the rights there are: it is the policy that holds it."""
        self.create({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {"name": "hostile-keeper"},
                     "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
                     "subjects": [{"kind": "ServiceAccount", "name": "fairlead-keeper", "namespace": "fairlead-system"}]})
        keeper = self.api.impersonate(*KEEPER)
        self.addCleanup(keeper.close)
        rules = copy.deepcopy(self.rules)
        rules["metadata"] = {"name": CONFIGURATION, "labels": rules["metadata"]["labels"]}
        for entry in rules["webhooks"]:  # nobody is called: what is made here must not be in anybody's way
            entry["namespaceSelector"]["matchExpressions"].append({"key": "fairlead.test/nobody", "operator": "Exists"})
        self.create(rules)
        foreign = copy.deepcopy(rules)
        foreign["metadata"] = {"name": FOREIGN}
        self.create(foreign)
        validating = {"apiVersion": ADMISSION, "kind": "ValidatingWebhookConfiguration", "metadata": {"name": FOREIGN}, "webhooks": []}
        self.create(validating)
        kind = (ADMISSION, "MutatingWebhookConfiguration")
        bundle = "LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0tCk1JSUJkekNDQVIyZ0F3SUJBZ0lCQURBS0JnZ3Foa2pPUFFRREFqQVBNUTB3Q3dZRFZRUUREQVJ5YjI5ME1CNFhEVEkyTURFd01UQXdNREF3"

        def edit(*operations, name=CONFIGURATION):
            return lambda: keeper.patch(*kind, name, [dict(zip(("op", "path", "value"), each)) for each in operations], dry_run=True)

        entry = "/webhooks/0"
        only = "caBundle"
        hostile = {
            "edits rules": (edit(("replace", f"{entry}/rules/0/operations", ["*"])), only),
            "edits resources": (edit(("add", f"{entry}/rules/0/resources/-", "secrets")), only),
            "widens a selector": (edit(("remove", f"{entry}/namespaceSelector")), only),
            "edits an objectSelector": (edit(("replace", f"{entry}/objectSelector", {"matchLabels": {"a": "b"}})), only),
            "edits failurePolicy": (edit(("replace", f"{entry}/failurePolicy", "Ignore")), only),
            "edits the service": (edit(("replace", f"{entry}/clientConfig/service/name", "mine")), only),
            "puts a url": (edit(("replace", f"{entry}/clientConfig", {"url": "https://evil.example/inject"})), only),
            "edits matchConditions": (edit(("remove", f"{entry}/matchConditions/0")), only),
            "edits timeoutSeconds": (edit(("replace", f"{entry}/timeoutSeconds", 30)), only),
            "edits reinvocationPolicy": (edit(("replace", f"{entry}/reinvocationPolicy", "Never")), only),
            "edits the last entry, with a bundle": (edit(
                ("add", f"/webhooks/{len(rules['webhooks']) - 1}/clientConfig/caBundle", bundle),
                ("replace", f"/webhooks/{len(rules['webhooks']) - 1}/matchPolicy", "Exact")), only),
            "adds an entry": (edit(("add", "/webhooks/-", {**rules["webhooks"][0], "name": "evil.inject.fairlead.io"})), only),
            "renames an entry": (edit(("replace", f"{entry}/name", "evil.inject.fairlead.io")), only),
            "removes an entry": (edit(("remove", entry)), only),
            "adds a label": (edit(("add", "/metadata/labels/a", "b")), "labels"),
            "adds an annotation": (edit(("add", "/metadata/annotations", {"cert-manager.io/inject-ca-from": "a/b"})), "annotations"),
            "adds a finalizer": (edit(("add", "/metadata/finalizers", ["fairlead.io/never"])), "finalizers"),
            "touches another's": (edit(("add", f"{entry}/clientConfig/caBundle", bundle), name=FOREIGN), f'UPDATE of .* "{FOREIGN}"'),
            "deletes": (lambda: keeper.request("DELETE", keeper.path(*kind, CONFIGURATION), dryRun="All"), "no DELETE"),
            "deletes all": (lambda: keeper.request("DELETE", keeper.path(*kind), dryRun="All", fieldSelector=f"metadata.name={FOREIGN}"), "no DELETE"),
            "makes one": (lambda: keeper.create({**rules, "metadata": {"name": "evil"}}, dry_run=True), "no CREATE"),
            "makes a validating one": (lambda: keeper.create({**validating, "metadata": {"name": "evil"}}, dry_run=True), "no CREATE"),
            "touches a validating one": (lambda: keeper.patch(ADMISSION, "ValidatingWebhookConfiguration", FOREIGN, {"metadata": {"labels": {"a": "b"}}}, dry_run=True), "no UPDATE"),
        }

        def apply_bundle(manager="fairlead-keeper"):
            body = {"apiVersion": ADMISSION, "kind": kind[1], "metadata": {"name": CONFIGURATION},
                    "webhooks": [{"name": each["name"], "clientConfig": {"caBundle": bundle}} for each in rules["webhooks"]]}
            return keeper.request("PATCH", keeper.path(*kind, CONFIGURATION), body, "application/apply-patch+yaml",
                                  fieldManager=manager, force="true", dryRun="All")

        def by_others():
            self.api.patch(*kind, CONFIGURATION, [{"op": "replace", "path": f"{entry}/failurePolicy", "value": "Ignore"}], dry_run=True)

        harmless = {
            "applies the bundle to every entry": apply_bundle,
            "patches the bundle of one": edit(("add", f"{entry}/clientConfig/caBundle", bundle)),
            "writes what is there": edit(("replace", f"{entry}/timeoutSeconds", rules["webhooks"][0]["timeoutSeconds"])),
            "an administrator edits": by_others,
        }
        eventually(lambda: self.may(apply_bundle), "the keeper has its rights")
        self.check("fairlead-keeper.admission", hostile, harmless)
        # The bundle is a field of the keeper's own afterwards: a later apply by Helm does not touch it.
        real = keeper.request("PATCH", keeper.path(*kind, CONFIGURATION), {
            "apiVersion": ADMISSION, "kind": kind[1], "metadata": {"name": CONFIGURATION},
            "webhooks": [{"name": each["name"], "clientConfig": {"caBundle": bundle}} for each in rules["webhooks"]]},
            "application/apply-patch+yaml", fieldManager="fairlead-keeper", force="true")
        self.assertEqual({each["clientConfig"].get("caBundle") for each in real["webhooks"]}, {bundle})
        owned = next(each for each in real["metadata"]["managedFields"] if each["manager"] == "fairlead-keeper")
        self.assertEqual(set(re.findall(r"f:(\w+)", json.dumps(owned["fieldsV1"]))), {"webhooks", "name", "clientConfig", "caBundle"})

    def test_keeper_writes_its_secrets_alone(self):
        role = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {"name": "hostile-keeper-secrets"},
                "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
                "subjects": [{"kind": "ServiceAccount", "name": "fairlead-keeper", "namespace": "fairlead-system"}]}
        self.create(role)
        keeper = self.api.impersonate(*KEEPER)
        self.addCleanup(keeper.close)

        def secret(name, namespace="fairlead-system", kind="Opaque", who=keeper, **meta):
            thing = {"apiVersion": "v1", "kind": "Secret", "type": kind, "metadata": {"name": name, "namespace": namespace, **meta}}
            if kind == "kubernetes.io/tls":
                thing["stringData"] = {"tls.crt": "", "tls.key": ""}
            return lambda: who.create(thing, dry_run=True)

        token = {"annotations": {"kubernetes.io/service-account.name": "fairlead-webhook"}}
        self.create({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "somebodys", "namespace": self.plain}})
        hostile = {
            "another name": (secret("evil"), "no other"),
            "no name at all": (lambda: keeper.create({"apiVersion": "v1", "kind": "Secret", "metadata": {
                "generateName": "fairlead-webhook-", "namespace": "fairlead-system"}}, dry_run=True), "no other"),
            "another namespace": (secret("fairlead-webhook-ca", self.plain), "no other"),
            "a token of another account": (secret("fairlead-webhook-ca", kind="kubernetes.io/service-account-token", **token), "token"),
            "somebody's": (lambda: keeper.patch("v1", "Secret", "somebodys", {"stringData": {"a": "b"}}, self.plain, dry_run=True), "no other"),
            "deletes somebody's": (lambda: keeper.request("DELETE", keeper.path("v1", "Secret", "somebodys", self.plain), dryRun="All"), "no other"),
        }
        harmless = {
            "the root": secret("fairlead-webhook-ca"),
            "the certificate": secret("fairlead-webhook-tls", kind="kubernetes.io/tls"),
            "an administrator": secret("another", who=self.api),
        }
        eventually(lambda: self.may(secret("fairlead-webhook-ca")), "the keeper has its rights")
        self.check("fairlead-keeper.secrets", hostile, harmless)

    # -- who asked for the mesh carries the sidecar -------------------------------------------------------------------

    def test_who_asked_carries_the_sidecar(self):
        bare = a_pod("bare", self.meshed)
        no_sidecar = "has no sidecar fairlead-proxy"

        def label(**labels):
            return lambda pod: pod["metadata"]["labels"].update({f"fairlead.io/{key}": value for key, value in labels.items()})

        def annotate(**annotations):
            return lambda pod: pod["metadata"]["annotations"].update(annotations)

        def generated(pod):
            pod["metadata"].pop("name")
            pod["metadata"]["generateName"] = "bare-"

        def forged_mirror(pod):
            pod["metadata"]["annotations"]["kubernetes.io/config.mirror"] = "x"
            pod["spec"]["nodeName"] = "node"

        def foreign(**container):
            return lambda pod: pod["spec"]["containers"].append(container)

        hostile = self.table(bare, {
            "an image that is nearly another mesh's": (foreign(name="x", image="mirror.example/istio/proxyv2-x:1"), no_sidecar),
            "bare": (lambda pod: None, no_sidecar),
            "by generateName": (generated, no_sidecar),
            "its label asks": (label(inject="enabled"), no_sidecar),
            "a mistyped label": (label(inject="flase"), no_sidecar),
            "a revision that nobody serves": (label(rev="nobody"), 'revision "nobody"'),
            "an empty revision": (label(rev=""), 'revision ""'),
            "a mirror of no kubelet": (forged_mirror, no_sidecar),
            "capture alone": (annotate(**{CAPTURE: "{}"}), "sidecar"),
        })
        hostile.pop("capture alone")  # two policies refuse it: fairlead-capture has it
        for space in (self.meshed, self.required):  # no webhook is asked about it, so nobody would repair or refuse it
            hostile[f"a sidecar by hand, of a revision that nobody serves, in {space}"] = (
                self.pod(changed(injected(space), label(rev="nobody"))), 'revision "nobody", which no release')
        hostile["its label asks, elsewhere"] = (self.pod(changed(a_pod("bare", self.plain), label(inject="enabled"))), no_sidecar)
        required = a_pod("bare", self.required)
        hostile |= {f"required: {case}": row for case, row in self.table(required, {
            "bare": (lambda pod: None, "nobody may opt out"),
            "opted out": (label(inject="disabled"), "nobody may opt out"),
            "hostNetwork": (lambda pod: pod["spec"].update(hostNetwork=True), "nobody may opt out"),
            "Windows": (lambda pod: pod["spec"].update(os={"name": "windows"}), "nobody may opt out"),
            "another mesh's": (foreign(name="istio-proxy", image="busybox:1"), "nobody may opt out"),
            "a revision that nobody serves": (label(rev="nobody"), "nobody may opt out"),
        }).items()}
        node = self.api.impersonate("system:node:node", "system:nodes", "system:authenticated")
        self.addCleanup(node.close)
        self.create({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "node"}})
        owner = {"apiVersion": "v1", "kind": "Node", "name": "node", "controller": True,
                 "uid": self.api.get("v1", "Node", "node")["metadata"]["uid"]}
        static = changed(bare, forged_mirror)
        static["metadata"]["ownerReferences"] = [owner]
        harmless = {
            "the sidecar is there": self.pod(injected(self.meshed)),
            "and by generateName": self.pod(changed(injected(self.meshed), generated)),
            "and required": self.pod(injected(self.required)),
            "opted out": self.pod(changed(bare, label(inject="disabled"))),
            "hostNetwork": self.pod(changed(bare, lambda pod: pod["spec"].update(hostNetwork=True))),
            "Windows": self.pod(changed(bare, lambda pod: pod["spec"].update(os={"name": "windows"}))),
            "Windows by its node": self.pod(changed(bare, lambda pod: pod["spec"].update(nodeSelector={"kubernetes.io/os": "windows"}))),
            "another mesh's by its name": self.pod(changed(bare, foreign(name="linkerd-proxy", image="busybox:1"))),
            "another mesh's by its image": self.pod(changed(bare, foreign(name="x", image="mirror.example:5000/istio/proxyv2:1.30"))),
            "a mirror of a kubelet": lambda: node.create(static, dry_run=True),
            "unlabelled": self.pod(a_pod("bare", self.plain)),
            "paused": self.pod(a_pod("bare", self.paused)),
            "our own namespace": self.pod(a_pod("bare", "fairlead-system", {INJECT: "enabled"}, serviceAccountName="fairlead-webhook")),
            "kube-system": self.pod(a_pod("bare", "kube-system", {INJECT: "enabled"})),
        }
        self.check("fairlead-sidecar", hostile, harmless)

    def test_the_sidecar_is_ours(self):
        """A sidecar made by hand, by somebody who would like to run as the proxy."""
        whole = injected(self.meshed)
        evil = {"name": "evil", "emptyDir": {}}

        def mount(path):
            def change(pod):
                pod["spec"]["volumes"].append(evil)
                sidecar(pod)["volumeMounts"].append({"name": "evil", "mountPath": path})
            return change

        def environment(name):
            return lambda pod: sidecar(pod)["env"].append({"name": name, "value": "/evil"})

        def security(**values):
            return lambda pod: sidecar(pod)["securityContext"].update(values)

        def capture(text):
            return lambda pod: pod["metadata"]["annotations"].update({CAPTURE: text})

        def volume(**source):
            def change(pod):
                rows = pod["spec"]["volumes"]
                rows[:] = [row for row in rows if row["name"] != "fairlead-proxy"] + [{"name": "fairlead-proxy", **source}]
            return change

        def reads(name, **where):
            def change(pod):
                container = {"name": "spy", "image": "busybox:1", "volumeMounts": [{"name": name, "mountPath": "/spy"}], **where}
                pod["spec"]["initContainers" if where else "containers"].append(container)
            return change

        text = whole["metadata"]["annotations"][CAPTURE]
        first = {"name": "first", "image": "busybox:1"}
        program, gate = "own program|image's own program", "start gate"
        hostile = self.table(whole, {
            "not the first": (lambda pod: pod["spec"]["initContainers"].insert(0, first), "first"),
            "no capture": (lambda pod: pod["metadata"]["annotations"].pop(CAPTURE), "annotation fairlead.io/capture"),
            "another uid": (security(runAsUser=2000), "1337:1337"),
            "another gid": (security(runAsGroup=2000), "1337:1337"),
            "privileged": (security(privileged=True, allowPrivilegeEscalation=True), "privileges"),
            "gains privileges": (security(allowPrivilegeEscalation=True), "privileges"),
            "more capabilities": (security(capabilities={"drop": ["ALL"], "add": ["NET_ADMIN"]}), "privileges"),
            "capture names another uid": (capture(text.replace('"uid":1337', '"uid":2000')), "names the proxy's uid"),
            "capture names another gid": (capture(text.replace('"gid":1337', '"gid":2000')), "names the proxy's uid"),
            "capture names it twice": (capture('{"version":1,"uid":2000,"uid":1337,"gid":1337,"x":1}'), "names the proxy's uid"),
            "capture is no JSON": (capture("x"), "names the proxy's uid"),
            "another image": (lambda pod: update(sidecar(pod), "image", "evil:1"), "as the operator says"),
            "another program": (lambda pod: update(sidecar(pod), "command", ["/evil"]), program),
            "another configuration": (lambda pod: update(sidecar(pod), "args", ["-c", "/evil.yaml"]), program),
            "a hook": (lambda pod: update(sidecar(pod), "lifecycle", {"postStart": {"exec": {"command": ["/evil"]}}}), program),
            "a probe": (lambda pod: update(sidecar(pod), "livenessProbe", {"exec": {"command": ["/evil"]}}), program),
            "environment from elsewhere": (lambda pod: update(sidecar(pod), "envFrom", [{"configMapRef": {"name": "evil"}}]), program),
            "LD_PRELOAD": (environment("LD_PRELOAD"), "loads other code"),
            "OPENSSL_CONF": (environment("OPENSSL_CONF"), "loads other code"),
            "SSLKEYLOGFILE": (environment("SSLKEYLOGFILE"), "loads other code"),
            "over everything": (mount("/"), "mounted over"),
            "over the program": (mount("/fairlead-proxy"), "mounted over"),
            "over the libraries": (mount("/usr/lib"), "mounted over"),
            "over the libraries, in other words": (mount("//lib64"), "mounted over"),
            "round about": (mount("/run/./../usr"), "mounted over|Invalid"),
            "no start gate": (lambda pod: update(sidecar(pod), "startupProbe", None), gate),
            "another start gate": (lambda pod: sidecar(pod)["startupProbe"]["httpGet"].update(path="/healthz/ready"), gate),
            "gate without capture": (lambda pod: sidecar(pod)["env"].pop(0), gate),
            "gate of another capture": (lambda pod: sidecar(pod)["env"].append({"name": "FAIRLEAD_CAPTURE", "value": "x"}), gate),
            "keys on a disk": (volume(emptyDir={}), "in memory"),
            "keys on the host": (volume(hostPath={"path": "/srv"}), "in memory"),
            "an app reads the keys": (reads("fairlead-proxy"), "alone"),
            "an app reads the token": (reads("fairlead-token"), "alone"),
            "an init container reads the keys": (reads("fairlead-proxy", restartPolicy="Always"), "alone"),
        })
        hostile.pop("round about")  # Kubernetes itself refuses a path with dots
        classic = injected(self.meshed, golden=CLASSIC)
        self.assertEqual((sidecar(classic)["name"], app(classic)["name"]), ("fairlead-gate", "fairlead-proxy"))

        def gate(change):
            return self.pod(changed(classic, lambda pod: change(sidecar(pod))))

        standing = "first init container fairlead-gate"
        hostile.update({
            "classic, not the first": (self.pod(changed(classic, lambda pod: pod["spec"]["containers"].reverse())), "first"),
            "classic, another image": (self.pod(changed(classic, lambda pod: update(app(pod), "image", "evil:1"))), "as the operator says"),
            "classic, no gate": (self.pod(changed(classic, lambda pod: pod["spec"].pop("initContainers"))), standing),
            "classic, a gate that nobody waits for": (gate(lambda one: update(one, "restartPolicy", "Always")), standing),
            "classic, a gate of another program": (gate(lambda one: update(one, "command", ["true"])), program),
            "classic, a gate that gives up": (gate(lambda one: update(one, "args", ["gate", "--seconds", "1"])), program),
            "classic, a gate of other arguments": (gate(lambda one: update(one, "args", ["-l", "info"])), program),
            "classic, a gate of another image": (gate(lambda one: update(one, "image", "evil:1")), "as the operator says"),
            "classic, a gate of another user": (gate(lambda one: one["securityContext"].update(runAsUser=2000)), "1337:1337"),
            "classic, a gate with privileges": (
                gate(lambda one: one["securityContext"].update(privileged=True, allowPrivilegeEscalation=True)), "privileges"),
            "classic, a gate of another capture": (gate(lambda one: one["env"].append({"name": "FAIRLEAD_CAPTURE", "value": "x"})), "start gate"),
            "classic, a gate that loads other code": (gate(lambda one: one["env"].append({"name": "LD_PRELOAD", "value": "x"})), "loads other code"),
        })

        def many(pod):
            pod["spec"]["volumes"].append(evil)
            pod["spec"]["containers"] += [
                {"name": f"app-{number}", "image": "busybox:1", "env": [{"name": f"V{row}", "value": "x"} for row in range(50)],
                 "volumeMounts": [{"name": "evil", "mountPath": f"/m/{row}"} for row in range(50)]} for number in range(100)]

        harmless = {
            "the webhook's": self.pod(whole),
            "classic": self.pod(classic),
            "others' environment and mounts": self.pod(changed(changed(whole, environment("HTTP_PROXY")), mount("/var/other"))),
            "a hook of its own program": self.pod(changed(whole, lambda pod: update(
                sidecar(pod), "lifecycle", {"preStop": {"exec": {"command": ["/fairlead-proxy", "drain"]}}}))),
            "a hundred containers": self.pod(changed(whole, many)),
            "capture of version 2": self.pod(changed(whole, capture(text.replace('"version":1', '"version":2')))),
        }
        self.check("fairlead-sidecar", hostile, harmless)

    def test_a_sidecar_that_is_none(self):
        """What a mutating webhook of the time before native sidecars leaves. Two policies refuse it, either is right."""
        pod = injected(self.meshed)
        for key in ("restartPolicy", "startupProbe", "readinessProbe", "lifecycle"):  # which Kubernetes ties to restartPolicy
            sidecar(pod).pop(key, None)

        def told():
            try:
                self.api.create(pod, dry_run=True)
                return ""
            except ApiError as error:
                return error.message
        self.assertRegex(eventually(told, "refused"), "has lost restartPolicy: Always|no sidecar that its traffic could go to")

    def test_an_image_of_the_namespace(self):
        """The operator says on which level the image may be set: the namespace's annotation counts, the pod's does not."""
        space = self.namespace("imaged", labels={INJECT: "enabled"}, annotations={"fairlead.io/proxy-image": "mirror.example/proxy:1"})
        pod = changed(injected(space), lambda pod: update(sidecar(pod), "image", "mirror.example/proxy:1"))
        self.api.create(pod, dry_run=True)
        pod["metadata"]["annotations"]["fairlead.io/proxy-image"] = "evil:1"
        sidecar(pod)["image"] = "evil:1"
        self.assertIn("mirror.example", eventually(lambda: self.refused_by("fairlead-sidecar", self.pod(pod)), "in force"))

    def test_what_the_webhook_makes_passes(self):
        """Every golden admission, as far as a real API server takes the pod at all."""
        passed = 0
        for case, _, pod in goldens():
            pod = creatable(pod, self.meshed)
            with self.subTest(case):
                try:
                    self.api.create(pod, dry_run=True)
                    passed += 1
                except ApiError as error:
                    self.assertNotIn("ValidatingAdmissionPolicy", error.message)
        self.assertGreater(passed, 15)

    def test_capture_needs_a_sidecar(self):
        """In every namespace, labelled or not."""
        text = injected("x")["metadata"]["annotations"][CAPTURE]
        bare = a_pod("bare", self.plain, annotations={CAPTURE: text})
        says = "no sidecar that its traffic could go to"
        hostile = self.table(bare, {
            "bare": (lambda pod: None, says),
            "hostNetwork": (lambda pod: pod["spec"].update(hostNetwork=True), says),
            "opted out": (lambda pod: pod["metadata"]["labels"].update({INJECT: "disabled"}), says),
            "an init container of its name": (lambda pod: pod["spec"].update(
                initContainers=[{"name": "fairlead-proxy", "image": "busybox:1"}]), says),
        })
        harmless = {
            "no capture": self.pod(a_pod("bare", self.plain)),
            "made by hand, with a sidecar": self.pod(injected(self.plain)),
            "paused": self.pod(a_pod("bare", self.paused, annotations={CAPTURE: text})),
        }
        self.check("fairlead-capture", hostile, harmless)

    # -- what was made stays ------------------------------------------------------------------------------------------

    def test_what_was_written_stays(self):
        pod = self.api.create(injected(self.meshed, "kept"))
        self.api.create(a_pod("outside", self.plain))
        path = self.api.path("v1", "Pod", "kept", self.meshed)
        keys = ("capture", "status", "probes", "metrics")

        def merge(body, sub="", where=path):
            return lambda: self.api.request("PATCH", where + sub, body, "application/merge-patch+json", dryRun="All")

        def meta(field, **values):
            return {"metadata": {field: {f"fairlead.io/{key}": value for key, value in values.items()}}}

        hostile = {}
        for sub in ("", "/status"):
            for key in keys:
                hostile[f"{key} changes{sub}"] = (merge(meta("annotations", **{key: "{}"}), sub), f"annotation fairlead.io/{key}")
            for key in ("capture", "status"):
                hostile[f"{key} goes{sub}"] = (merge(meta("annotations", **{key: None}), sub), f"annotation fairlead.io/{key}")
            for key in ("inject", "rev"):
                hostile[f"{key} is set{sub}"] = (merge(meta("labels", **{key: "disabled"}), sub), f"label fairlead.io/{key}")
        outside = self.api.path("v1", "Pod", "outside", self.plain)
        hostile["capture comes"] = (merge(meta("annotations", capture="{}"), where=outside), "annotation fairlead.io/capture")
        hostile["inject comes"] = (merge(meta("labels", inject="enabled"), where=outside), "label fairlead.io/inject")
        image = [{"op": "replace", "path": "/spec/initContainers/0/image", "value": "evil:1"}]
        hostile["the sidecar's image"] = (lambda: self.api.request("PATCH", path, image, JSON_PATCH, dryRun="All"), "image of fairlead-proxy")
        whole = {**pod, "metadata": {**pod["metadata"], "annotations": {**pod["metadata"]["annotations"], CAPTURE: "{}"}}}
        whole["metadata"].pop("resourceVersion")  # the scheduler writes meanwhile
        hostile["by PUT"] = (lambda: self.api.replace(whole, dry_run=True), "annotation fairlead.io/capture")
        app_image = [{"op": "replace", "path": "/spec/containers/0/image", "value": "busybox:2"}]
        harmless = {
            "another annotation": merge({"metadata": {"annotations": {"fairlead.io/log-level": "debug", "a": "b"}}}),
            "another label": merge({"metadata": {"labels": {"quarantine": "yes"}}}),
            "status": merge({"status": {"message": "x"}}, "/status"),
            "the app's image": lambda: self.api.request("PATCH", path, app_image, JSON_PATCH, dryRun="All"),
        }
        self.check("fairlead-immutable", hostile, harmless)

    def test_a_binding_writes_none_of_it(self):
        self.api.create(injected(self.meshed, "unbound"))
        path = self.api.path("v1", "Pod", "unbound", self.meshed) + "/binding"
        plain = f"/api/v1/namespaces/{self.meshed}/bindings"

        def bind(where=path, **meta):
            body = {"apiVersion": "v1", "kind": "Binding", "metadata": {"name": "unbound", "namespace": self.meshed, **meta},
                    "target": {"apiVersion": "v1", "kind": "Node", "name": "node"}}
            return lambda: self.api.request("POST", where, body, dryRun="All")

        hostile = {
            "capture": (bind(annotations={CAPTURE: "{}"}), "cannot write fairlead.io/capture"),
            "probes": (bind(annotations={"fairlead.io/probes": "{}"}), "cannot write fairlead.io/probes"),
            "a label": (bind(labels={INJECT: "disabled"}), "cannot write fairlead.io/inject"),
            "by the other path": (bind(plain, annotations={CAPTURE: "{}"}), "cannot write fairlead.io/capture"),
        }
        harmless = {"as the scheduler does it": bind(), "another annotation": bind(annotations={"a": "b"})}
        self.check("fairlead-binding", hostile, harmless)

    # -- nobody is the proxy but the proxy ----------------------------------------------------------------------------

    def test_nobody_takes_the_proxys_user(self):
        whole = injected(self.meshed)
        self.api.create(injected(self.meshed, "running"))
        self.api.create(a_pod("outside-too", self.plain))
        gate = sidecar(injected(self.meshed, golden=CLASSIC))

        def pod_wide(**values):
            return lambda pod: pod["spec"].setdefault("securityContext", {}).update(values)

        def of_app(**values):
            return lambda pod: app(pod).setdefault("securityContext", {}).update(values)

        def helper(**values):
            return lambda pod: pod["spec"]["initContainers"].append(
                {"name": "helper", "image": "busybox:1", "securityContext": values})

        hostile = self.table(whole, {
            "the pod's runAsUser": (pod_wide(runAsUser=1337), "^runAsUser of the pod:"),
            "the pod's runAsGroup": (pod_wide(runAsGroup=1337), "^runAsGroup of the pod:"),
            "fsGroup": (pod_wide(fsGroup=1337), "^fsGroup of the pod:"),
            "supplementalGroups": (pod_wide(supplementalGroups=[1, 1337]), "^supplementalGroups of the pod:"),
            "an app's runAsUser": (of_app(runAsUser=1337), "^container app:"),
            "an app's runAsGroup": (of_app(runAsGroup=1337), "^container app:"),
            "an init container's": (helper(runAsUser=1337), "^init container helper:"),
            "the proxy's image": (lambda pod: update(app(pod), "image", sidecar(pod)["image"]), "^container app:"),
            "a gate beside a native sidecar": (lambda pod: pod["spec"]["initContainers"].append(gate), "^init container fairlead-gate:"),
        })

        def debug(pod="running", namespace=None, **more):
            path = self.api.path("v1", "Pod", pod, namespace or self.meshed) + "/ephemeralcontainers"
            body = {"spec": {"ephemeralContainers": [{"name": "debug", "image": "busybox:1", **more}]}}
            return lambda: self.api.request("PATCH", path, body, "application/strategic-merge-patch+json", dryRun="All")

        hostile |= {
            "an ephemeral container's uid": (debug(securityContext={"runAsUser": 1337}), "^ephemeral container debug:"),
            "an ephemeral container's gid": (debug(securityContext={"runAsGroup": 1337}), "^ephemeral container debug:"),
            "an ephemeral container of the sidecar's name": (debug(name="fairlead-proxy-2", securityContext={"runAsUser": 1337}),
                                                             "^ephemeral container fairlead-proxy-2:"),
            "an ephemeral container of the proxy's image": (debug(image=sidecar(whole)["image"]), "^ephemeral container debug:"),
            "an ephemeral container reads the keys": (debug(volumeMounts=[{"name": "fairlead-proxy", "mountPath": "/x"}]), "keys and token"),
            "an ephemeral container reads the token": (debug(volumeMounts=[{"name": "fairlead-token", "mountPath": "/x"}]), "keys and token"),
            "an ephemeral container among the sidecar's processes": (debug(targetContainerName="fairlead-proxy"), "processes of"),
        }
        harmless = {
            "a classic sidecar and its gate": self.pod(injected(self.meshed, golden=CLASSIC)),
            "other numbers": self.pod(changed(whole, pod_wide(runAsUser=1338, runAsGroup=1338, fsGroup=1338, supplementalGroups=[1]))),
            "the proxy's image with another user": debug(image=sidecar(whole)["image"], securityContext={"runAsUser": 1000}),
            "power, where it is not forbidden": debug(securityContext={"privileged": True}),
            "a debugger": debug(securityContext={"runAsUser": 1000}),
            "a debugger without a word": debug(),
            "a debugger of the app's processes": debug(targetContainerName="app"),
            "outside of the mesh": self.pod(changed(a_pod("bare", self.plain), pod_wide(runAsUser=1337))),
            "a debugger outside of the mesh": debug("outside-too", self.plain, securityContext={"runAsUser": 1337}),
        }
        self.check("fairlead-users", hostile, harmless)

    def test_power_that_a_namespace_forbids(self):
        space = self.namespace("powerless", labels={INJECT: "enabled"}, annotations={"fairlead.io/privileged-apps": "deny"})
        self.api.create(injected(space, "running"))
        path = self.api.path("v1", "Pod", "running", space) + "/ephemeralcontainers"

        def debug(**security):
            body = {"spec": {"ephemeralContainers": [{"name": "debug", "image": "busybox:1", "securityContext": security}]}}
            return lambda: self.api.request("PATCH", path, body, "application/strategic-merge-patch+json", dryRun="All")
        self.assertIn("undo the pod's capture", eventually(lambda: self.refused_by("fairlead-users", debug(privileged=True)), "in force"))
        for name in ("net_admin", "cap_net_admin", "Sys_Admin"):  # runtimes take them in any case
            self.assertIn("undo the pod's capture", self.refused_by("fairlead-users", debug(capabilities={"add": [name]})))
        debug(runAsUser=1000)()

    # -- loosening a namespace's rules --------------------------------------------------------------------------------

    def test_loosening_asks_for_a_verb(self):
        tenant = ("tenant", "system:authenticated")
        rbac = "rbac.authorization.k8s.io"

        def grant(name, role, user):
            self.create({"apiVersion": f"{rbac}/v1", "kind": "ClusterRoleBinding", "metadata": {"name": name},
                         "roleRef": {"apiGroup": rbac, "kind": "ClusterRole", "name": role},
                         "subjects": [{"apiGroup": rbac, "kind": "User", "name": user}]})

        self.create({"apiVersion": f"{rbac}/v1", "kind": "ClusterRole", "metadata": {"name": "tenants"}, "rules": [
            {"apiGroups": [""], "resources": ["namespaces", "namespaces/status", "namespaces/finalize"],
             "verbs": ["get", "update", "patch"]}]})
        grant("tenants", "tenants", "tenant")
        grant("operators", "fairlead-namespaces", "operator")
        tenant = self.api.impersonate(*tenant)
        operator = self.api.impersonate("operator", "system:authenticated")
        self.addCleanup(tenant.close)
        self.addCleanup(operator.close)

        def label(who, space, sub="", **labels):
            body = {"metadata": {"labels": {f"fairlead.io/{key}": value for key, value in labels.items()}}}
            path = self.api.path("v1", "Namespace", space) + sub
            return lambda: who.request("PATCH", path, body, "application/merge-patch+json", dryRun="All")

        hostile = {
            "require goes": (label(tenant, self.required, require=None), '"unrequire"'),
            "require changes": (label(tenant, self.required, require="false"), '"unrequire"'),
            "require goes by status": (label(tenant, self.required, "/status", require=None), '"unrequire"'),
            "pause comes": (label(tenant, self.required, pause="true"), '"pause"'),
            "pause comes elsewhere": (label(tenant, self.plain, pause="true"), '"pause"'),
            "pause comes by status": (label(tenant, self.plain, "/status", pause="true"), '"pause"'),
        }
        harmless = {
            "require comes": label(tenant, self.plain, require="true"),
            "inject changes": label(tenant, self.plain, inject="enabled"),
            "pause goes": label(tenant, self.paused, pause=None),
            "another label of a required one": label(tenant, self.required, team="red"),
            "another label of a paused one": label(tenant, self.paused, team="red"),
            "pause that pauses nothing": label(tenant, self.plain, pause="yes"),
            "an operator loosens": label(operator, self.required, require=None),
            "an operator pauses": label(operator, self.required, pause="true"),
            "an administrator": label(self.api, self.required, require=None, pause="true"),
        }
        eventually(lambda: self.may(harmless["require comes"]) and self.may(label(operator, self.plain, inject="enabled")),
                   "both have their rights")
        self.check("fairlead-namespaces", hostile, harmless)


class Releases(PolicyLane):
    """Several of them, and other values than the defaults."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.release = Release(cls)
        cls.api.delete(ADMISSION, "MutatingWebhookConfiguration", CONFIGURATION)
        cls.meshed = cls.namespace("meshed", labels={INJECT: "enabled"})
        cls.plain = cls.namespace("plain")

    def test_a_second_one_stands_beside(self):
        """Another revision with another image: each holds the pods of its own."""
        values = {"revision": "canary", "config.proxyImage": "fairlead/fairlead-proxy:9.9.9"}
        Release(self, values, "canary", "fairlead-canary")
        self.api.delete(ADMISSION, "MutatingWebhookConfiguration", f"{CONFIGURATION}-canary")
        new = injected(self.meshed)
        new["metadata"]["labels"][REV] = "canary"
        sidecar(new)["image"] = values["config.proxyImage"]
        wrong = changed(new, lambda pod: update(sidecar(pod), "image", "fairlead/fairlead-proxy:0.1.0"))
        self.assertIn("9.9.9", eventually(lambda: self.refused_by("fairlead-sidecar-canary", self.pod(wrong)), "in force"))
        self.api.create(new, dry_run=True)
        self.api.create(injected(self.meshed), dry_run=True)
        wrong["metadata"]["labels"].pop(REV)
        sidecar(wrong)["image"] = values["config.proxyImage"]
        self.assertIn("0.1.0", self.refused_by("fairlead-sidecar", self.pod(wrong)))

    def test_values_reach_the_rules(self):
        """Another user, no overrides by pods, no debuggers with power, images by anybody."""
        self.release.upgrade({"config.uid": 2102, "config.gid": 2103, "config.podOverrides": False, "config.privilegedApps": "deny",
                              "config.levels": {"proxyImage": "pod"}})
        self.api.delete(ADMISSION, "MutatingWebhookConfiguration", CONFIGURATION)

        def ours(pod):
            sidecar(pod)["securityContext"].update(runAsUser=2102, runAsGroup=2103)
            sidecar(pod)["image"] = "mirror.example/proxy:1"
            text = pod["metadata"]["annotations"][CAPTURE]
            pod["metadata"]["annotations"][CAPTURE] = text.replace('"uid":1337,"gid":1337', '"uid":2102,"gid":2103')
        good = changed(injected(self.meshed), ours)
        eventually(lambda: self.refused_by("fairlead-sidecar", self.pod(good)) is None, "the new values are in force")
        self.assertIn("2102:2103", self.refused_by("fairlead-sidecar", self.pod(injected(self.meshed))))
        bare = a_pod("bare", self.meshed, {INJECT: "disabled"})
        self.assertIn("no sidecar", self.refused_by("fairlead-sidecar", self.pod(bare)))
        self.api.create(a_pod("bare", self.plain, {INJECT: "enabled"}), dry_run=True)
        taken = changed(good, lambda pod: pod["spec"].setdefault("securityContext", {}).update(fsGroup=2103))
        self.assertIn("2103", eventually(lambda: self.refused_by("fairlead-users", self.pod(taken)), "in force"))
        pod = self.api.create(good)
        path = self.api.path("v1", "Pod", pod.name, self.meshed) + "/ephemeralcontainers"

        def debug(**security):
            body = {"spec": {"ephemeralContainers": [{"name": "debug", "image": "busybox:1", "securityContext": security}]}}
            self.api.request("PATCH", path, body, "application/strategic-merge-patch+json", dryRun="All")
        for security in ({"privileged": True}, {"capabilities": {"add": ["NET_ADMIN"]}}, {"capabilities": {"add": ["ALL"]}}):
            with self.subTest(security):
                self.assertIn("undo the pod's capture", self.refused_by("fairlead-users", lambda given=security: debug(**given)))
        debug(capabilities={"add": ["NET_BIND_SERVICE"]})


if __name__ == "__main__":
    main()
