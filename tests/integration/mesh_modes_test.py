"""The modes of mutual TLS, changed live: who may speak how to a pod, what is seen on the wire, and what becomes of
connections that are there.

    mesh_modes_test.py <fairlead-proxy> <fairlead-control>
"""
import itertools

import mesh_support as mesh
import proxy_support as support
from mesh_support import ROOT_NAMESPACE, SERVICE, Control, Http, Tcp, Wire, echoes, ends_within, sidecar, status
from proxy_support import ADDRESS, Origin, eventually

SELECTOR = {"matchLabels": {"app": "server"}}
LEVELS = {  # nearer ones come later, and win
    "mesh": lambda mode: ("mesh", ROOT_NAMESPACE, {"mtls": {"mode": mode}}),
    "namespace": lambda mode: ("space", "demo", {"mtls": {"mode": mode}}),
    "workload": lambda mode: ("workload", "demo", {"selector": SELECTOR, "mtls": {"mode": mode}}),
    "port": lambda mode: ("workload", "demo", {"selector": SELECTOR, "mtls": {"mode": "UNSET"}, "portLevelMtls": {
        str(port): {"mode": mode} for _, port in mesh.PORTS.values()}}),
}
POD = ADDRESS["b", 4]
numbers = itertools.count()


class World:
    """What the tests share: they run in their order."""


def apply(level, mode):
    name, space, spec = LEVELS[level](mode)
    World.control.put(name, mesh.policy("PeerAuthentication", name, space, spec))


def clear():
    for name in ("mesh", "space", "workload"):
        if (World.control.source / f"{name}.yaml").exists():
            World.control.remove(name)


def seen_in_the_clear(send):
    """Whether what was sent can be read on the wire; it must have been answered."""
    marker = f"marker-{next(numbers):06}-of-this-request"
    assert send(marker), f"{marker}: no answer"
    return World.wire.has(marker.encode())


def http_from_mesh(marker, to=SERVICE, port=80):
    return status(to, port, f"/{marker}") == 200


def tcp_from_mesh(marker, to=SERVICE, port=9000):
    return echoes(to, port, b"\0" + marker.encode() + b"\n")


FROM_MESH = [http_from_mesh, tcp_from_mesh, lambda marker: tcp_from_mesh(marker, port=9001),
             lambda marker: http_from_mesh(marker, POD, 8080), lambda marker: tcp_from_mesh(marker, POD, 9000)]


def from_outside():
    """What a client without a sidecar gets: over HTTP and over TCP."""
    return status(POD, 8080, as_proxy=True) == 200, echoes(POD, 9000, as_proxy=True)


def in_force(mode):
    """Both sides have it: the server's who may come in, the client's how it goes out. Those ask for it again and again."""
    def holds():
        try:
            return from_outside() == ((mode != "STRICT",) * 2) and \
                all(seen_in_the_clear(send) == (mode == "DISABLE") for send in FROM_MESH)
        except AssertionError:
            return False
    eventually(holds, f"{mode} is not in force", 5)


# -- tests ------------------------------------------------------------------------------------------------------------

def test_every_level():
    World.control = Control()
    World.control.start()
    for port, serve in ((8080, mesh.serve_http), (9000, mesh.serve_echo), (9001, mesh.serve_echo)):
        Origin(port, serve)
    World.b, World.a = sidecar("b"), sidecar("a")
    World.wire = Wire()
    in_force("PERMISSIVE")  # where nothing is said
    for level, mode in (("mesh", "STRICT"), ("namespace", "DISABLE"), ("workload", "PERMISSIVE"), ("port", "STRICT"),
                        ("port", "DISABLE"), ("workload", "STRICT"), ("port", "PERMISSIVE")):
        apply(level, mode)
        in_force(mode)
    clear()
    in_force("PERMISSIVE")
    for mode in ("DISABLE", "STRICT"):
        apply("namespace", mode)
        in_force(mode)
    clear()
    in_force("PERMISSIVE")


def test_a_port_of_its_own():
    """One port in the clear, the others not."""
    World.control.put("workload", mesh.policy("PeerAuthentication", "workload", "demo", {
        "selector": SELECTOR, "mtls": {"mode": "STRICT"}, "portLevelMtls": {"9000": {"mode": "PERMISSIVE"}}}))
    eventually(lambda: from_outside() == (False, True), "the port's mode is not in force")
    assert not any(seen_in_the_clear(send) for send in FROM_MESH)
    clear()
    in_force("PERMISSIVE")


def test_live_connections():
    held = Http(POD, 8080, as_proxy=True)
    held.sock.sendall(support.get("/hold").encode())
    assert held.head()[0].split()[1] == "200"
    plain_http, plain_tcp = Http(POD, 8080, as_proxy=True), Tcp(POD, 9000, as_proxy=True)
    http, tcp = Http(), Tcp()
    assert plain_http.get() == http.get() == 200 and plain_tcp.echo(b"plain") and tcp.echo(b"mutual TLS")
    apply("mesh", "STRICT")
    for connection in (held, plain_http, plain_tcp):
        assert ends_within(connection.sock), "plaintext goes on under STRICT"
    assert http.get() == 200 and tcp.echo(b"mutual TLS"), "mutual TLS was cut by STRICT"
    in_force("STRICT")
    apply("mesh", "PERMISSIVE")
    in_force("PERMISSIVE")
    assert http.get() == 200 and tcp.echo(b"mutual TLS"), "mutual TLS was cut by PERMISSIVE"
    under_strict = []
    apply("mesh", "STRICT")
    in_force("STRICT")
    under_strict = [Tcp(), Tcp(POD, 9000)]
    assert all(one.echo(b"begun under STRICT") for one in under_strict)
    clear()
    in_force("PERMISSIVE")
    assert http.get() == 200 and tcp.echo(b"mutual TLS")
    assert all(one.echo(b"begun under STRICT") for one in under_strict), "what began under STRICT was cut by PERMISSIVE"
    apply("mesh", "DISABLE")
    in_force("DISABLE")
    for one in (tcp, *under_strict):
        assert ends_within(one.sock), "mutual TLS goes on where it is disabled"
    assert http.get() == 200, "the application's own connection was cut"
    http.close()
    for proxy in (World.a, World.b):
        proxy.stop()


def main():
    mesh.skip_unless_possible()
    mesh.make_pods()
    support.run_tests([test_every_level, test_a_port_of_its_own, test_live_connections])


if __name__ == "__main__":
    main()
