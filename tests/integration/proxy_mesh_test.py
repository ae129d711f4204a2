"""Two sidecars without a file and fairlead-control: certificates from its CA, configuration over ADS with them, destinations
on demand, a restart while the control plane is away.

    proxy_mesh_test.py <fairlead-proxy> <fairlead-control>
"""
import socket
import types

import dns_support as dns
import mesh_support as mesh
import proxy_support as support
from mesh_support import SERVICE, Control, sidecar, status, xds
from proxy_support import FOLDER, Origin, eventually


class World:
    """What the tests share: they run in their order."""


def test_ready_and_identified():
    World.control = Control()
    World.control.put("strict", mesh.policy("PeerAuthentication", "strict", "demo", {"mtls": {"mode": "STRICT"}}))
    World.control.start()
    Origin(8080, mesh.serve_http)
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
    # use_original_dst: redirected to virtualOutbound's port, served by the listener of the address that was dialled
    eventually(lambda: any(line.get("listener") == f"outbound|{SERVICE}:80" for line in World.a.access_log()), "not handed over")
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


def test_a_control_plane_by_name():
    """Looked up at each connection, with the search domains; a name that nobody answers any more is where it was."""
    server = dns.Server(types.SimpleNamespace(path=f"/run/netns/{support.NAME['b']}"), support.ADDRESS["b", 4])
    server.put("control.mesh.svc.cluster.local", dns.A, dns.record(dns.A, 5, socket.inet_aton(support.ADDRESS["b", 4])))
    (FOLDER / "resolv.conf").write_text(f"nameserver {support.ADDRESS['b', 4]}\nsearch demo.svc.cluster.local cluster.local\n"
                                        "options ndots:5\n")
    World.a = sidecar("a", environment={"FAIRLEAD_CONTROL_ADDRESS": f"control.mesh.svc:{mesh.PORT}",
                                        "FAIRLEAD_RESOLV_CONF": str(FOLDER / "resolv.conf")})
    eventually(lambda: xds(World.a)["connected"], "not connected")
    assert server.count("control.mesh.svc.cluster.local") >= 1
    server.stop()
    World.control.stop()
    eventually(lambda: not xds(World.a)["connected"], "still connected")
    World.control.start()
    eventually(lambda: xds(World.a)["connected"], "not connected again", 60)
    World.a.stop()


def test_no_control_plane_at_all():
    """Pass-through: no certificate is asked for, and what the other side is does not matter."""
    World.control.put("strict", mesh.policy("PeerAuthentication", "strict", "demo", {"mtls": {"mode": "PERMISSIVE"}}))
    World.a = sidecar("a", environment={"FAIRLEAD_CONTROL_ADDRESS": "none"})
    World.b = sidecar("b", environment={"FAIRLEAD_CONTROL_ADDRESS": "none"})
    assert status(support.ADDRESS["b", 4], 8080) == 200
    assert "spiffe://" not in World.a.admin("/certs")[1]
    for proxy, cluster in ((World.a, "PassthroughCluster"), (World.b, "InboundPassthroughCluster")):
        assert f"{cluster}::" in proxy.admin("/clusters")[1], proxy.admin("/clusters")
    World.a.stop()
    World.b.stop()


def main():
    mesh.skip_unless_possible()
    mesh.make_pods()
    support.run_tests([test_ready_and_identified, test_on_demand, test_unknown_in_the_mesh_is_refused,
                       test_without_the_control_plane, test_a_control_plane_by_name, test_no_control_plane_at_all])


if __name__ == "__main__":
    main()
