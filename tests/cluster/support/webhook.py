"""fairlead-webhook as a process, and the chart's configuration of the API server, which calls it by URL.

    webhook = Webhook(self)                        of a test, or of a class; in force when this returns
    space = webhook.namespace(self, inject="enabled")
    told(event)                                    what it noted in an audit event: {"outcome": …, "reason": …}
    asked(event)                                   which of the configuration's entries were asked
"""
import json

from waiting import eventually

from . import chart, place
from .audit import noted_by
from .certificate import Authority
from .lane import a_pod

INJECT = "fairlead.io/inject"
OURS = ".inject.fairlead.io"  # the end of every entry's name
NAMESPACES = """\
apiVersion: v1
kind: Namespace
metadata: {name: none}
"""


class Webhook:
    def __init__(self, lane, *options, values=None):
        """options of the program; values of the chart."""
        self.spaces, self.values = {}, values or {}
        folder = lane.folder()
        self.authority = Authority(folder)
        self.certificate, self.key = self.authority.issue("webhook")
        self.file = folder / "namespaces.yaml"
        self.tell_namespaces()
        self.process = lane.program(
            "fairlead-webhook", "--listen", f"{place.NODE_IP}:0", "--tls-cert", self.certificate, "--tls-key", self.key,
            "--namespaces", self.file, "--log-level", "debug", *options)
        self.port = self.process.wait("ready")["port"]
        self.configuration = lane.create(self.configured())
        self.wait_in_force(lane)

    def configured(self):
        """The chart's MutatingWebhookConfiguration, for this process."""
        rendered = chart.render({
            "certificate.mode": "secret", "webhook.url": f"https://{place.NODE_IP}:{self.port}/inject",
            "webhook.caBundle": self.authority.bundle, **self.values})
        return next(thing for thing in rendered if thing["kind"] == "MutatingWebhookConfiguration")

    def tell_namespaces(self):
        """The file that stands for the API until the webhook reads namespaces there."""
        documents = [NAMESPACES] + [json.dumps({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata})
                                    for metadata in self.spaces.values()]
        new = self.file.with_suffix(".new")
        new.write_text("\n---\n".join(documents))
        new.rename(self.file)

    def namespace(self, whom, inject=None, labels=None, annotations=None):
        """A new namespace that the webhook knows."""
        labels = {**({INJECT: inject} if inject else {}), **(labels or {})}
        name = whom.namespace("admission", labels=labels, annotations=annotations)
        self.spaces[name] = {"name": name, "labels": labels, "annotations": annotations or {}}
        self.tell_namespaces()
        self.process.wait("reloaded", what="namespaces")  # it looks every second
        return name

    def wait_in_force(self, lane):
        """The API server hears of a new configuration a moment after it was made."""
        pod = a_pod("asks", self.namespace(lane), {INJECT: "enabled"})

        def is_asked():
            lane.api.create(pod, dry_run=True)
            return self.process.said("injected", pod="asks")
        eventually(is_asked, "the webhook is asked")


def told(event):
    return noted_by(event, OURS)


def asked(event):
    """Entries of ours, in the order in which they were asked."""
    rounds = (json.loads(value) for key, value in sorted((event.get("annotations") or {}).items())
              if key.startswith("mutation.webhook.admission.k8s.io/"))
    return [one["webhook"] for one in rounds if one["webhook"].endswith(OURS)]
