"""A mesh of two pods, as the tests of the whole share it: fairlead-control over a folder of objects, sidecars without a file,
applications in the pods, and a watch over the wire between them.

    pod "a" (other/client) ──veth── pod "b" (demo/server), where the control plane is too

What dials from pod a as the proxy's user is not captured: a client without a sidecar.
"""
import contextlib
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import threading

import proxy_support as support
from proxy_support import ADDRESS, FOLDER, GID, NAME, UID, Proxy, eventually, inside, run

CONTROL = os.path.abspath(sys.argv[2]) if len(sys.argv) > 2 else ""
PORT = 15000  # of the control plane, on pod b's own address: one that the capture rules leave alone
SERVICE = "10.96.0.10"  # in front of pod b
BACK = "10.96.0.11"     # in front of pod a: HTTP alone
API = "fairlead.io/v1alpha1"
ROOT_NAMESPACE = "fairlead-system"
PODS = {"a": ("client", "other"), "b": ("server", "demo")}
PORTS = {"http": (80, 8080), "tcp": (9000, 9000), "unknown": (9001, 9001), "first": (9002, 9002)}  # name: (of the Service, of the pod)


# -- objects ----------------------------------------------------------------------------------------------------------

def thing(kind, name, namespace=None, api="v1", labels=None, **fields):
    metadata = {"name": name, **({"namespace": namespace} if namespace else {}), **({"labels": labels} if labels else {})}
    return {"apiVersion": api, "kind": kind, "metadata": metadata, **fields}


def policy(kind, name, namespace, spec):
    return thing(kind, name, namespace, API, spec=spec)


def pod(role):
    name, space = PODS[role]
    address = ADDRESS[role, 4]
    document = thing("Pod", name, space, labels={"app": name}, spec={
        "serviceAccountName": name, "containers": [{"name": "app"}, {"name": "fairlead-proxy"}]}, status={
        "podIP": address, "podIPs": [{"ip": address}], "phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]})
    document["metadata"]["annotations"] = {"fairlead.io/status": "{}"}
    return document


def service(role, address, ports):
    """A Service of a pod and its EndpointSlice."""
    name, space = PODS[role]
    named = {"http": {"appProtocol": "http"}, "tcp": {"appProtocol": "tcp"}, "first": {"appProtocol": "tcp"}, "unknown": {}}
    endpoint = {"addresses": [ADDRESS[role, 4]], "conditions": {"ready": True},
                "targetRef": {"kind": "Pod", "name": name, "namespace": space}}
    return [
        thing("Service", name, space, spec={
            "clusterIP": address, "clusterIPs": [address], "selector": {"app": name},
            "ports": [{"name": f"{port}-port", "port": PORTS[port][0], "targetPort": PORTS[port][1], **named[port]}
                      for port in ports]}),
        thing("EndpointSlice", f"{name}-1", space, "discovery.k8s.io/v1", {"kubernetes.io/service-name": name},
              addressType="IPv4", endpoints=[endpoint],
              ports=[{"name": f"{port}-port", "port": PORTS[port][1]} for port in ports])]


def world():
    """Two namespaces with a pod each, and their Services."""
    return [
        thing("Namespace", ROOT_NAMESPACE),
        policy("MeshSettings", "default", ROOT_NAMESPACE,
               {"trustDomain": "cluster.local", "egress": "AllowAny", "meshCIDRs": ["10.96.0.0/16"]}),
        *(thing("Namespace", space, labels={"fairlead.io/inject": "enabled"}) for _, space in PODS.values()),
        *(thing("ServiceAccount", name, space) for name, space in PODS.values()),
        *service("b", SERVICE, PORTS), *service("a", BACK, ["http"]),
        *map(pod, PODS)]


# -- the control plane ------------------------------------------------------------------------------------------------

class Control:
    """fairlead-control in pod b; ready when start() returns."""

    def __init__(self, *options, objects=None):
        self.source = FOLDER / "source"
        self.source.mkdir(exist_ok=True)
        self.options, self.process = options, None
        self.path = FOLDER / "control.log"
        self.log = self.path.open("ab")
        self.put("world", *(objects or world()))

    def start(self):
        begin = self.log.seek(0, os.SEEK_END)
        self.process = subprocess.Popen(
            ["ip", "netns", "exec", NAME["b"], CONTROL, "--source", f"directory:{self.source}", "--listen",
             f"{ADDRESS['b', 4]}:{PORT}", "--http", "none", "--ca-dir", FOLDER / "ca", "--token-dir", FOLDER / "tokens",
             *map(str, self.options)], stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log)
        support.processes.append(self.process)
        eventually(lambda: self.said("ready", begin), "fairlead-control is not ready")
        shutil.copy(FOLDER / "ca" / "root-cert.pem", FOLDER / "root.pem")
        os.chmod(FOLDER / "root.pem", 0o644)

    def put(self, name, *objects):
        """One file of objects, at once."""
        (FOLDER / "new").write_text("\n---\n".join(json.dumps(one) for one in objects))
        os.rename(FOLDER / "new", self.source / f"{name}.yaml")

    def remove(self, name):
        (self.source / f"{name}.yaml").unlink()

    def said(self, message, begin=0):
        """The log lines with this message."""
        lines = self.path.read_bytes()[begin:].splitlines()
        return [json.loads(line) for line in lines if f'"message":"{message}"'.encode() in line]

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(support.PATIENCE)


def sidecar(role, wait=True, environment=None, options=()):
    """The pod's sidecar; with `wait` it is ready when this returns."""
    name, space = PODS[role]
    state = FOLDER / f"state-{role}"
    if not state.exists():
        state.mkdir(mode=0o700)
        os.chown(state, UID, GID)
        token = FOLDER / f"token-{role}"
        run(CONTROL, "token", "create", "--token-dir", FOLDER / "tokens", "--namespace", space, "--service-account",
            name, "--out", token)
        os.chown(token, UID, GID)
    return Proxy(role, None, "", wait=wait, options=["--state-dir", str(state), "--concurrency", "1", *options], environment={
        "POD_NAME": name, "POD_NAMESPACE": space, "SERVICE_ACCOUNT": name, "POD_IPS": ADDRESS[role, 4],
        "FAIRLEAD_CONTROL_ADDRESS": f"{ADDRESS['b', 4]}:{PORT}", "FAIRLEAD_ROOT_FILE": str(FOLDER / "root.pem"),
        "FAIRLEAD_TOKEN_FILE": str(FOLDER / f"token-{role}"), **(environment or {})})


def xds(proxy):
    return json.loads(proxy.admin("/debug/xds")[1])


# -- applications -----------------------------------------------------------------------------------------------------

def serve_http(sock):
    """200 to everything; below /hold the answer does not end."""
    reader = support.Reader(sock)
    while True:
        line, fields = reader.head()
        reader.body(fields)
        if line.split()[1].startswith("/hold"):
            sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\nx")
            reader.to_end()
            return
        sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")


def serve_echo(sock):
    while piece := sock.recv(65536):
        sock.sendall(piece)


BANNER = b"220 banner.example says hello first\r\n"


def serve_banner(sock):
    """A server that speaks first, then echoes."""
    sock.sendall(BANNER)
    serve_echo(sock)


class Http(support.Client):
    """A kept connection of a pod's application to a Service."""

    def __init__(self, to=SERVICE, port=80, role="a", **how):
        super().__init__(role, to, port, **how)

    def get(self, path="/", *fields):
        return self.ask(support.get(path, *fields, host="server.demo"))[0]

    def close(self):
        self.sock.close()


def status(to=SERVICE, port=80, path="/", **how):
    """Of one request of a pod's application over a connection of its own; 0: no answer."""
    try:
        client = Http(to, port, **how)
        with client.sock:
            return client.get(path, "Connection: close")
    except (OSError, EOFError):
        return 0


class Tcp(support.Reader):
    """A connection of opaque bytes."""

    def __init__(self, to=SERVICE, port=9000, role="a", **how):
        super().__init__(support.dial(role, to, port, **how))

    def echo(self, text):
        """True where the same bytes come back; False where the connection has ended."""
        try:
            self.sock.sendall(text)
            return self.exactly(len(text)) == text
        except (OSError, EOFError):
            return False

    def close(self):
        self.sock.close()


def echoes(to=SERVICE, port=9000, text=b"\0are you there\n", banner=b"", **how):
    """Whether a connection of its own brings the bytes back."""
    try:
        client = Tcp(to, port, **how)
        client.sock.settimeout(3)  # an answer, even where nothing says what the port speaks, is there within a second
        with client.sock:
            return client.exactly(len(banner)) == banner and client.echo(text)
    except (OSError, EOFError):
        return False


def ends_within(sock, seconds=1.0):
    """Whether the other side ends the connection in that time."""
    sock.settimeout(seconds)
    try:
        while sock.recv(65536):
            pass
        return True
    except ConnectionError:
        return True
    except TimeoutError:
        return False


class Load(threading.Thread):
    """`step` again and again until stop(): it tells a failure by an exception or False, which check() and stop() assert."""

    def __init__(self, step):
        super().__init__(daemon=True)
        self.step, self.count, self.failures, self.over = step, 0, [], threading.Event()
        self.start()

    def run(self):
        while not self.over.wait(0.005):
            try:
                if self.step() is False:
                    self.failures.append(f"step {self.count}")
            except Exception as error:  # noqa: BLE001: counted, and told by stop()
                self.failures.append(f"step {self.count}: {error!r}")
                return
            self.count += 1

    def stop(self):
        self.over.set()
        self.join(support.PATIENCE)
        self.check()

    def check(self):
        assert not self.failures, f"{len(self.failures)} of {self.count}: {self.failures[:3]}"
        assert self.count > 0, "nothing was done"


# -- the wire ---------------------------------------------------------------------------------------------------------

class Wire(threading.Thread):
    """What comes to pod b from the other one, byte for byte."""

    def __init__(self):
        super().__init__(daemon=True)
        with inside("b"):
            self.sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
        self.sock.bind(("m0", 0))
        self.seen = []
        self.start()

    def run(self):
        with contextlib.suppress(OSError):
            while frame := self.sock.recv(65536):
                self.seen.append(frame)

    def has(self, text):
        return any(text in frame for frame in list(self.seen))


def skip_unless_possible():
    support.skip_unless_possible()
    if not CONTROL or not pathlib.Path(CONTROL).exists():
        print("skipped: no fairlead-control")
        sys.exit(support.SKIPPED)


def make_pods():
    support.make_pods()
    for role, other in ("ab", "ba"):
        run("ip", "-n", NAME[role], "route", "add", "default", "via", ADDRESS[other, 4])
