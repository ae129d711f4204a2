#!/usr/bin/env python3
"""A Gateway on a node that runs pods: its proxies come up without root at low ports, serve with TLS, take listeners without a restart, roll
out without a lost request, and go with it. Control plane and deployer are processes on the node; the proxy is an image.
"""
import base64
import http.client
import ssl
import threading
import time

from support import gatewayapi, image, place
from support.api import is_ready
from support.certificate import Authority
from support.gatewayapi import conditions, gateway, gateway_class, http_route, listener
from support.lane import Lane, main
from support.place import kubectl
from waiting import eventually

NEEDS = "node"

PORT = 15012
HOST = "shop.example.com"
PATIENCE = 120


def web(namespace):
    script = "mkdir /tmp/www && echo hello >/tmp/www/index.html && exec httpd -f -p 8080 -h /tmp/www"
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web", "namespace": namespace, "labels": {"app": "web"}},
            "spec": {"terminationGracePeriodSeconds": 1, "automountServiceAccountToken": False,
                     "containers": [{"name": "app", "image": place.BUSYBOX_IMAGE, "command": ["sh", "-c", script],
                                     "readinessProbe": {"httpGet": {"port": 8080}, "periodSeconds": 1}}]}}


class Load:
    """Requests one after the other, some on connections of their own, some on one that is kept; what went wrong is in failures."""

    def __init__(self, address, port=80):
        self.where, self.failures, self.count, self.over = (address, port), [], 0, threading.Event()
        self.threads = [threading.Thread(target=self._run, args=(kept,), daemon=True) for kept in (False, False, True, True)]

    def _run(self, kept):
        connection = None
        while not self.over.is_set():
            try:
                if connection is None:
                    connection = http.client.HTTPConnection(*self.where, timeout=10)
                connection.request("GET", "/", headers={"Host": HOST})
                answer = connection.getresponse()
                answer.read()
                if answer.status != 200:
                    self.failures.append(f"{answer.status} {kept}")
                if not kept or answer.will_close:
                    connection.close()
                    connection = None
            except (OSError, http.client.HTTPException) as error:
                self.failures.append(f"{error!r} {kept}")
                connection = None
            self.count += 1
            time.sleep(0.01)

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        for thread in self.threads:
            thread.join()


class Gateway(Lane):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        gatewayapi.install(cls)
        cls.create(gateway_class())
        proxy = image.load("fairlead-proxy")
        cls.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "fairlead-system"}})
        cls.control = cls.program("fairlead-control", "--source", "kubernetes", "--kubeconfig", place.KUBECONFIG, "--namespace", "fairlead-system",
                                  "--listen", f"{place.NODE_IP}:{PORT}", "--http", "127.0.0.1:0")
        cls.control.wait("ready", patience=PATIENCE)
        cls.deployer = cls.program("fairlead-control", "deployer", "--kubeconfig", place.KUBECONFIG, "--namespace", "fairlead-system",
                                   "--proxy-image", proxy, "--control-address", f"{place.NODE_IP}:{PORT}")
        cls.deployer.wait("leading")
        cls.authority = Authority(cls.folder())
        cls.space = cls.namespace("shop")
        cls.api.create(web(cls.space))
        cls.api.create({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web", "namespace": cls.space},
                        "spec": {"selector": {"app": "web"}, "ports": [{"name": "http", "port": 80, "targetPort": 8080}]}})
        cls.secret(cls.space)
        cls.api.wait("v1", "Pod", "web", cls.space, is_ready, PATIENCE)
        cls.api.create(gateway("edge", cls.space, [listener(80), listener(443, "HTTPS", tls={"certificateRefs": [{"name": "cert"}]})]))
        cls.api.create(http_route("shop", cls.space, [{"name": "edge"}]))
        cls.address = cls.programmed("edge")

    @classmethod
    def secret(cls, space):
        files = zip(("tls.crt", "tls.key"), cls.authority.issue(HOST, f"DNS:{HOST}"))
        data = {name: base64.b64encode(path.read_bytes()).decode() for name, path in files}
        cls.api.create({"apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls", "metadata": {"name": "cert", "namespace": space}, "data": data})

    @classmethod
    def programmed(cls, name, space=None):
        """Its address, once it is programmed."""
        thing = cls.api.wait(gatewayapi.VERSION, "Gateway", name, space or cls.space,
                             lambda it: it and conditions(it).get("Programmed") == ("True", "Programmed"), PATIENCE)
        return thing["status"]["addresses"][0]["value"]

    def get(self, address, port=80, secure=False):
        """Status and text; 0 where there is no answer."""
        try:
            connection = http.client.HTTPConnection(address, port, timeout=5)
            if secure:
                context = ssl.create_default_context(cafile=self.authority.certificate)
                connection.connect()
                connection.sock = context.wrap_socket(connection.sock, server_hostname=HOST)
            connection.request("GET", "/", headers={"Host": HOST, "Connection": "close"})
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        except (OSError, http.client.HTTPException) as error:
            return 0, repr(error)

    def pods(self, name="edge"):
        return {pod.name for pod in self.api.list("v1", "Pod", self.space, labelSelector=f"gateway.networking.k8s.io/gateway-name={name}")}

    def test_reachable(self):
        """Plain and with TLS, at the address of its Service; the proxy is not root."""
        self.assertEqual(self.api.get("v1", "Service", "edge-fairlead", self.space)["spec"]["clusterIP"], self.address)
        eventually(lambda: self.get(self.address) == (200, "hello\n"), "the Gateway serves at port 80")
        eventually(lambda: self.get(self.address, 443, secure=True) == (200, "hello\n"), "the Gateway serves at port 443")
        context = self.api.list("v1", "Pod", self.space, labelSelector="gateway.networking.k8s.io/gateway-name=edge")[0]["spec"]["containers"][0]["securityContext"]
        self.assertEqual((context["runAsNonRoot"], context["runAsUser"], context["capabilities"]), (True, 1337, {"drop": ["ALL"]}))

    def test_a_listener_more(self):
        before = self.pods()
        self.api.patch(gatewayapi.VERSION, "Gateway", "edge", [{"op": "add", "path": "/spec/listeners/-", "value": listener(8080)}], self.space)
        eventually(lambda: self.get(self.address, 8080) == (200, "hello\n"), "the new port is served")
        self.assertEqual(self.pods(), before)

    def test_rollout(self):
        eventually(lambda: self.get(self.address)[0] == 200, "the Gateway serves")
        before = self.pods()
        with Load(self.address) as load:
            kubectl("-n", self.space, "rollout", "restart", "deployment/edge-fairlead")
            kubectl("-n", self.space, "rollout", "status", "deployment/edge-fairlead", "--timeout=120s")
            eventually(lambda: not self.pods() & before, "the old pod is gone", 90)
        self.assertEqual(load.failures, [])
        self.assertGreater(load.count, 100)

    def test_a_secret_elsewhere(self):
        other = self.namespace("other")
        self.secret(other)
        reference = {"certificateRefs": [{"name": "cert", "namespace": other}]}
        self.api.create(gateway("far", self.space, [listener(443, "HTTPS", tls=reference)]))
        self.api.create(http_route("far", self.space, [{"name": "far"}]))
        self.api.wait(gatewayapi.VERSION, "Gateway", "far", self.space, lambda it: [
            conditions(row["conditions"]).get("ResolvedRefs") for row in it.get("status", {}).get("listeners", [])] == [("False", "RefNotPermitted")])
        self.api.create({"apiVersion": "gateway.networking.k8s.io/v1beta1", "kind": "ReferenceGrant", "metadata": {"name": "lends", "namespace": other},
                         "spec": {"from": [{"group": "gateway.networking.k8s.io", "kind": "Gateway", "namespace": self.space}],
                                  "to": [{"group": "", "kind": "Secret"}]}})
        address = self.programmed("far")
        eventually(lambda: self.get(address, 443, secure=True) == (200, "hello\n"), "what was lent is served")
        self.api.delete("gateway.networking.k8s.io/v1beta1", "ReferenceGrant", "lends", other)
        eventually(lambda: self.get(address, 443, secure=True)[0] == 0, "what was taken back is not served")

    def test_z_gone(self):
        self.api.delete(gatewayapi.VERSION, "Gateway", "edge", self.space)
        for version, kind in (("apps/v1", "Deployment"), ("v1", "Service"), ("v1", "ServiceAccount")):
            self.api.wait_gone(version, kind, "edge-fairlead", self.space)
        eventually(lambda: not self.pods(), "its pods are gone", 90)


if __name__ == "__main__":
    main()
