"""Opaque bytes through the mesh: servers that speak first, a TCPRoute, and policies on connections, live.

    mesh_tcp_test.py <fairlead-proxy> <fairlead-control>
"""
import mesh_support as mesh
import proxy_support as support
from mesh_support import BANNER, SERVICE, Control, Tcp, Wire, echoes, ends_within, sidecar, xds
from proxy_support import ADDRESS, Origin, eventually

CLIENT = "cluster.local/ns/other/sa/client"
POD = ADDRESS["b", 4]


class World:
    """What the tests share: they run in their order."""


def authorize(action, *sources, ports=("9000",), **spec):
    """One policy for the server, by where a connection comes from."""
    rule = {"from": [{"source": source} for source in sources]} if sources else {}
    rule["to"] = [{"operation": {"ports": list(ports)}}]
    World.control.put("policy", mesh.policy("AuthorizationPolicy", "policy", "demo", {
        "selector": {"matchLabels": {"app": "server"}}, "action": action, "rules": [rule], **spec}))


def echo(**how):
    return echoes(SERVICE, 9000, **how)


# -- tests ------------------------------------------------------------------------------------------------------------

def test_both_ways_of_beginning():
    World.control = Control()
    World.control.start()
    World.origins = {port: Origin(port, serve) for port, serve in (
        (9000, mesh.serve_echo), (9001, mesh.serve_banner), (9002, mesh.serve_banner))}
    World.b, World.a = sidecar("b"), sidecar("a")
    World.wire = Wire()
    assert echo(text=b"\0a marker of opaque bytes\n")
    assert echoes(SERVICE, 9002, banner=BANNER), "a server that speaks first, on a port that is TCP"
    assert echoes(SERVICE, 9001, banner=BANNER), "a server that speaks first, on a port of which nothing is said"
    assert echoes(POD, 9002, banner=BANNER), "the same by the pod's own address"
    assert not World.wire.has(b"a marker of opaque bytes")
    labels = {"source_workload": "client", "destination_workload": "server", "connection_security_policy": "mutual_tls"}
    eventually(lambda: World.b.metric("istio_tcp_connections_closed_total", reporter="destination", **labels) >= 4,
               "no metrics of TCP")


def test_half_close_and_size():
    """A megabyte and an end of one side: the other side's answer comes whole."""
    client, text = Tcp(), b"0123456789abcdef" * 65536
    load = mesh.Load(lambda: client.sock.sendall(text) or load.over.set())
    assert client.exactly(len(text)) == text
    load.stop()
    client.sock.shutdown(1)
    assert client.to_end() == b""


def test_route_by_port():
    live = Tcp()
    assert live.echo(b"before")
    parent = {"group": "", "kind": "Service", "name": "server", "port": 9000}
    World.control.put("route", mesh.thing("TCPRoute", "elsewhere", "demo", "gateway.networking.k8s.io/v1alpha2", spec={
        "parentRefs": [parent], "rules": [{"backendRefs": [{"name": "server", "port": 9002}]}]}))
    eventually(lambda: echo(banner=BANNER), "the TCPRoute is not in force")
    assert live.echo(b"after"), "a connection that was there does not move"
    World.control.remove("route")
    eventually(echo, "the TCPRoute is still in force")


DENIED = [  # what denies a meshed client's connection
    ("no ALLOW for its namespace", "ALLOW", [{"namespaces": ["demo"]}]),
    ("a DENY of its namespace", "DENY", [{"namespaces": ["other"]}]),
    ("no ALLOW for its principal", "ALLOW", [{"principals": ["cluster.local/ns/other/sa/other"]}]),
    ("a DENY of its principal", "DENY", [{"principals": [CLIENT]}]),
    ("no ALLOW for its address", "ALLOW", [{"ipBlocks": ["10.99.0.0/16"]}]),
    ("a DENY of its address", "DENY", [{"ipBlocks": ["10.88.0.0/24"]}]),
    ("a DENY of all but another", "DENY", [{"notPrincipals": ["cluster.local/ns/other/sa/other"]}]),
]
ALLOWED = [
    ("ALLOW", [{"namespaces": ["other"]}]), ("ALLOW", [{"principals": [CLIENT]}]), ("ALLOW", [{"ipBlocks": ["10.88.0.2"]}]),
    ("DENY", [{"principals": ["cluster.local/ns/other/sa/other"]}]), ("DENY", [{"ipBlocks": ["10.99.0.0/16"]}])]


def test_denied():
    """A live connection ends within a second; a new one is refused before the server knows of it."""
    for (what, action, sources), (allow, those) in zip(DENIED, ALLOWED + ALLOWED):
        live = Tcp()
        assert live.echo(b"allowed"), what
        authorize(action, *sources)
        assert ends_within(live.sock), f"{what}: the connection goes on"
        begun = len(World.origins[9000].peers)
        assert not echo(), f"{what}: a new one is let in"
        assert len(World.origins[9000].peers) == begun, f"{what}: the server was told"
        authorize(allow, *those)
        eventually(echo, f"{allow} {those}: refused")
    World.control.remove("policy")
    eventually(lambda: echoes(SERVICE, 9002, banner=BANNER), "a policy that is gone counts")


def test_without_a_sidecar():
    """Under PERMISSIVE a client in the clear has an address, and nothing else."""
    live = Tcp(POD, 9000, as_proxy=True)
    assert live.echo(b"allowed")
    authorize("ALLOW", {"principals": ["*"]})
    assert ends_within(live.sock), "plaintext has a principal"
    assert not echoes(POD, 9000, as_proxy=True)
    eventually(echo, "a principal is none")
    authorize("ALLOW", {"ipBlocks": [ADDRESS["a", 4]]})
    eventually(lambda: echoes(POD, 9000, as_proxy=True), "an address is refused")


def test_what_is_not_understood_denies():
    live = Tcp()
    assert live.echo(b"allowed")
    authorize("ALLOW", {"ipBlocks": ["10.88.0.0/24"]}, unheard="of")
    assert ends_within(live.sock) and not echo()
    World.control.remove("policy")
    eventually(echo, "still refused")
    live = Tcp()
    assert live.echo(b"allowed")
    version = xds(World.b)["types"]["LDS"]["version"]
    authorize("DENY", dryRun=True)
    eventually(lambda: xds(World.b)["types"]["LDS"]["version"] != version, "a policy that is tried only did not come")
    assert echo() and live.echo(b"a policy that is tried only")
    live.close()
    for proxy in (World.a, World.b):
        proxy.stop()


def main():
    mesh.skip_unless_possible()
    mesh.make_pods()
    support.run_tests([test_both_ways_of_beginning, test_half_close_and_size, test_route_by_port, test_denied,
                       test_without_a_sidecar, test_what_is_not_understood_denies])


if __name__ == "__main__":
    main()
