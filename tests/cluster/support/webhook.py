"""fairlead-webhook as a process, and the chart's configuration of the API server, which calls it by URL.

    webhook = Webhook(self)                        of a test, or of a class; in force when this returns
    space = webhook.namespace(self, inject="enabled")
    told(event)                                    what it noted in an audit event: {"outcome": …, "reason": …}
    asked(event)                                   which of the configuration's entries were asked

It has the chart's account and nothing but the chart's rights, and the chart's configuration file: namespaces come from the API
server, as in a pod. With policies=True the chart's policies are in force too.
"""
import json

from waiting import eventually

from . import chart, place
from .audit import noted_by
from .certificate import Authority
from .lane import a_pod

INJECT = "fairlead.io/inject"
OURS = ".inject.fairlead.io"  # the end of every entry's name
ACCOUNT, SYSTEM = "fairlead-webhook", "fairlead-system"
RIGHTS = ("ClusterRole", "ClusterRoleBinding")
POLICIES = ("ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding")


class Webhook:
    def __init__(self, lane, *options, values=None, policies=False):
        """options of the program; values of the chart."""
        self.lane, self.values, self.options = lane, values or {}, options
        self.system = lane.namespace("system")
        self.folder = lane.folder()
        self.authority = Authority(self.folder)
        self.certificate, self.key = self.authority.issue("webhook")
        self.make(self.rendered("", "ServiceAccount", *RIGHTS))
        self.kubeconfig = lane.api.kubeconfig(self.folder / "kubeconfig", ACCOUNT, self.system)
        self.config = self.folder / "config.yaml"
        self.config.write_text(self.rendered("", "ConfigMap")[0]["data"]["config.yaml"])
        self.port = 0
        self.start()
        kinds = ("MutatingWebhookConfiguration", *(POLICIES if policies else ()))
        self.make(self.rendered(f"https://{place.NODE_IP}:{self.port}/inject", *kinds))
        self.wait_in_force(lane)

    def start(self):
        """The process; once more after it was stopped, on the same port."""
        self.process = self.lane.program(
            "fairlead-webhook", "--listen", f"{place.NODE_IP}:{self.port}", "--tls-cert", self.certificate, "--tls-key", self.key,
            "--kubeconfig", self.kubeconfig, "--config", self.config, "--log-level", "debug", *self.options)
        self.port = self.process.wait("ready")["port"]

    def rendered(self, url, *kinds):
        """The chart's objects of these kinds, for this process."""
        values = {"certificate.mode": "secret", "webhook.url": url or f"https://{place.NODE_IP}/",
                  "webhook.caBundle": self.authority.bundle, **self.values}
        return [thing for thing in chart.render(values, namespace=self.system)
                if thing["kind"] in kinds and not thing["metadata"]["name"].startswith("fairlead-keeper")]

    def make(self, things):
        for thing in things:
            self.lane.create(thing)

    def namespace(self, whom, inject=None, labels=None, annotations=None, **more):
        """A new namespace, with the label where it is asked for."""
        labels = {**({INJECT: inject} if inject else {}), **(labels or {})}
        return whom.namespace("admission", labels=labels, annotations=annotations, **more)

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
