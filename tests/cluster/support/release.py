"""A release of the product's chart on the control plane alone: nothing waits for its pods, since nothing runs them.

    release = Release(self, {"policies.enabled": False})       of a test, or of a class; gone after it
    release.upgrade({"webhook.url": …})
    injected("shop")                                           a pod as the webhook leaves it
"""
import json

import yaml

from . import chart, place

GOLDEN = place.TOP / "tests" / "golden" / "webhook"
VERSION = yaml.safe_load((place.CHARTS / "fairlead" / "Chart.yaml").read_text())["appVersion"]
POLICY, BINDING = "ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding"
ADMISSION = "admissionregistration.k8s.io/v1"


class Release:
    def __init__(self, lane, values=None, name="fairlead", namespace="fairlead-system"):
        self.lane, self.name, self.system = lane, name, namespace
        after = lane.addClassCleanup if isinstance(lane, type) else lane.addCleanup
        after(self.remove)
        self.upgrade(values)

    def upgrade(self, values=None):
        chart.helm("upgrade", "--install", self.name, place.CHARTS / "fairlead", "--namespace", self.system,
                   "--create-namespace", *chart.settings(values or {}))

    def remove(self):
        chart.helm("uninstall", self.name, "--namespace", self.system, "--ignore-not-found", "--wait", "--no-hooks")
        self.lane.api.delete("v1", "Namespace", self.system, missing_ok=True)
        for name in (self.system, "fairlead-cni"):
            self.lane.api.wait_gone("v1", "Namespace", name)  # the next release may want it


def account(name, namespace="fairlead-system"):
    """What to impersonate for a service account: its user, its groups."""
    return (f"system:serviceaccount:{namespace}:{name}", "system:serviceaccounts", f"system:serviceaccounts:{namespace}",
            "system:authenticated")


def apply_patch(document, operations):
    """RFC 6902, as far as the webhook's patches go."""
    document = json.loads(json.dumps(document))
    for operation in operations:
        *parents, key = [part.replace("~1", "/").replace("~0", "~") for part in operation["path"].split("/")[1:]]
        holder = document
        for part in parents:
            holder = holder[int(part)] if isinstance(holder, list) else holder[part]
        if isinstance(holder, list):
            key = len(holder) if key == "-" else int(key)
        if operation["op"] == "remove":
            del holder[key]
        elif operation["op"] == "add" and isinstance(holder, list):
            holder.insert(key, operation["value"])
        else:
            holder[key] = operation["value"]
    return document


def goldens():
    """(name, pod, pod as the webhook leaves it) of every golden admission with the default configuration and a patch."""
    for folder in sorted(GOLDEN.iterdir()):
        answer, pod = folder / "answer.json", folder / "pod.yaml"
        if not pod.exists() or (folder / "config.yaml").exists():
            continue
        text = answer.read_text().replace("<version>", VERSION)
        patch = json.loads(text).get("patch")
        if patch:
            before = yaml.safe_load(pod.read_text())
            yield folder.name, before, controlled(apply_patch(before, patch))


def controlled(pod):
    """With a control plane, as the chart has one: the goldens' configuration has none, so their sidecars name a bootstrap file."""
    for key in ("initContainers", "containers"):
        for container in pod["spec"].get(key, ()):
            if container["name"] == "fairlead-proxy" and container.get("args", [])[:1] == ["-c"]:
                del container["args"][:2]
    return pod


def creatable(pod, namespace, name="web"):
    """The same pod in a namespace that has neither its owners nor its service account."""
    meta = pod.setdefault("metadata", {})
    for key in ("ownerReferences", "creationTimestamp", "generateName"):
        meta.pop(key, None)
    for key in ("serviceAccountName", "serviceAccount"):
        pod["spec"].pop(key, None)
    meta.update(name=name, namespace=namespace)
    return pod


def injected(namespace, name="web", golden="deployment"):
    """A small pod as the webhook leaves it: of a golden admission."""
    pod = next(after for case, _, after in goldens() if case == golden)
    return creatable(pod, namespace, name)
