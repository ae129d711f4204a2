"""The server's sidecar is replaced, ends, dies, and its certificates change, under a load of HTTP/1, HTTP/2 and gRPC that shares
connections between the sidecars.

    mesh_restart_test.py <fairlead-proxy> <fairlead-control>

HTTP/2 needs h2load and nghttpd, gRPC the load program of tests/conformance/go in build/conformance; what is missing is told.
"""
import contextlib
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import threading

import mesh_support as mesh
import proxy_support as support
from mesh_support import Control, Http, Load, Tcp, sidecar, status, thing
from proxy_support import NAME, Origin, eventually, get

TOP = pathlib.Path(__file__).resolve().parents[2]
GRPC = TOP / "build/conformance/load"
MORE = "10.96.0.12"
PORTS = {"h2c": (81, 8082, "kubernetes.io/h2c"), "grpc": (82, 8083, "grpc")}
VALIDITY_S = 4  # certificates are renewed at half of it
LONG_S = 20


class World:
    """What the tests share: they run in their order."""


# -- the application ----------------------------------------------------------------------------------------------------

class Gate:
    """Requests to /wait arrive here, and are answered when it opens."""

    def __init__(self):
        self.arrived, self.open = threading.Semaphore(0), threading.Event()


def serve(sock):
    reader = support.Reader(sock)
    while True:
        line, fields = reader.head()
        reader.body(fields)
        if line.split()[1].startswith("/wait"):
            World.gate.arrived.release()
            World.gate.open.wait(support.PATIENCE)
        sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")


def post(path="/", body="x" * 3000):
    return f"POST {path} HTTP/1.1\r\nHost: server.demo\r\nContent-Length: {len(body)}\r\n\r\n{body}"


class Kept:
    """Requests on one connection, for as long as it is kept."""

    def __init__(self, request):
        self.request, self.client = request, None

    def __call__(self):
        self.client = self.client or Http()
        code, fields, _ = self.client.ask(self.request)
        if fields.get("connection") == "close":
            self.client.close()
            self.client = None
        assert code == 200, code
        return True


def more_service():
    """The same pod under a second name: HTTP/2 and gRPC."""
    endpoint = {"addresses": [support.ADDRESS["b", 4]], "conditions": {"ready": True},
                "targetRef": {"kind": "Pod", "name": "server", "namespace": "demo"}}
    return [
        thing("Service", "more", "demo", spec={"clusterIP": MORE, "clusterIPs": [MORE], "selector": {"app": "server"}, "ports": [
            {"name": name, "port": port, "targetPort": target, "appProtocol": protocol}
            for name, (port, target, protocol) in PORTS.items()]}),
        thing("EndpointSlice", "more-1", "demo", "discovery.k8s.io/v1", {"kubernetes.io/service-name": "more"}, addressType="IPv4",
              endpoints=[endpoint], ports=[{"name": name, "port": target} for name, (_, target, _) in PORTS.items()])]


def in_pod(role, *command, **how):
    process = subprocess.Popen(["ip", "netns", "exec", NAME[role], *map(str, command)], stdin=subprocess.DEVNULL,
                               stderr=subprocess.STDOUT, **how)
    support.processes.append(process)
    return process


class Outside:
    """A load of somebody else's program, for some seconds: `judge` looks at what it said."""

    def __init__(self, judge, *command):
        self.judge, self.process = judge, in_pod("a", *command, stdout=subprocess.PIPE, text=True)

    def stop(self):
        said = self.process.communicate(timeout=support.PATIENCE * 3)[0]
        self.judge(said)


def judge_h2load(said):
    done = re.search(r"requests: (\d+) total, \d+ started, \d+ done, (\d+) succeeded, (\d+) failed, (\d+) errored, (\d+) timeout", said)
    assert done and int(done[2]) > 0 and done.group(3, 4, 5) == ("0", "0", "0"), said
    assert re.search(r"status codes: \d+ 2xx, 0 3xx, 0 4xx, 0 5xx", said), said


def judge_grpc(said):
    count, errors = said.split()[-2:]
    assert int(count) > 0 and int(errors) == 0, said


def begin_loads(seconds):
    loads = [Load(Kept(get(host="server.demo"))), Load(Kept(post())), Load(lambda: status() == 200)]
    if World.h2:
        loads.append(Outside(judge_h2load, "h2load", "-D", seconds, "-c", 3, "-m", 5, f"http://{MORE}:81/"))
    if World.grpc:
        loads.append(Outside(judge_grpc, GRPC, "unary", f"{MORE}:82", seconds, 2, 5))
    return loads


def end_loads(loads):
    eventually(lambda: all(load.count > 0 or load.failures for load in loads[:3]), "no load")
    for load in loads:
        load.stop()


# -- tests ---------------------------------------------------------------------------------------------------------------

def start_b(*options):
    return sidecar("b", options=("--drain-time-s", "10", *options))


def test_everything_is_answered():
    World.control = Control()
    World.control.put("more", *more_service())
    World.control.start()
    World.gate = Gate()
    Origin(8080, serve)
    if World.h2:
        in_pod("b", "nghttpd", "--no-tls", "-d", support.FOLDER, 8082, stdout=subprocess.DEVNULL)
        (support.FOLDER / "index.html").write_text("ok")
    if World.grpc:
        in_pod("b", GRPC, "serve", "0.0.0.0:8083", stdout=subprocess.DEVNULL)
    World.b, World.a = start_b(), sidecar("a")
    end_loads(begin_loads(1))


def test_replaced_under_load():
    """Each new process takes the listeners over; the old one drains and ends, and nothing fails."""
    loads = begin_loads(8)
    for _ in range(3):
        counts = [load.count for load in loads[:3]]
        after = start_b("--take-over")
        World.b.wait_for("another process has taken over")
        World.b.ended()
        World.b = after
        eventually(lambda: all(load.count > count + 5 or load.failures for load, count in zip(loads, counts)), "no load")
    end_loads(loads)


def in_flight(request):
    """A client whose request the application has, and does not answer yet."""
    client = Http()
    client.sock.sendall(request.encode())
    assert World.gate.arrived.acquire(timeout=support.PATIENCE)
    return client


def test_what_is_under_way_outlives_a_sigterm():
    World.gate = Gate()
    clients = [in_flight(get("/wait", host="server.demo")), in_flight(post("/wait"))]
    World.b.process.send_signal(signal.SIGTERM)
    World.b.wait_for("draining")
    World.gate.open.set()
    for client in clients:
        assert client.answer()[0] == 200
        client.close()
    World.b.ended()
    World.b = start_b()
    assert status() == 200


def flags():
    lines = [line for line in World.a.log.read_text().splitlines() if '"path":"/wait"' in line]
    return [(line["method"], line["response_code"], line["response_flags"]) for line in map(json.loads, lines)]


def test_killed():
    """What the application may have begun fails, with its flag; what may be asked again is."""
    World.gate = Gate()
    before = len(flags())
    assert status() == 200  # the connection between the sidecars is open
    poster, getter = in_flight(post("/wait")), in_flight(get("/wait", host="server.demo"))
    races = World.a.metric("fairlead_upstream_retries_total", result="keep_alive")
    World.b.process.kill()
    World.b.process.wait()
    World.b = start_b()
    code = poster.answer()[0]
    World.gate.open.set()
    assert code == 503, code
    assert getter.answer()[0] in (200, 503)  # asked again, as often as its policy has it while nobody listens
    assert World.a.metric("fairlead_upstream_retries_total", result="keep_alive") > races
    eventually(lambda: len(flags()) == before + 2, "no log")
    assert ("POST", 503, "UC") in flags()[before:], flags()[before:]
    for client in (poster, getter):
        assert client.get() == 200
        client.close()


def test_killed_under_load():
    """Only what was under way, or came before the new process listened, fails: then everything is answered again."""
    codes = []

    def ask():
        codes.append(status())
        return True
    load = Load(ask)
    eventually(lambda: len(codes) > 20, "no load")
    World.b.process.kill()
    World.b.process.wait()
    World.b = start_b()
    count = len(codes)
    eventually(lambda: len(codes) > count + 20, "no load")
    load.stop()
    assert set(codes) <= {200, 503}, set(codes)
    assert codes[-15:] == [200] * 15, codes[-30:]


def restart_control(*options):
    World.a.stop()
    World.b.stop()
    World.control.stop()
    for role in "ab":
        shutil.rmtree(support.FOLDER / f"state-{role}")
    World.control = Control(*options)
    World.control.put("more", *more_service())
    World.control.start()
    World.b, World.a = start_b(), sidecar("a")


def renewals(proxy):
    return proxy.metric("fairlead_identity_renewals_total", result="success")


def test_certificates_change_every_two_seconds():
    """Shared connections are dialled anew with each certificate, and no request feels it."""
    restart_control("--certificate-validity", VALIDITY_S, "--ca-overlap", 3)
    opened = World.a.metric("fairlead_connections_opened_total", side="upstream")
    wanted = [(proxy, renewals(proxy) + LONG_S / 2 - 2) for proxy in (World.a, World.b)]
    loads = begin_loads(LONG_S)
    eventually(lambda: all(renewals(proxy) >= number for proxy, number in wanted), "no renewals", 2 * LONG_S)
    end_loads(loads)
    assert World.a.metric("fairlead_tls_handshake_failures_total") == 0
    assert World.b.metric("fairlead_tls_handshake_failures_total", reason="expired") == 0
    assert World.a.metric("fairlead_connections_opened_total", side="upstream") >= opened + LONG_S / 2 - 2


def test_expired():
    """Who cannot renew is let in nowhere any more; what was open before stays, and with the next certificate all is well."""
    Origin(9000, mesh.serve_echo)
    token, failures = support.FOLDER / "token-a", lambda: World.b.metric("fairlead_tls_handshake_failures_total", reason="expired")
    before = failures()
    os.rename(token, support.FOLDER / "kept-token")
    try:
        http, opaque = Http(), Tcp()
        assert http.get() == 200 and opaque.echo(b"before")
        eventually(lambda: not mesh.echoes(), "an expired certificate opens connections")
        eventually(lambda: failures() > before, "the server's sidecar has not told why")
        assert opaque.echo(b"after") and http.get() == 200
    finally:
        os.rename(support.FOLDER / "kept-token", token)
    eventually(mesh.echoes, "no new certificate")
    assert status() == 200 and opaque.echo(b"still")
    World.a.stop()
    World.b.stop()


def main():
    mesh.skip_unless_possible()
    mesh.make_pods()
    World.h2 = all(shutil.which(tool) for tool in ("h2load", "nghttpd"))
    World.grpc = GRPC.exists()
    for what, there in (("h2load or nghttpd", World.h2), (GRPC, World.grpc)):
        with contextlib.suppress(BrokenPipeError):
            print("" if there else f"without {what}, which is not here\n", end="")
    support.run_tests([test_everything_is_answered, test_replaced_under_load, test_what_is_under_way_outlives_a_sigterm, test_killed,
                       test_killed_under_load, test_certificates_change_every_two_seconds, test_expired])


if __name__ == "__main__":
    main()
