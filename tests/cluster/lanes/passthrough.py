#!/usr/bin/env python3
"""Onboarding alone (`control.mode: none`): pods of a labelled namespace join and start, all that they send passes through, nobody has a certificate."""
import socket
import ssl

from support import chain, chart, place
from support.api import ApiError, is_ready
from support.lane import Lane, a_pod, containers, main
from support.mesh import Client, in_netns
from waiting import eventually

NEEDS = "node"

SYSTEM = "fairlead-system"
PAGE = "mkdir -p /tmp/www && echo hello >/tmp/www/index.html && exec httpd -f -p 8080 -h /tmp/www"


class PassThrough(Lane):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.addClassCleanup(cls.remove)
        cls.api.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {
            "name": SYSTEM, "labels": {"pod-security.kubernetes.io/enforce": "restricted"}}})
        chart.install({**chart.with_images(), "webhook.replicas": 1, "uninstall.check": False})
        chain.install(cls)
        chain.use(chain.PLUGIN)
        cls.space, cls.outside = cls.namespace("shop", labels={"fairlead.io/inject": "enabled"}), cls.namespace("outside")
        eventually(cls.injects, "the webhook is asked, and answers", patience=90)
        app = {"name": "app", "image": place.BUSYBOX_IMAGE, "command": ["sh", "-c", PAGE], "ports": [{"name": "web", "containerPort": 8080}],
               "readinessProbe": {"httpGet": {"port": "web", "path": "/"}, "periodSeconds": 1}}
        cls.api.create(a_pod("web", cls.space, labels={"app": "web"}, containers=[app]))
        cls.api.create({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web", "namespace": cls.space}, "spec": {
            "selector": {"app": "web"}, "ports": [{"name": "http", "port": 80, "targetPort": "web"}]}})
        for space in (cls.space, cls.outside):
            cls.api.create(a_pod("client", space))
            cls.api.wait("v1", "Pod", "client", space, is_ready)
        cls.pod = cls.api.wait("v1", "Pod", "web", cls.space, is_ready)

    @classmethod
    def remove(cls):
        chart.uninstall()
        cls.api.delete("v1", "Namespace", SYSTEM, missing_ok=True)
        cls.api.wait_gone("v1", "Namespace", SYSTEM)

    @classmethod
    def injects(cls):
        try:
            return containers(cls.api.create(a_pod("asks", cls.space), dry_run=True))[0] == "fairlead-proxy"
        except ApiError:
            return False

    def test_pods_join_and_start(self):
        """With the sidecar, captured, and nobody had to restart."""
        self.assertEqual(containers(self.pod), ["fairlead-proxy", "app"])
        self.assertIn("15006", in_netns(self.pod, "app", "nft", "list", "table", "inet", "fairlead"))
        states = [row for key in ("initContainerStatuses", "containerStatuses") for row in self.pod["status"][key]]
        self.assertEqual([row["restartCount"] for row in states], [0, 0])

    def test_traffic_passes(self):
        """From the mesh, from a pod outside of it, and to whoever is outside."""
        for space in (self.space, self.outside):
            self.assertEqual(Client("client", space).get(f"http://web.{self.space}/").strip(), "hello")
        self.api.create(a_pod("plain", self.outside, labels={"app": "plain"}, containers=[
            {"name": "app", "image": place.BUSYBOX_IMAGE, "command": ["sh", "-c", PAGE]}]))
        plain = self.api.wait("v1", "Pod", "plain", self.outside, is_ready)
        said = eventually(lambda: "hello" in Client("client", self.space).get(f"http://{plain['status']['podIP']}:8080/"), "a call to the outside passes")
        self.assertTrue(said)

    def test_nobody_has_a_certificate(self):
        """The port speaks the app's plaintext alone; there is no root, no bundle, and no control plane."""
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        context.set_alpn_protocols(["fairlead-http/1"])
        with socket.create_connection((self.pod["status"]["podIP"], 8080), timeout=5) as plain, self.assertRaises((ssl.SSLError, OSError)):
            context.wrap_socket(plain)
        for version, kind, name, space in (("v1", "ConfigMap", "fairlead-root", self.space), ("v1", "Secret", "fairlead-ca", SYSTEM),
                                           ("apps/v1", "Deployment", "fairlead-control", SYSTEM), ("apps/v1", "Deployment", "fairlead-deployer", SYSTEM)):
            with self.assertRaises(ApiError, msg=name) as error:
                self.api.get(version, kind, name, space)
            self.assertEqual(error.exception.status, 404)


if __name__ == "__main__":
    main()
