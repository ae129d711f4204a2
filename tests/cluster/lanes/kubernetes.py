#!/usr/bin/env python3
"""The cluster itself, without anything of ours: what the other lanes rely on."""
from support.api import claims
from support.lane import Lane, main
from support.place import HERE, run

NEEDS = "node"

ADMISSION, RBAC = "admissionregistration.k8s.io/v1", "rbac.authorization.k8s.io/v1"


class Kubernetes(Lane):
    def test_facts(self):
        said = run(HERE / "check" / "run")
        facts = [line for line in said.splitlines() if line.startswith("ok ")]
        self.assertEqual(len(facts), 28, said)

    def test_tokens_for_webhooks(self):
        """KEP-6060: whose token it is, which configuration it is bound to, and about which groups it may ask."""
        space, name = self.namespace(), self.unique("attests")
        for kind, more in (("ClusterRole", {"rules": [{"apiGroups": ["authentication.k8s.io"], "verbs": ["attest"],
                                                       "resources": ["admissionReviewAPIGroups"], "resourceNames": ["*"]}]}),
                           ("ClusterRoleBinding", {
                               "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name},
                               "subjects": [{"kind": "ServiceAccount", "name": "default", "namespace": space}]})):
            self.create({"apiVersion": RBAC, "kind": kind, "metadata": {"name": name}, **more})
        made = self.create({"apiVersion": ADMISSION, "kind": "MutatingWebhookConfiguration", "metadata": {"name": name}})
        said = claims(self.api.webhook_token("default", space, name, "https://a.test/inject"))
        self.assertEqual(said["aud"], ["https://a.test/inject"])
        self.assertEqual(said["sub"], f"system:serviceaccount:{space}:default")
        ours = said["kubernetes.io"]
        self.assertEqual(ours["attestations"], {"admissionReviewAPIGroups": ["*"]})
        self.assertEqual(ours["mutatingwebhookconfiguration"], {"name": name, "uid": made["metadata"]["uid"]})


if __name__ == "__main__":
    main()
