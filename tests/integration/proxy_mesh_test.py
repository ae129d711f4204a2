"""Two sidecars without a file and fairlead-control: certificates from its CA, configuration over ADS with them, destinations
on demand, a restart while the control plane is away.

    proxy_mesh_test.py <fairlead-proxy> <fairlead-control>
"""
import json
import os
import shutil
import signal
import subprocess
import sys

import proxy_support as support
from proxy_support import ADDRESS, FOLDER, GID, NAME, UID, Origin, Proxy, eventually, run

CONTROL = os.path.abspath(sys.argv[2]) if len(sys.argv) > 2 else ""
PORT = 15000  # of the control plane, on pod b's own address: one that the capture rules leave alone
SERVICE = "10.96.0.10"
WORLD = """
apiVersion: v1
kind: Namespace
metadata: {name: fairlead-system}
---
apiVersion: fairlead.io/v1alpha1
kind: MeshSettings
metadata: {name: default, namespace: fairlead-system}
spec: {trustDomain: cluster.local, egress: AllowAny, meshCIDRs: [10.96.0.0/16]}
---
apiVersion: v1
kind: Namespace
metadata: {name: demo, labels: {fairlead.io/inject: enabled}}
---
apiVersion: v1
kind: Namespace
metadata: {name: other, labels: {fairlead.io/inject: enabled}}
---
apiVersion: fairlead.io/v1alpha1
kind: PeerAuthentication
metadata: {name: strict, namespace: demo}
spec: {mtls: {mode: STRICT}}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: client, namespace: other}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: server, namespace: demo}
---
apiVersion: v1
kind: Service
metadata: {name: server, namespace: demo}
spec:
  clusterIP: 10.96.0.10
  clusterIPs: [10.96.0.10]
  selector: {app: server}
  ports: [{name: http, port: 80, targetPort: 8080, appProtocol: http}]
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: server-1, namespace: demo, labels: {kubernetes.io/service-name: server}}
addressType: IPv4
ports: [{name: http, port: 8080}]
endpoints: [{addresses: [10.88.0.3], conditions: {ready: true}, targetRef: {kind: Pod, name: server, namespace: demo}}]
---
"""
POD = """apiVersion: v1
kind: Pod
metadata:
  name: {name}
  namespace: {namespace}
  labels: {{app: {name}}}
  annotations: {{fairlead.io/status: "{{}}"}}
spec:
  serviceAccountName: {name}
  containers: [{{name: app, ports: [{{containerPort: 8080}}]}}, {{name: fairlead-proxy}}]
status: {{podIP: {ip}, podIPs: [{{ip: {ip}}}], phase: Running, conditions: [{{type: Ready, status: "True"}}]}}
"""
PODS = {"a": ("client", "other"), "b": ("server", "demo")}


class Control:
    def __init__(self):
        self.source = FOLDER / "source"
        self.source.mkdir(exist_ok=True)
        pods = "---\n".join(POD.format(name=name, namespace=space, ip=ADDRESS[role, 4])
                            for role, (name, space) in PODS.items())
        (self.source / "world.yaml").write_text(WORLD + pods)
        self.log = (FOLDER / "control.log").open("ab")
        self.process = None

    def start(self):
        begin = self.log.seek(0, os.SEEK_END)
        self.process = subprocess.Popen(
            ["ip", "netns", "exec", NAME["b"], CONTROL, "--source", f"directory:{self.source}", "--listen",
             f"{ADDRESS['b', 4]}:{PORT}", "--http", "none", "--ca-dir", FOLDER / "ca", "--token-dir", FOLDER / "tokens"],
            stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log)
        support.processes.append(self.process)
        eventually(lambda: b'"message":"ready"' in self.tail(begin), "fairlead-control is not ready")

    def tail(self, begin):
        return (FOLDER / "control.log").read_bytes()[begin:]

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(support.PATIENCE)


def sidecar(role, wait=True):
    name, space = PODS[role]
    state = FOLDER / f"state-{role}"
    if not state.exists():
        state.mkdir(mode=0o700)
        os.chown(state, UID, GID)
        token = FOLDER / f"token-{role}"
        run(CONTROL, "token", "create", "--token-dir", FOLDER / "tokens", "--namespace", space, "--service-account",
            name, "--out", token)
        os.chown(token, UID, GID)
    return Proxy(role, None, "", wait=wait, options=["--state-dir", str(state), "--concurrency", "1"], environment={
        "POD_NAME": name, "POD_NAMESPACE": space, "SERVICE_ACCOUNT": name, "POD_IPS": ADDRESS[role, 4],
        "FAIRLEAD_CONTROL_ADDRESS": f"{ADDRESS['b', 4]}:{PORT}", "FAIRLEAD_ROOT_FILE": str(FOLDER / "root.pem"),
        "FAIRLEAD_TOKEN_FILE": str(FOLDER / f"token-{role}")})


def serve(sock):
    reader = support.Reader(sock)
    while True:
        reader.head()
        sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")


def status(to=SERVICE, port=80):
    """Of a request of pod a's application; 0: no answer."""
    try:
        with support.dial("a", to, port) as sock:
            sock.sendall(b"GET / HTTP/1.1\r\nHost: server.demo\r\nConnection: close\r\n\r\n")
            line = support.Reader(sock).head()[0]
            return int(line.split()[1])
    except (OSError, EOFError):
        return 0


def xds(proxy):
    return json.loads(proxy.admin("/debug/xds")[1])


class World:
    """What the tests share: they run in their order."""


def test_ready_and_identified():
    World.control = Control()
    World.control.start()
    shutil.copy(FOLDER / "ca" / "root-cert.pem", FOLDER / "root.pem")
    os.chmod(FOLDER / "root.pem", 0o644)
    Origin(8080, serve)
    World.b, World.a = sidecar("b"), sidecar("a")
    for proxy, account in ((World.a, "ns/other/sa/client"), (World.b, "ns/demo/sa/server")):
        seen = xds(proxy)
        assert seen["connected"] and seen["complete"] and seen["on_demand"], seen
        eventually(lambda: f"spiffe://cluster.local/{account}" in proxy.admin("/certs")[1], "no certificate")


def test_on_demand():
    assert status() == 200  # another namespace's service: asked for at first use, over mutual TLS (demo is STRICT)
    seen = xds(World.a)
    assert [d["name"] for d in seen["destinations"]] == [f"outbound|{SERVICE}:80"], seen
    assert seen["destinations"][0]["kind"] == "service", seen
    assert World.a.metric("fairlead_xds_destinations") == 1


def test_unknown_in_the_mesh_is_refused():
    assert status("10.96.0.99") == 0
    eventually(lambda: any(d["kind"] == "refused" for d in xds(World.a)["destinations"]), "no refusal is known")


def test_without_the_control_plane():
    kept = FOLDER / "state-a" / "last-good"
    eventually(lambda: kept.exists() and SERVICE.encode() in kept.read_bytes(), "nothing is kept")
    World.control.stop()
    eventually(lambda: not xds(World.a)["connected"], "still connected")
    assert status() == 200
    World.a.process.kill()
    World.a.process.wait()
    World.a = sidecar("a")
    assert xds(World.a)["restored"], xds(World.a)
    assert status() == 200  # known, with the certificate of before
    assert status("10.96.0.98") == 0  # unknown, and in the mesh's ranges
    World.control.start()
    eventually(lambda: xds(World.a)["connected"], "not connected again")
    assert status() == 200
    World.a.stop()
    World.b.stop()


def main():
    support.skip_unless_possible()
    if not CONTROL or not os.path.exists(CONTROL):
        print("skipped: no fairlead-control")
        sys.exit(support.SKIPPED)
    support.make_pods()
    run("ip", "-n", NAME["a"], "route", "add", "default", "via", ADDRESS["b", 4])
    support.run_tests([test_ready_and_identified, test_on_demand, test_unknown_in_the_mesh_is_refused,
                       test_without_the_control_plane])


if __name__ == "__main__":
    main()
