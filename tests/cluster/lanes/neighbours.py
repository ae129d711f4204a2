#!/usr/bin/env python3
"""Other people's mutating webhooks, before ours and after it: whatever they do to pods, the sidecar ends up in its form, every probe
of every app goes by way of it, and nothing that they added to apps is lost. Configurations are asked in the order of their names.

Who comes after ours and is asked once, as most are, is repaired when the API server asks ours again. Who is asked again as well, and
strips the sidecar each time, has the last word; then the chart's policy refuses the pod.
"""
import json

from support.api import ApiError
from support.hook import Hook
from support.lane import Lane, a_pod, containers, main
from support.webhook import Webhook
from waiting import eventually

NEEDS = "api"

SELECT = {"neighbours": "yes"}
FORMS = {"native": {}, "classic": {"fairlead.io/native-sidecar": "disabled"}}
PROBES = {"startupProbe": "startupz", "readinessProbe": "readyz", "livenessProbe": "livez"}
EXTRA = {"name": "EXTRA", "value": "1"}
SIDECAR = "fairlead-proxy"
GATE = "fairlead-gate"


def every(pod):
    return pod["spec"].get("initContainers", []) + pod["spec"]["containers"]


def named(pod, name):
    return next(container for container in every(pod) if container["name"] == name)


def add_environment(pod):
    for container in every(pod):
        if EXTRA not in container.setdefault("env", []):
            container["env"].append(EXTRA)


def add_probes(pod):
    """To every container that may have one and has none, ours too."""
    for container in every(pod):
        if container["name"] not in ("setup", GATE):
            container.setdefault("livenessProbe", {"httpGet": {"port": 8081, "path": "/alive"}})


def add_containers(pod):
    """One in front and one behind, and a volume."""
    names = [container["name"] for container in pod["spec"]["containers"]]
    if "front" not in names:
        volume = {"name": "theirs", "emptyDir": {}}
        mount = [{"name": "theirs", "mountPath": "/theirs"}]
        pod["spec"].setdefault("volumes", []).append(volume)
        probe = {"tcpSocket": {"port": 7000}}
        pod["spec"]["containers"].insert(0, {"name": "front", "image": "front:1", "readinessProbe": probe, "volumeMounts": mount})
        pod["spec"]["containers"].append({"name": "back", "image": "back:1", "volumeMounts": mount})


def reorder(pod):
    for key in ("initContainers", "containers"):
        pod["spec"][key] = pod["spec"].get(key, [])[::-1]


def strip(pod):
    """As a program does that was built before sidecars: members that it does not know are gone."""
    for container in pod["spec"].get("initContainers", []):
        for key in ("restartPolicy", "startupProbe", "lifecycle"):
            container.pop(key, None)


def take_away(pod):
    """All of the sidecar, its volumes and its annotations."""
    for key in ("initContainers", "containers"):
        pod["spec"][key] = [one for one in pod["spec"].get(key, []) if one["name"] not in (SIDECAR, GATE)]
    for container in every(pod):
        container.pop("volumeMounts", None)
    pod["spec"]["volumes"] = [one for one in pod["spec"].get("volumes", []) if not one["name"].startswith("fairlead-")]
    for key in ("capture", "status"):
        pod["metadata"].get("annotations", {}).pop(f"fairlead.io/{key}", None)


CHANGES = {change.__name__: change for change in (add_environment, add_probes, add_containers, reorder, strip, take_away)}


def app_pod(name, space, annotations):
    return a_pod(name, space, annotations=annotations, initContainers=[{"name": "setup", "image": "setup:1"}], containers=[
        {"name": "app", "image": "app:1", "ports": [{"name": "web", "containerPort": 8080}],
         "readinessProbe": {"httpGet": {"port": "web", "path": "/ready"}}, "livenessProbe": {"grpc": {"port": 9090}},
         "lifecycle": {"preStop": {"httpGet": {"port": "web", "path": "/bye"}}}},
        {"name": "other", "image": "other:1", "startupProbe": {"tcpSocket": {"port": 6000}}}])


class Neighbours(Lane):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.webhook = Webhook(cls, policies=True)
        cls.space = cls.webhook.namespace(cls, inject="enabled", labels=SELECT)
        cls.plain = cls.webhook.namespace(cls, labels=SELECT)
        quiet = cls.webhook.namespace(cls, inject="enabled")
        cls.forms = {form: cls.api.create(app_pod("web", quiet, notes), dry_run=True) for form, notes in FORMS.items()}

    def beside(self, *hooks):
        """Asks until all hooks are in force."""
        def in_force():
            for hook in hooks:
                hook.seen.clear()
            self.api.create(app_pod("asks", self.plain, {}), dry_run=True)
            return all(hook.seen for hook in hooks)
        eventually(in_force, "others' webhooks are asked")

    def check_form(self, form, pod):
        """The sidecar is first, and has every member that ours gave it; before a classic one stands its gate."""
        key = "initContainers" if form == "native" else "containers"
        self.assertEqual(pod["spec"][key][0]["name"], SIDECAR)
        self.assertEqual(containers(pod).count(SIDECAR), 1)
        is_there, wanted = pod["spec"][key][0], self.forms[form]["spec"][key][0]
        for member, value in wanted.items():
            if member == "env":
                self.assertLessEqual({json.dumps(one) for one in value}, {json.dumps(one) for one in is_there["env"]})
            elif member != "volumeMounts":
                self.assertEqual(is_there.get(member), value, member)
        self.assertLessEqual({json.dumps(one) for one in wanted["volumeMounts"]}, {json.dumps(one) for one in is_there["volumeMounts"]})
        gates = [one["name"] for one in pod["spec"].get("initContainers", [])].count(GATE)
        self.assertEqual(gates, 0 if form == "native" else 1)
        if form == "classic":
            gate, wanted = pod["spec"]["initContainers"][0], self.forms[form]["spec"]["initContainers"][0]
            for member in ("name", "image", "args", "resources", "securityContext"):
                self.assertEqual(gate[member], wanted[member], member)
            self.assertLessEqual({json.dumps(one) for one in wanted["env"]}, {json.dumps(one) for one in gate["env"]})
        self.assertLessEqual({"fairlead-proxy", "fairlead-token"}, {volume["name"] for volume in pod["spec"]["volumes"]})
        self.assertEqual(pod["metadata"]["annotations"]["fairlead.io/capture"], self.forms[form]["metadata"]["annotations"]["fairlead.io/capture"])

    def check_probes(self, pod):
        """No probe of an app goes past the sidecar, and the table has what each was."""
        table = json.loads(pod["metadata"]["annotations"]["fairlead.io/probes"])["probes"]
        known = {(row["container"], row["kind"]) for row in table}
        found = set()
        for container in every(pod):
            if container["name"] == SIDECAR:
                continue
            for key, kind in PROBES.items():
                probe = container.get(key)
                if probe is not None:
                    path = f"/app-health/{container['name']}/{kind}"
                    self.assertEqual((probe["httpGet"]["port"], probe["httpGet"]["path"]), (15020, path))
                    found.add((container["name"], kind))
        self.assertEqual(known - {("app", "prestopz")}, found)
        originals = {(row["container"], row["kind"]): row for row in table}
        self.assertEqual(originals["app", "readyz"]["httpGet"]["port"], 8080)
        self.assertEqual(originals["app", "livez"]["grpc"]["port"], 9090)
        self.assertEqual(originals["other", "startupz"]["tcpSocket"]["port"], 6000)

    def check_theirs(self, change, pod):
        if change == "add_environment":
            for container in every(pod):
                if container["name"] not in (SIDECAR, GATE):  # which take no environment of others', on purpose (webhook/overlay.h)
                    self.assertIn(EXTRA, container["env"], container["name"])
        elif change == "add_containers":
            self.assertLessEqual({"front", "back"}, set(containers(pod)))
            self.assertIn("theirs", [volume["name"] for volume in pod["spec"]["volumes"]])
            self.assertEqual(named(pod, "back")["volumeMounts"][-1]["mountPath"], "/theirs")
        elif change == "add_probes":
            self.assertIn("livenessProbe", named(pod, "other"))
        self.assertLessEqual({"app", "other", "setup"}, set(containers(pod)))

    def test_one(self):
        """Each of them, before and after, asked once; both forms."""
        for change, function in CHANGES.items():
            for name in (f"a-{change.replace('_', '-')}", f"z-{change.replace('_', '-')}"):
                hook = Hook(self, name, function, select=SELECT, reinvocation="Never")
                self.beside(hook)
                for form, notes in FORMS.items():
                    with self.subTest(name, form=form):
                        pod = self.api.create(app_pod("web", self.space, notes), dry_run=True)
                        self.check_form(form, pod)
                        self.check_probes(pod)
                        self.check_theirs(change, pod)
                self.api.delete("admissionregistration.k8s.io/v1", "MutatingWebhookConfiguration", name)
                eventually(lambda other=hook: self.is_forgotten(other), "no longer asked")

    def is_forgotten(self, hook):
        hook.seen.clear()
        self.api.create(app_pod("asks", self.plain, {}), dry_run=True)
        return not hook.seen

    def test_all_at_once(self):
        """All that add, on both sides, asked again as often as the API server likes; and the result, made again, stays as it is."""
        hooks = [Hook(self, f"{side}-{number}", function, select=SELECT) for side in "az"
                 for number, function in enumerate((add_environment, add_probes, add_containers))]
        self.beside(*hooks)
        for form, notes in FORMS.items():
            with self.subTest(form):
                pod = self.api.create(app_pod("web", self.space, notes), dry_run=True)
                self.check_form(form, pod)
                self.check_probes(pod)
                for change in ("add_environment", "add_containers", "add_probes"):
                    self.check_theirs(change, pod)
                kept = {key: pod["metadata"][key] for key in ("name", "namespace", "labels", "annotations")}
                again = self.api.create({"apiVersion": "v1", "kind": "Pod", "metadata": kept, "spec": pod["spec"]}, dry_run=True)
                self.assertEqual(again["spec"], pod["spec"])
                self.assertEqual(again["metadata"]["annotations"], pod["metadata"]["annotations"])

    def test_last_word(self):
        """Stripped each time: ours cannot win, and the policy does not let the pod by."""
        def strip_more(pod):
            strip(pod)
            for container in pod["spec"].get("initContainers", []):
                container.pop("readinessProbe", None)
        hook = Hook(self, "z-strip", strip_more, select=SELECT)
        self.beside(hook)
        with self.assertRaisesRegex(ApiError, "ValidatingAdmissionPolicy 'fairlead-(sidecar|capture)'"):
            self.api.create(app_pod("web", self.space, {}), dry_run=True)


if __name__ == "__main__":
    main()
