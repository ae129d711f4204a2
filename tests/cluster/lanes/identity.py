#!/usr/bin/env python3
"""Identity and leadership of fairlead-control on a real API server: tokens judged by TokenReview, the root in a Secret,
an intermediate from `cacerts`, roots rotated under callers, the bundle in every namespace, the Lease.

The control planes run beside the cluster with a service account's rights, which are those of RULES and no more. What a
sidecar asks for is asked for by Python's gRPC.
"""
import base64
import subprocess
import threading
import time

import grpc
from waiting import eventually
from wire import field, fields

from support.api import ApiError
from support.lane import Lane, a_pod, main
from support import place

NEEDS = "api"
MINUTES = 10

AUDIENCE = "fairlead-ca"
RBAC = "rbac.authorization.k8s.io/v1"
CREATE = "/istio.v1.auth.IstioCertificateService/CreateCertificate"
BUNDLE = "fairlead-root"
WAIT_S = 20
TRUST = "fairlead.io:mesh:root"

EVERYWHERE = [
    {"apiGroups": [""], "resources": ["namespaces", "pods", "services", "serviceaccounts"], "verbs": ["list", "watch"]},
    {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": ["list", "watch"]},
    {"apiGroups": ["gateway.networking.k8s.io", "fairlead.io"], "resources": ["*"], "verbs": ["list", "watch"]},
    {"apiGroups": ["authentication.k8s.io"], "resources": ["tokenreviews"], "verbs": ["create"]},
    {"apiGroups": [""], "resources": ["configmaps"], "resourceNames": [BUNDLE], "verbs": ["list", "watch", "create", "patch"]},
    {"apiGroups": ["certificates.k8s.io"], "resources": ["clustertrustbundles"], "resourceNames": [TRUST],
     "verbs": ["create", "patch"]},
    {"apiGroups": ["certificates.k8s.io"], "resources": ["signers"], "resourceNames": ["fairlead.io/mesh"], "verbs": ["attest"]},
]
OWN = [
    {"apiGroups": [""], "resources": ["secrets"], "verbs": ["create"]},
    {"apiGroups": [""], "resources": ["secrets"], "resourceNames": ["fairlead-ca"], "verbs": ["get", "patch"]},
    {"apiGroups": [""], "resources": ["secrets"], "resourceNames": ["cacerts"], "verbs": ["get"]},
    {"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": ["create"]},
    {"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "resourceNames": ["fairlead-control"], "verbs": ["get", "patch"]},
]


def openssl(*arguments, text=None):
    done = subprocess.run(["openssl", *map(str, arguments)], input=text, text=True, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def split(pem):
    end = "-----END CERTIFICATE-----\n"
    return [part + end for part in pem.split(end) if "BEGIN" in part]


class Caller:
    """Asks for a certificate as a sidecar does, at one control plane."""

    def __init__(self, lane, port, roots):
        self.lane = lane
        options = [("grpc.ssl_target_name_override", "fairlead-control.test"), ("grpc.use_local_subchannel_pool", 1)]
        self.channel = grpc.secure_channel(f"127.0.0.1:{port}", grpc.ssl_channel_credentials(roots.encode()), options)
        lane.later(self.channel.close)
        self.call = self.channel.unary_unary(CREATE)

    def ask(self, token):
        """The chain's certificates, the roots last."""
        answer = self.call(field(1, Identity.csr), metadata=[("authorization", "Bearer " + token)], timeout=WAIT_S)
        return [value.decode() for number, value in fields(answer) if number == 1]

    def refused(self, token):
        """Code and word."""
        with self.lane.assertRaises(grpc.RpcError) as caught:
            self.ask(token)
        return caught.exception.code(), caught.exception.details()


class Identity(Lane):
    csr = ""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        folder = cls.folder()
        openssl("req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/",
                "-keyout", folder / "key", "-out", folder / "csr")
        Identity.csr = (folder / "csr").read_text()

    def setUp(self):
        self.space = self.namespace("installation")
        self.create({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "control", "namespace": self.space}})
        subjects = [{"kind": "ServiceAccount", "name": "control", "namespace": self.space}]
        for kind, rules, metadata in (("ClusterRole", EVERYWHERE, {"name": self.space}),
                                      ("Role", OWN, {"name": "control", "namespace": self.space})):
            self.create({"apiVersion": RBAC, "kind": kind, "metadata": metadata, "rules": rules})
            self.create({"apiVersion": RBAC, "kind": kind + "Binding", "metadata": metadata, "subjects": subjects,
                         "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": metadata["name"]}})
        self.later(self.api.delete, "certificates.k8s.io/v1", "ClusterTrustBundle", TRUST, None, True)
        self.kubeconfig = self.api.kubeconfig(self.folder() / "kubeconfig", "control", self.space)

    def control(self, *options):
        """One that runs; its log tells the rest."""
        return self.program("fairlead-control", "--source", "kubernetes", "--kubeconfig", self.kubeconfig, "--namespace",
                            self.space, "--listen", "127.0.0.1:0", "--http", "127.0.0.1:0", "--server-name",
                            "fairlead-control.test", "--ca-look", "1", "--lease-duration", "3", *options)

    def bundle(self, space=None):
        """The text in a namespace; None: there is none."""
        try:
            return self.api.get("v1", "ConfigMap", BUNDLE, space or self.space)["data"]["root-cert.pem"]
        except ApiError as error:
            if error.status != 404:
                raise
            return None

    def caller(self, control):
        port = control.wait("ready")["port"]
        return Caller(self, port, eventually(self.bundle, "the trust bundle"))

    def pod(self, name="web", space=None):
        """It is never scheduled, and a token may be bound to it all the same."""
        return self.api.create(a_pod(name, space or self.space, nodeSelector={"nowhere": "true"}))

    def token(self, *audiences, pod=None, space=None, account="default"):
        spec = {"expirationSeconds": 3600, "audiences": list(audiences or [AUDIENCE])}
        if pod is not None:
            spec["boundObjectRef"] = {"kind": "Pod", "apiVersion": "v1", "name": pod.name, "uid": pod["metadata"]["uid"]}
        path = self.api.path("v1", "ServiceAccount", account, space or self.space) + "/token"
        return self.api.request("POST", path, {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest",
                                               "spec": spec})["status"]["token"]

    def assert_verifies(self, chain, roots):
        """By the roots that somebody trusted before he asked."""
        folder = self.folder()
        (folder / "roots").write_text(roots)
        (folder / "chain").write_text("".join(chain[1:-1]))
        (folder / "leaf").write_text(chain[0])
        openssl("verify", "-CAfile", folder / "roots", *(("-untrusted", folder / "chain") if len(chain) > 2 else ()),
                folder / "leaf")

    # -- tokens ---------------------------------------------------------------------------------------------------------

    def test_tokens(self):
        control = self.control()
        caller = self.caller(control)
        pod = self.pod()
        chain = caller.ask(self.token(pod=pod))
        names = openssl("x509", "-noout", "-ext", "subjectAltName", text=chain[0])
        self.assertIn(f"URI:spiffe://cluster.local/ns/{self.space}/sa/default", names)
        self.assertEqual(chain[-1], self.bundle())
        self.assertTrue(caller.ask(self.token()))  # bound to no pod
        unauthenticated = grpc.StatusCode.UNAUTHENTICATED
        # Another audience, the API server's own among them: not even asked about.
        self.assertEqual(caller.refused(self.token("other")), (unauthenticated, "token_audience"))
        self.assertEqual(caller.refused(self.token("https://kubernetes.default.svc")), (unauthenticated, "token_audience"))
        # Genuine in form, and somebody else's signature.
        head, claims, signature = self.token(pod=pod).split(".")
        self.assertEqual(caller.refused(".".join((head, claims, signature[:-8] + "AAAAAAAA"))), (unauthenticated, "token_refused"))
        self.assertEqual(caller.refused("x"), (unauthenticated, "token_malformed"))
        # The pod is gone: a token that nobody has shown yet gets nothing, one that is known does not for long.
        unused, used = self.token(pod=pod), self.token(pod=pod)
        caller.ask(used)
        self.api.delete("v1", "Pod", pod.name, self.space, now=True)
        self.api.wait_gone("v1", "Pod", pod.name, self.space)
        self.assertEqual(caller.refused(unused), (unauthenticated, "token_refused"))
        end = time.monotonic() + 30
        while True:
            try:
                caller.ask(used)
            except grpc.RpcError as error:
                self.assertEqual(error.details(), "token_refused")
                break
            self.assertLess(time.monotonic(), end)
            time.sleep(0.5)
        # A pod of the same name is another one, and its token is good.
        self.assertTrue(caller.ask(self.token(pod=self.pod())))
        self.assertEqual(control.stop(), 0)

    # -- the certificate authority --------------------------------------------------------------------------------------

    def test_two_replicas_that_start_at_once_have_one_root(self):
        both = [self.control(), self.control()]
        callers = [self.caller(control) for control in both]
        token, root = self.token(), self.bundle()
        for caller in callers:
            self.assert_verifies(caller.ask(token), root)
        secret = self.api.get("v1", "Secret", "fairlead-ca", self.space)
        self.assertEqual(list(secret["data"]), ["root-1.pem"])
        key = base64.b64decode(secret["data"]["root-1.pem"]).decode().split("-----BEGIN CERT")[0].strip()
        self.assertIn("PRIVATE KEY", key)
        lines = key.splitlines()[1:-1]
        der = base64.b64decode("".join(lines))
        begin = der.index(b"\x04\x20") + 2
        secrets = (lines[0].encode(), lines[1].encode(), der[begin:begin + 32])  # as text, and the number itself
        for control in both:  # it never was in the process that everybody talks to
            with open(f"/proc/{control.pid}/maps", encoding="ascii") as maps, open(f"/proc/{control.pid}/mem", "rb") as memory:
                for line in maps:
                    span, rights = line.split()[:2]
                    if not rights.startswith("rw") or "[v" in line:
                        continue
                    begin, end = (int(part, 16) for part in span.split("-"))
                    memory.seek(begin)
                    there = memory.read(end - begin)
                    self.assertFalse(any(secret in there for secret in secrets), line)
        # A replica that comes later reads what is there.
        self.assert_verifies(self.caller(self.control()).ask(token), root)

    def intermediate(self, folder, name):
        """Signed by the root of the folder, made where it is missing; as the Secret's data."""
        if not (folder / "root.pem").exists():
            openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", 30, "-subj",
                    "/CN=given root", "-keyout", folder / "root.key", "-out", folder / "root.pem")
        (folder / "extensions").write_text("basicConstraints=critical,CA:TRUE,pathlen:0\nkeyUsage=critical,keyCertSign,cRLSign\n")
        openssl("req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", f"/CN={name}",
                "-keyout", folder / "ca.key", "-out", folder / "ca.csr")
        openssl("x509", "-req", "-in", folder / "ca.csr", "-CA", folder / "root.pem", "-CAkey", folder / "root.key",
                "-CAcreateserial", "-days", 20, "-extfile", folder / "extensions", "-out", folder / "ca.pem")
        files = {"ca-cert.pem": "ca.pem", "ca-key.pem": "ca.key", "root-cert.pem": "root.pem", "cert-chain.pem": "ca.pem"}
        return {key: base64.b64encode((folder / path).read_bytes()).decode() for key, path in files.items()}

    @staticmethod
    def issuer(chain):
        return openssl("x509", "-noout", "-issuer", text=chain[0]).strip()

    def test_cacerts_are_swapped_under_callers(self):
        folder = self.folder()
        secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "cacerts", "namespace": self.space}}
        self.api.create({**secret, "data": self.intermediate(folder, "first")})
        control = self.control()
        caller, token, failures, over = self.caller(control), self.token(), [], threading.Event()
        root = (folder / "root.pem").read_text()
        self.assertEqual(self.bundle(), root)
        self.assertIn("first", self.issuer(caller.ask(token)))
        with self.assertRaises(ApiError):  # none of our own is made beside a given one
            self.api.get("v1", "Secret", "fairlead-ca", self.space)

        def load():
            while not over.is_set():
                try:
                    caller.ask(token)
                except grpc.RpcError as error:
                    failures.append((error.code(), error.details()))
                time.sleep(0.1)  # the address' own rate is 20 a second
        thread = threading.Thread(target=load)
        thread.start()
        try:
            self.api.patch("v1", "Secret", "cacerts", {"data": self.intermediate(folder, "second")}, self.space)
            chain = eventually(lambda: (lambda chain: chain if "second" in self.issuer(chain) else None)(caller.ask(token)),
                               "the second intermediate")
            self.assert_verifies(chain, root)
            # One whose key is another's is refused by name; the second goes on.
            other = self.folder()
            broken = self.intermediate(other, "third")
            self.api.patch("v1", "Secret", "cacerts", {"data": {"ca-key.pem": broken["ca-key.pem"]}}, self.space)
            said = control.wait("new issuer refused, the old one stays")
            self.assertIn("cert-chain.pem does not begin", said["reason"])
            self.assertIn("second", self.issuer(caller.ask(token)))
        finally:
            over.set()
            thread.join()
        self.assertEqual(failures, [])

    def test_a_given_one_comes_to_a_mesh_that_has_its_own_root(self):
        control = self.control("--certificate-validity", "60", "--ca-overlap", "8")
        caller, token, before = self.caller(control), self.token(), self.bundle()
        folder = self.folder()
        self.create({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "cacerts", "namespace": self.space},
                     "data": self.intermediate(folder, "given")})
        both = eventually(lambda: (lambda text: text if len(split(text)) == 2 else None)(self.bundle()), "both roots")
        self.assertEqual(set(split(both)), {before, (folder / "root.pem").read_text()})
        self.assert_verifies(caller.ask(token), before)  # who knows the old root alone is served
        eventually(lambda: "given" in self.issuer(caller.ask(token)), "the given one issues")
        self.assert_verifies(caller.ask(token), both)

    def test_a_root_is_rotated_under_callers(self):
        both = [self.control("--certificate-validity", "60", "--ca-overlap", "8") for _ in range(2)]
        callers, token, before = [self.caller(control) for control in both], self.token(), self.bundle()
        trusted = callers[0].ask(token)[-1]  # what a sidecar learns when it renews
        command = [place.PROGRAMS / "fairlead-control", "ca", "rotate", "--ca-secret", "fairlead-ca", "--namespace", self.space,
                   "--kubeconfig", self.kubeconfig]
        subprocess.run(command, check=True)
        changed, end = False, time.monotonic() + 60
        while not changed:
            for caller in callers:
                chain = caller.ask(token)
                self.assert_verifies(chain, trusted)  # by what was trusted before this one came
                trusted = chain[-1]
                changed = changed or self.is_of_new_root(chain, before)
            self.assertLess(time.monotonic(), end)
            time.sleep(0.2)
        self.assertEqual(len(split(self.bundle())), 2)
        self.assertIn(before.strip(), self.bundle())

    def is_of_new_root(self, chain, before):
        folder = self.folder()
        (folder / "old").write_text(before)
        (folder / "leaf").write_text(chain[0])
        return subprocess.run(["openssl", "verify", "-CAfile", folder / "old", folder / "leaf"], capture_output=True,
                              check=False).returncode != 0

    # -- the bundle, and who leads --------------------------------------------------------------------------------------

    def test_the_bundle_in_every_namespace(self):
        self.caller(self.control())
        text = self.bundle()
        for thing in self.api.list("v1", "Namespace"):
            name = thing["metadata"]["name"]
            if name in ("kube-public", "kube-node-lease"):
                self.assertIsNone(self.bundle(name), name)
            elif name not in Lane.left:  # those of the tests before are going
                eventually(lambda name=name: self.bundle(name) == text, f"the bundle in {name}")
        begin = time.monotonic()
        fresh = self.namespace("fresh", account=False)
        eventually(lambda: self.bundle(fresh) == text, "the bundle in a new namespace", patience=1)
        self.assertLess(time.monotonic() - begin, 1)
        # What somebody does to it is put back, beside what else is theirs.
        self.api.delete("v1", "ConfigMap", BUNDLE, fresh)
        eventually(lambda: self.bundle(fresh) == text, "the bundle that was deleted")
        self.api.patch("v1", "ConfigMap", BUNDLE, {"data": {"root-cert.pem": "x", "more": "y"},
                                                   "metadata": {"labels": {"fairlead.io/bundle": None}}}, fresh)
        eventually(lambda: self.bundle(fresh) == text, "the bundle that was changed")
        there = self.api.get("v1", "ConfigMap", BUNDLE, fresh)
        self.assertEqual((there["data"]["more"], there["metadata"]["labels"]["fairlead.io/bundle"]), ("y", "true"))
        trust = self.api.get("certificates.k8s.io/v1", "ClusterTrustBundle", TRUST)
        self.assertEqual(trust["spec"]["signerName"], "fairlead.io/mesh")
        self.assertEqual(trust["spec"]["trustBundle"].strip(), text.strip())

    def test_bundles_that_tenants_make(self):
        """Another root, megabytes beside it, one that cannot be changed: the others have theirs, and no slower."""
        self.caller(self.control("--lease-duration", "30"))
        text = self.bundle()
        spaces = [self.namespace("tenant", account=False) for _ in range(4)]
        for space in spaces:
            eventually(lambda space=space: self.bundle(space) == text, "the bundle of a tenant")
        for space in spaces[:3]:  # half a megabyte each, and six times as much in JSON
            self.api.patch("v1", "ConfigMap", BUNDLE, {"data": {"root-cert.pem": "x", "more": "<" * 900_000}}, space)
        self.api.delete("v1", "ConfigMap", BUNDLE, spaces[3])
        try:
            self.api.create({"apiVersion": "v1", "kind": "ConfigMap", "immutable": True, "data": {"root-cert.pem": "x"},
                             "metadata": {"name": BUNDLE, "namespace": spaces[3]}})
        except ApiError as error:
            self.assertEqual(error.status, 409)  # ours came first
        begin = time.monotonic()
        fresh = self.namespace("fresh", account=False)
        eventually(lambda: self.bundle(fresh) == text, "the bundle in a new namespace")
        self.assertLess(time.monotonic() - begin, 5)
        for space in spaces[:3]:
            eventually(lambda space=space: self.bundle(space) == text, "the bundle that was changed")

    def holder(self):
        return self.api.get("coordination.k8s.io/v1", "Lease", "fairlead-control", self.space)["spec"]["holderIdentity"]

    def test_the_lease_is_taken_over(self):
        one = self.control()
        one.wait("leading")
        two = self.control()
        token, caller = self.token(), self.caller(two)
        self.assertTrue(caller.ask(token))  # who does not lead serves all the same
        self.assertEqual(two.said("leading"), [])
        first = self.holder()
        one.process.kill()
        two.wait("leading", patience=10)
        self.assertNotEqual(self.holder(), first)
        fresh = self.namespace("fresh", account=False)
        eventually(lambda: self.bundle(fresh) is not None, "the bundle, by the new leader")
        # Given up by SIGTERM it is free at once, however long it lasts.
        three = self.control()
        three.wait("ready")
        self.assertEqual(two.stop(), 0)
        three.wait("leading", patience=4)


if __name__ == "__main__":
    main()
