#!/usr/bin/env python3
"""Onboarding by the label alone: installed by Helm, admitted by the real API server, captured by kubelet → containerd → conflist, Ready, and
every connection mutual TLS with certificates of our CA. Nothing of what people do with pods is lost by it.

What comes to the app by way of the sidecar alone (probes of each kind, hooks, metrics, Jobs) is in the lane `mesh`.
"""
import re
import socket
import ssl
import subprocess
import urllib.request

from support import place
from support.api import is_ready
from support.lane import Lane, a_pod, containers, main
from support.mesh import SYSTEM, Client, Mesh, in_netns
from support.place import kubectl, run
from waiting import eventually

NEEDS = "mesh"

PAGE = "mkdir -p /tmp/www && hostname >/tmp/www/index.html && exec httpd -f -p 8080 -h /tmp/www"
TRUST = "spiffe://cluster.local/ns/{}/sa/{}"


def web_app():
    """Answers its pod's name on 8080."""
    return {"name": "app", "image": place.BUSYBOX_IMAGE, "command": ["sh", "-c", PAGE], "ports": [{"name": "web", "containerPort": 8080}],
            "readinessProbe": {"httpGet": {"port": "web", "path": "/"}, "periodSeconds": 1}}


def service(name, space, headless=False):
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": space}, "spec": {
        "selector": {"app": name}, **({"clusterIP": "None"} if headless else {}),
        "ports": [{"name": "http", "port": 8080 if headless else 80, "targetPort": "web"}]}}


def workload(kind, name, space, replicas=1, **spec):
    more = {"serviceName": name} if kind == "StatefulSet" else {}
    return {"apiVersion": "apps/v1", "kind": kind, "metadata": {"name": name, "namespace": space}, "spec": {
        "replicas": replicas, "selector": {"matchLabels": {"app": name}}, **more,
        "template": {"metadata": {"labels": {"app": name}}, "spec": {"terminationGracePeriodSeconds": 1, "containers": [web_app()], **spec}}}}


def has_ended(pod):
    return pod and pod["status"].get("phase") in ("Succeeded", "Failed")


class Onboard(Lane):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.mesh = Mesh(cls)
        cls.space = cls.mesh.space(cls)
        cls.api.create({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "shop", "namespace": cls.space}})
        cls.api.create(workload("Deployment", "web", cls.space, serviceAccountName="shop"))
        cls.api.create(service("web", cls.space))
        cls.client = cls.mesh.pod("client", cls.space)
        kubectl("-n", cls.space, "rollout", "status", "deployment/web", "--timeout=60s")
        cls.pod, = cls.api.list("v1", "Pod", cls.space, labelSelector="app=web")

    def metric(self, pod, name, **labels):
        """The sum over the samples that have these labels, as a Prometheus on the node would read them."""
        with urllib.request.urlopen(f"http://{pod['status']['podIP']}:15020/stats/prometheus", timeout=5) as answer:
            text = answer.read().decode()
        found = re.findall(rf"^{name}\{{(.*)\}} (\S+)$", text, re.MULTILINE)
        return sum(float(value) for said, value in found if all(f'{key}="{one}"' in said for key, one in labels.items()))

    # -- admitted, captured, with a certificate -----------------------------------------------------------------------

    def test_admitted_and_captured(self):
        self.assertEqual(containers(self.pod), ["fairlead-proxy", "app"])
        table = in_netns(self.pod, "app", "nft", "list", "table", "inet", "fairlead")
        for port in ("15001", "15006"):
            self.assertIn(port, table)
        self.assertEqual([row["restartCount"] for key in ("initContainerStatuses", "containerStatuses") for row in self.pod["status"][key]], [0, 0])

    def certificate(self, pod, port=8080):
        """What the sidecar shows to whoever calls, in text; checked against the bundle that the control plane gave the namespace."""
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        context.set_alpn_protocols(["fairlead-http/1"])
        with socket.create_connection((pod["status"]["podIP"], port), timeout=5) as plain, context.wrap_socket(plain) as tls:
            shown = ssl.DER_cert_to_PEM_cert(tls.getpeercert(binary_form=True))
        folder = self.folder()
        (folder / "leaf").write_text(shown)
        (folder / "root").write_text(self.api.get("v1", "ConfigMap", "fairlead-root", self.space)["data"]["root-cert.pem"])
        run("openssl", "verify", "-partial_chain", "-CAfile", folder / "root", folder / "leaf")
        return run("openssl", "x509", "-in", folder / "leaf", "-noout", "-text")

    def test_certificate_of_our_ca(self):
        """The pod's own identity, of its namespace and service account, signed by the root in the Secret."""
        self.assertIn(f"URI:{TRUST.format(self.space, 'shop')}\n", self.certificate(self.pod))
        secret = self.api.get("v1", "Secret", "fairlead-ca", SYSTEM)
        self.assertTrue(secret["data"])

    def test_strict(self):
        """In the mesh: answered, and the server knows who called. Outside of it: refused, by pod and by node."""
        before = self.metric(self.pod, "istio_requests_total", reporter="destination", connection_security_policy="mutual_tls",
                             source_principal=TRUST.format(self.space, "default"), response_code="200")
        self.assertEqual(self.client.get("http://web/").strip(), self.pod.name)
        eventually(lambda: self.metric(
            self.pod, "istio_requests_total", reporter="destination", connection_security_policy="mutual_tls",
            source_principal=TRUST.format(self.space, "default"), response_code="200") == before + 1, "the server counts a call by mutual TLS")
        outside = self.namespace("outside")
        self.api.create(a_pod("stranger", outside))
        self.assertEqual(containers(self.api.wait("v1", "Pod", "stranger", outside, is_ready)), ["app"])
        said = Client("stranger", outside).get(f"http://web.{self.space}/")
        self.assertNotIn(self.pod.name, said)
        self.assertIn("wget:", said)
        with self.assertRaises(OSError):
            urllib.request.urlopen(f"http://{self.pod['status']['podIP']}:8080/", timeout=5)

    def test_nobody_else_joins(self):
        """A namespace without the label, and a pod that says no."""
        plain = self.api.create(a_pod("plain", self.namespace("unlabelled")), dry_run=True)
        said_no = self.api.create(a_pod("no", self.space, labels={"fairlead.io/inject": "disabled"}), dry_run=True)
        self.assertEqual([containers(plain), containers(said_no)], [["app"], ["app"]])

    # -- what people do with pods -------------------------------------------------------------------------------------

    def test_init_containers_have_network(self):
        """An init container after the sidecar calls through it."""
        init = {"name": "before", "image": place.BUSYBOX_IMAGE, "command": ["timeout", "10", "wget", "-qO-", "http://web/"]}
        self.api.create(a_pod("initial", self.space, initContainers=[init]))
        pod = self.api.wait("v1", "Pod", "initial", self.space, is_ready)
        self.assertEqual(containers(pod), ["fairlead-proxy", "before", "app"])
        self.assertEqual(kubectl("-n", self.space, "logs", "initial", "-c", "before").strip(), self.pod.name)

    def test_job(self):
        """It completes: the sidecar ends with its app."""
        command = ["timeout", "10", "wget", "-qO-", "http://web/"]
        self.api.create({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "once", "namespace": self.space}, "spec": {
            "backoffLimit": 0, "template": {"spec": {"restartPolicy": "Never", "containers": [
                {"name": "app", "image": place.BUSYBOX_IMAGE, "command": command}]}}}})
        self.api.wait("batch/v1", "Job", "once", self.space, lambda job: any(
            row["type"] in ("Complete", "Failed") and row["status"] == "True" for row in job["status"].get("conditions", ())))
        self.assertEqual(kubectl("-n", self.space, "logs", "job/once", "-c", "app").strip(), self.pod.name)
        self.assertEqual(self.api.get("batch/v1", "Job", "once", self.space)["status"].get("succeeded"), 1)

    def test_exec_and_logs(self):
        """Without naming a container: the app's, not the sidecar's."""
        self.assertEqual(kubectl("-n", self.space, "exec", self.pod.name, "--", "hostname").strip(), self.pod.name)
        self.api.create(a_pod("talks", self.space, containers=[
            {"name": "app", "image": place.BUSYBOX_IMAGE, "command": ["sh", "-c", "echo here I am; exec sleep 1000"]}]))
        self.api.wait("v1", "Pod", "talks", self.space, is_ready)
        self.assertEqual(kubectl("-n", self.space, "logs", "talks").splitlines()[-1], "here I am")

    def test_port_forward(self):
        """To the app's port, as the one who may: past the sidecar, which only refuses what comes over the network."""
        with subprocess.Popen([str(place.BIN / "kubectl"), "-n", self.space, "port-forward", f"pod/{self.pod.name}", ":8080"],
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as forward:
            try:
                line = forward.stdout.readline()
                port = re.search(r"127\.0\.0\.1:(\d+) -> ", line)
                self.assertIsNotNone(port, line)
                with urllib.request.urlopen(f"http://127.0.0.1:{port[1]}/", timeout=10) as answer:
                    self.assertEqual(answer.read().decode().strip(), self.pod.name)
            finally:
                forward.terminate()

    def test_stateful_set(self):
        """Each pod by its own name, and the headless Service: that pod answers, by mutual TLS."""
        self.api.create(service("db", self.space, headless=True))
        self.api.create(workload("StatefulSet", "db", self.space, replicas=2))
        kubectl("-n", self.space, "rollout", "status", "statefulset/db", "--timeout=60s")
        for name in ("db-0", "db-1"):
            said = eventually(lambda of=name: self.answer(f"http://{of}.db:8080/"), f"{name} answers")
            self.assertEqual(said, name)
            pod = self.api.get("v1", "Pod", name, self.space)
            eventually(lambda of=pod: self.metric(of, "istio_requests_total", connection_security_policy="mutual_tls", response_code="200"),
                       "counted as mutual TLS")
        seen = {self.answer("http://db:8080/") for _ in range(20)}
        self.assertLessEqual(seen, {"db-0", "db-1"})
        self.assertTrue(seen)

    def answer(self, url):
        said = self.client.get(url).strip()
        return None if said.startswith("wget:") or "wget:" in said else said

    def test_user_namespace(self):
        """hostUsers: false: the pod's root is nobody on the node, and its sidecar has to be captured from outside all the same."""
        if place.RUNTIME != "built":
            self.skipTest("Debian's containerd knows no user namespaces")
        client = self.mesh.pod("own-users", self.space, hostUsers=False)
        self.assertEqual(client.get("http://web/").strip(), self.pod.name)
        self.assertNotEqual(client.run("cat", "/proc/self/uid_map").split()[1], "0")


if __name__ == "__main__":
    main()
