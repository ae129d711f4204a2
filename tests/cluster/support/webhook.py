"""fairlead-webhook as a process, and the configuration that makes the API server call it by URL.

    webhook = Webhook(self)                        of a test, or of a class; in force when this returns
    space = webhook.namespace(self, inject="enabled")
"""
from waiting import eventually

from . import place
from .certificate import Authority
from .lane import a_pod

HOOK = "pod.inject.fairlead.io"
INJECT = "fairlead.io/inject"
SCOPE = "fairlead.test/admission"  # a label: whose pods are asked about
NAMESPACES = """\
apiVersion: v1
kind: Namespace
metadata: {name: none}
"""


class Webhook:
    def __init__(self, lane, *options, name="fairlead-admission"):
        self.lane, self.name, self.spaces = lane, name, {}
        folder = lane.folder()
        self.authority = Authority(folder)
        self.certificate, self.key = self.authority.issue("webhook")
        self.file = folder / "namespaces.yaml"
        self.tell_namespaces()
        self.process = lane.program(
            "fairlead-webhook", "--listen", f"{place.NODE_IP}:0", "--tls-cert", self.certificate, "--tls-key", self.key,
            "--namespaces", self.file, "--log-level", "debug", *options)
        self.port = self.process.wait("ready")["port"]
        lane.create(self.configuration())
        self.wait_in_force()

    def configuration(self):
        return {
            "apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingWebhookConfiguration",
            "metadata": {"name": self.name},
            "webhooks": [{
                "name": HOOK, "admissionReviewVersions": ["v1"], "sideEffects": "None", "failurePolicy": "Fail",
                "timeoutSeconds": 5, "reinvocationPolicy": "IfNeeded", "matchPolicy": "Equivalent",
                "namespaceSelector": {"matchLabels": {SCOPE: "yes"}},
                "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}],
                "clientConfig": {"url": f"https://{place.NODE_IP}:{self.port}/inject", "caBundle": self.authority.bundle}}]}

    def tell_namespaces(self):
        """The file that stands for the API until the webhook reads namespaces there."""
        documents = [NAMESPACES] + [
            f"apiVersion: v1\nkind: Namespace\nmetadata: {{name: {name}, labels: {{{labels}}}}}\n"
            for name, labels in self.spaces.items()]
        new = self.file.with_suffix(".new")
        new.write_text("---\n".join(documents))
        new.rename(self.file)

    def namespace(self, whom, inject=None):
        """A namespace whose pods the API server asks about, known to the webhook."""
        labels = {SCOPE: "yes", **({INJECT: inject} if inject else {})}
        name = whom.namespace("admission", labels=labels)
        self.spaces[name] = ", ".join(f'{key}: "{value}"' for key, value in labels.items())
        self.tell_namespaces()
        self.process.wait("reloaded", what="namespaces")  # it looks every second
        return name

    def wait_in_force(self):
        """The API server hears of a new configuration a moment after it was made."""
        space = self.lane.namespace("in-force", labels={SCOPE: "yes"})
        pod = a_pod("asks", space)

        def asked():
            self.lane.api.create(pod, dry_run=True)
            return self.process.said("skipped", pod="asks")
        eventually(asked, "the webhook is asked")
