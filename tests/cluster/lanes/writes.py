#!/usr/bin/env python3
"""What control plane and deployer may write whatever rights their accounts are given: with all of them, it is a policy that holds them."""
import json

from support import gatewayapi, place
from support.lane import main
from support.policy import PolicyLane, changed
from support.release import Release, account

NEEDS = "api"

CONTROL, DEPLOYER = account("fairlead-control"), account("fairlead-deployer")
LABEL = "gateway.networking.k8s.io/gateway-name"
GOLDEN = place.TOP / "tests" / "golden" / "gateway"
KINDS = {"ServiceAccount": "account", "Service": "service", "Deployment": "deployment", "PodDisruptionBudget": "budget"}


class Writes(PolicyLane):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        gatewayapi.install(cls)  # what is owned by nothing does not last where the collector of garbage knows the owner's kind
        Release(cls)
        cls.plain = cls.namespace("plain")
        cls.uid = cls.api.create(gatewayapi.gateway("edge", cls.plain, class_name="nobodys"))["metadata"]["uid"]

    def made(self, kind, change=lambda thing: None, name="edge"):
        """What the deployer makes for a Gateway, `change` let at it."""
        text = (GOLDEN / f"{KINDS[kind]}.json").read_text()
        for before, after in (("shop", self.plain), ("edge", name), ("edge-fairlead", f"{name}-fairlead"), ("u-1", self.uid)):
            text = text.replace(f'"{before}"', f'"{after}"')
        return changed(json.loads(text), change)

    def test_control_writes_its_secret_and_the_bundle(self):
        def thing(kind, name, space="fairlead-system", **more):
            return {"apiVersion": "v1", "kind": kind, "metadata": {"name": name, "namespace": space}, **more}

        control = self.almighty(CONTROL, thing("Secret", "fairlead-ca"))

        def act(*said, **more):
            return lambda: control.create(thing(*said, **more), dry_run=True)

        for kind in ("Secret", "ConfigMap"):
            self.create(thing(kind, "somebodys", self.plain))
        token = thing("Secret", "fairlead-ca", type="kubernetes.io/service-account-token")
        token["metadata"]["annotations"] = {"kubernetes.io/service-account.name": "fairlead-deployer"}
        hostile = {
            "another Secret": (act("Secret", "evil"), "no other"),
            "the keeper's": (act("Secret", "fairlead-webhook-ca"), "no other"),
            "a Secret of its name elsewhere": (act("Secret", "fairlead-ca", self.plain), "no other"),
            "a token of another account": (lambda: control.create(token, dry_run=True), "token"),
            "another ConfigMap": (act("ConfigMap", "evil"), "no other"),
            "changes somebody's": (lambda: control.patch("v1", "ConfigMap", "somebodys", {"data": {"a": "b"}}, self.plain, dry_run=True), "no other"),
            "deletes somebody's": (lambda: control.request("DELETE", control.path("v1", "Secret", "somebodys", self.plain), dryRun="All"), "no other"),
        }
        harmless = {"the root": act("Secret", "fairlead-ca"), "a bundle": act("ConfigMap", "fairlead-root", self.plain),
                    "an administrator": lambda: self.api.create(thing("Secret", "another"), dry_run=True)}
        self.check("fairlead-control.writes", hostile, harmless)

    def test_deployer_writes_what_is_a_gateways(self):
        deployer = self.almighty(DEPLOYER, self.made("Service"))
        for kind in ("Service", "PodDisruptionBudget"):
            self.api.create(self.made(kind))
        self.api.create({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web-fairlead", "namespace": self.plain}, "spec": {"ports": [{"port": 80}]}})

        def act(*said, **more):
            return lambda: deployer.create(self.made(*said, **more), dry_run=True)

        def service(change):
            return act("Service", lambda thing: change(thing["metadata"]), name="new")

        def pod(**spec):
            return act("Deployment", lambda thing: thing["spec"]["template"]["spec"].update(spec))

        def volume(**source):
            def swap(thing):
                thing["spec"]["template"]["spec"]["volumes"][0] = {"name": thing["spec"]["template"]["spec"]["volumes"][0]["name"], **source}
            return act("Deployment", swap)

        def patch(name, **metadata):
            return lambda: deployer.patch("v1", "Service", name, {"metadata": metadata}, self.plain, dry_run=True)

        def delete(version, kind, name="edge-fairlead"):
            return lambda: deployer.request("DELETE", deployer.path(version, kind, name, self.plain), dryRun="All")

        head = self.made("Service", name="web")["metadata"]
        hostile = {
            "another name": (service(lambda meta: meta.update(name="web")), "named <gateway>-fairlead"),
            "of another Gateway": (service(lambda meta: meta["labels"].update({LABEL: "other"})), "the label"),
            "without a label": (service(lambda meta: meta.pop("labels")), "the label"),
            "owned by nobody": (service(lambda meta: meta.pop("ownerReferences")), "owned by"),
            "owned by something else": (service(lambda meta: meta["ownerReferences"][0].update(kind="Service", apiVersion="v1")), "owned by"),
            "owned by another Gateway": (service(lambda meta: meta["ownerReferences"][0].update(name="other")), "owned by"),
            "takes over somebody's": (patch("web-fairlead", labels=head["labels"], ownerReferences=head["ownerReferences"]), "owned by"),
            "gives its own away": (patch("edge-fairlead", ownerReferences=None), "owned by"),
            "deletes somebody's": (delete("v1", "Service", "web-fairlead"), "owned by"),
            "another account": (pod(serviceAccountName="default"), "the service account"),
            "no account": (pod(serviceAccountName=None), "the service account"),
            "the node's network": (pod(hostNetwork=True, securityContext={}), "node's namespaces"),
            "the node's processes": (pod(hostPID=True), "node's namespaces"),
            "the node's files": (volume(hostPath={"path": "/"}), "no volumes but"),
            "a Secret": (volume(secret={"secretName": "x"}), "no volumes but"),
            "a Secret, projected": (volume(projected={"sources": [{"secret": {"name": "x"}}]}), "no volumes but"),
        }
        harmless = {kind: act(kind, name="new") for kind in KINDS}
        harmless |= {"changes its own": patch("edge-fairlead", labels={"team": "b"}), "deletes a budget": delete("policy/v1", "PodDisruptionBudget"),
                     "deletes a Service that is a Gateway's": delete("v1", "Service"),
                     "an administrator": lambda: self.api.create(self.made("Service", lambda thing: thing["metadata"].pop("labels"), name="new"), dry_run=True)}
        self.check("fairlead-deployer.writes", hostile, harmless)


if __name__ == "__main__":
    main()
