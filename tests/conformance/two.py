"""Two pods with a sidecar each under one control plane (tests/integration/mesh_support.py), mTLS between them, and programs of
others in the pods: a server in pod b, clients in pod a that call its Service.

    two.up()                                  # ends the process with 77 where it cannot be done
    two.start("b", [server, …])               # a process in the pod; ended with this one
    two.run("a", [client, …])                 # (exit status, output)
    two.SERVICE, two.PORTS["grpc"]            # what to call; the same ports in the pod

To import it the caller's arguments must begin with PROXY CONTROL.
"""
import os
import pathlib
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "integration"))
import mesh_support as mesh  # noqa: E402
import proxy_support as support  # noqa: E402
from proxy_support import ADDRESS, NAME, eventually  # noqa: E402

SERVICE = mesh.SERVICE
PORTS = {"http": 8080, "grpc": 10000, "h2c": 8082, "unknown": 10001}
PROTOCOLS = {"http": "http", "grpc": "grpc", "h2c": "kubernetes.io/h2c", "unknown": None}
sidecars = {}


def service():
    """pod b's Service: each port is the pod's."""
    def port(name, **more):
        protocol = {"appProtocol": PROTOCOLS[name]} if PROTOCOLS[name] else {}
        return {"name": f"{name}-port" if PROTOCOLS[name] else "port-u", "port": PORTS[name], **more, **protocol}

    name, space = mesh.PODS["b"]
    return [
        mesh.thing("Service", name, space, spec={
            "clusterIP": SERVICE, "clusterIPs": [SERVICE], "selector": {"app": name},
            "ports": [port(one, targetPort=PORTS[one]) for one in PORTS]}),
        mesh.thing("EndpointSlice", f"{name}-1", space, "discovery.k8s.io/v1", {"kubernetes.io/service-name": name}, addressType="IPv4",
                   endpoints=[{"addresses": [ADDRESS["b", 4]], "conditions": {"ready": True},
                               "targetRef": {"kind": "Pod", "name": name, "namespace": space}}],
                   ports=[port(one) for one in PORTS])]


def world():
    """mesh_support's, with this Service in place of its own."""
    ours = [one for one in mesh.world() if one["kind"] not in ("Service", "EndpointSlice")]
    return [*ours, *service()]


def up():
    mesh.skip_unless_possible()
    mesh.make_pods()
    control = mesh.Control(objects=world())
    control.start()
    for role in "ba":
        sidecars[role] = mesh.sidecar(role)


def command(role, words):
    return ["ip", "netns", "exec", NAME[role], *map(str, words)]


def start(role, words, port=None, **how):
    """Ready when something listens on `port`."""
    log = tempfile.TemporaryFile()
    process = subprocess.Popen(command(role, words), stdin=subprocess.DEVNULL, stdout=log, stderr=log, **how)
    support.processes.append(process)
    if port is not None:
        def listens():
            assert process.poll() is None, f"{words[0]} has ended"
            text = subprocess.run(command(role, ["ss", "-Hltn", f"sport = :{port}"]), capture_output=True, text=True, check=True).stdout
            return bool(text.strip())
        eventually(listens, f"{words[0]} listens")
    return process


def run(role, words, patience=60, **how):
    try:
        done = subprocess.run(command(role, words), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              text=True, timeout=patience, check=False, errors="replace", **how)
        return done.returncode, done.stdout
    except subprocess.TimeoutExpired as error:
        return -1, f"no end after {patience} s: {(error.stdout or b'')[-500:]!r}"


def alive():
    """Asserts that both sidecars live."""
    for role, proxy in sidecars.items():
        assert proxy.process.poll() is None, f"the sidecar of pod {role} has died:\n" + "".join(proxy.seen[-20:])


def check_carried(protocol):
    """Asserts that the sidecars took it as requests, the same on both sides, and next to nothing as opaque bytes (a client that is silent
    for a moment is)."""
    def count(name, **labels):
        return [sidecars[role].metric(name, **labels) for role in "ab"]

    eventually(lambda: len(set(count("istio_requests_total", request_protocol=protocol))) == 1,
               f"both sidecars count the same requests of {protocol}")
    requests = count("istio_requests_total", request_protocol=protocol)
    opaque = count("istio_tcp_connections_opened_total")
    print(f"carried as requests of {protocol}: {requests[0]:.0f}; as opaque connections: {opaque[0]:.0f}, {opaque[1]:.0f}", flush=True)
    assert requests[0] > 0 and max(opaque) * 20 <= requests[0], "carried as opaque bytes, not as requests"


os.environ.setdefault("PYTHONDONTWRITEBYTECODE", "1")
