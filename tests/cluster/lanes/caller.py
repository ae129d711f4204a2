#!/usr/bin/env python3
"""Who calls fairlead-webhook: the real API server's certificate and the tokens that it issues, beside strangers' own."""
import http.client
import json
import shutil
import ssl

from support.certificate import Authority
from support.lane import Lane, a_pod, containers, main
from support.place import NODE_IP, PKI, kubectl
from support.stream import Stream
from support.webhook import Webhook

NEEDS = "api"

NAME = "kube-apiserver-webhook-client"  # what this cluster's API server shows
AUDIENCE = "https://fairlead-webhook.fairlead-system.svc:443/inject"
ADMISSION, RBAC = "admissionregistration.k8s.io/v1", "rbac.authorization.k8s.io/v1"


class Caller(Lane):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.material = cls.folder()
        cls.roots, cls.keys = cls.material / "client-ca.crt", cls.material / "keys.json"
        shutil.copy(PKI / "ca.crt", cls.roots)
        cls.keys.write_text(kubectl("get", "--raw", "/openid/v1/jwks"))
        issuer = json.loads(kubectl("get", "--raw", "/.well-known/openid-configuration"))["issuer"]
        cls.webhook = Webhook(cls, "--client-ca", cls.roots, "--client-name", NAME, "--token", "when-present", "--token-keys",
                              cls.keys, "--token-issuer", issuer, "--token-audience", AUDIENCE)
        cls.space = cls.webhook.namespace(cls, inject="enabled")

    def post(self, pair=None, token=None):
        """A review of a stranger's own: the status of the answer."""
        context = ssl.create_default_context(cafile=str(self.webhook.authority.certificate))
        if pair:
            context.load_cert_chain(*pair)
        review = {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": {
            "uid": "1", "operation": "CREATE", "namespace": self.space, "kind": {"group": "", "version": "v1", "kind": "Pod"},
            "resource": {"group": "", "version": "v1", "resource": "pods"}, "object": a_pod("forged", self.space)}}
        headers = {"Content-Type": "application/json", **({"Authorization": f"Bearer {token}"} if token else {})}
        connection = http.client.HTTPSConnection(NODE_IP, self.webhook.port, timeout=10, context=context)
        connection.request("POST", "/inject", json.dumps(review), headers)
        status = connection.getresponse().status
        connection.close()
        return status

    @property
    def server(self):
        return PKI / "apiserver-webhook-client.crt", PKI / "apiserver-webhook-client.key"

    def test_api_server(self):
        self.assertEqual(containers(self.api.create(a_pod("mine", self.space))), ["fairlead-proxy", "app"])

    def test_strangers(self):
        stranger = Authority(self.folder(), "stranger").issue(NAME, usage="clientAuth")
        for what, pair in (("none", None), ("of another root", stranger),
                           ("of the cluster's root, another name", (PKI / "admin.crt", PKI / "admin.key")),
                           ("of the cluster's root, a kubelet's", (PKI / "kubelet.crt", PKI / "kubelet.key"))):
            with self.subTest(what):
                self.assertEqual(self.post(pair), 403)
        self.assertEqual(self.post(self.server), 200)  # the key is the API server's, and so is who has it

    def attesting(self):
        """An account that may attest, and a configuration to be bound to."""
        space, name = self.namespace(), self.unique("attests")
        for kind, more in (("ClusterRole", {"rules": [{"apiGroups": ["authentication.k8s.io"], "verbs": ["attest"],
                                                       "resources": ["admissionReviewAPIGroups"], "resourceNames": ["*"]}]}),
                           ("ClusterRoleBinding", {
                               "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name},
                               "subjects": [{"kind": "ServiceAccount", "name": "default", "namespace": space}]})):
            self.create({"apiVersion": RBAC, "kind": kind, "metadata": {"name": name}, **more})
        self.create({"apiVersion": ADMISSION, "kind": "MutatingWebhookConfiguration", "metadata": {"name": name}})
        return space, name

    def test_tokens(self):
        """As Kubernetes 1.37 issues them."""
        space, name = self.attesting()
        good = self.api.webhook_token("default", space, name, AUDIENCE)
        self.assertEqual(self.post(self.server, good), 200)
        self.assertEqual(self.post(None, good), 403)  # both are asked for
        for what, token in (("for another webhook", self.api.webhook_token("default", space, name, "https://a.b.svc:443/")),
                            ("that any pod may have", self.api.token("default", space, AUDIENCE)),
                            ("for the API server", self.api.token("default", space)), ("of nobody", "a.b.c")):
            with self.subTest(what):
                self.assertEqual(self.post(self.server, token), 401)

    def test_roots_are_exchanged(self):
        """Under a stream of creations: not one fails while the file has two roots, a bad text, and one again."""
        other = Authority(self.folder(), "next")
        old = self.roots.read_text()

        def write(text):
            new = self.roots.with_suffix(".new")
            new.write_text(text)
            new.rename(self.roots)
        with Stream(self.api, lambda name: a_pod(name, self.space)) as stream:
            stream.wait(20)
            write(other.certificate.read_text() + old)
            self.webhook.process.wait("reloaded", what="client_ca")
            stream.wait(20)
            write("nothing that is a certificate\n")
            self.webhook.process.wait("not reloaded, the old one stays", what="client_ca")
            stream.wait(20)
            write(old)
            self.webhook.process.wait("reloaded", what="client_ca")
            stream.wait(20)
        self.assertEqual(stream.failures, [])


if __name__ == "__main__":
    main()
