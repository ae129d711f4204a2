"""A pod of Istio's ambient mode as the settings say it (istioPeers): our sidecar reaches it by HBONE, and ours takes tunnels.

    mesh_hbone_test.py <fairlead-proxy> <fairlead-control>

Pod b is annotated as one that a ztunnel serves; a sidecar of ours plays the ztunnel there: it ends the tunnels at port 15008.
"""
import mesh_support as mesh
import proxy_support as support
from mesh_support import Control, Wire, sidecar
from proxy_support import ADDRESS, Origin, eventually

SERVER = "spiffe://cluster.local/ns/demo/sa/server"
CLIENT = "spiffe://cluster.local/ns/other/sa/client"


def world(istio_peers=True):
    objects = mesh.world()
    next(one for one in objects if one["kind"] == "MeshSettings")["spec"]["istioPeers"] = istio_peers
    server = next(one for one in objects if one["kind"] == "Pod" and one["metadata"]["name"] == "server")
    server["metadata"]["annotations"] = {"ambient.istio.io/redirection": "enabled"}
    server["spec"]["containers"] = [{"name": "app"}]
    return objects


class World:
    """What the tests share: they run in their order."""


def test_through_a_tunnel():
    World.control = Control(objects=world())
    World.control.start()
    Origin(8080, mesh.serve_http)
    Origin(9000, mesh.serve_echo)
    World.b = sidecar("b")
    World.a = sidecar("a")
    World.wire = Wire()
    eventually(lambda: mesh.status(path="/marker-in-the-clear") == 200, "HTTP to a pod behind a ztunnel")
    assert mesh.echoes(mesh.SERVICE, 9000), "bytes to a pod behind a ztunnel"
    assert mesh.status(ADDRESS["b", 4], 8080) == 200, "by its own address"
    assert not World.wire.has(b"marker-in-the-clear")
    assert World.a.metric("istio_requests_total", reporter="source", destination_principal=SERVER) >= 2
    assert World.b.metric("istio_requests_total", reporter="destination", source_principal=CLIENT,
                          connection_security_policy="mutual_tls") >= 2


def test_policies_see_who_calls():
    def allow(principal):
        World.control.put("policy", mesh.policy("AuthorizationPolicy", "one", "demo", {
            "action": "ALLOW", "rules": [{"from": [{"source": {"principals": [principal.removeprefix("spiffe://")]}}]}]}))
    allow(SERVER)
    eventually(lambda: mesh.status() == 403, "another identity is let in")
    eventually(lambda: not mesh.echoes(mesh.SERVICE, 9000), "another identity's bytes are let in")
    allow(CLIENT)
    eventually(lambda: mesh.status() == 200, "the identity is not seen")
    World.control.remove("policy")


def test_off_is_off():
    """Without the setting nobody ends tunnels, and the pod is reached as one without a mesh."""
    World.control.put("world", *world(istio_peers=False))
    eventually(lambda: World.b.admin("/listeners")[1].find("tunnelInbound") < 0, "the listener stays")
    eventually(lambda: mesh.status() == 200, "plaintext to a pod without a mesh")
    World.a.stop()
    World.b.stop()


def main():
    mesh.skip_unless_possible()
    mesh.make_pods()
    support.run_tests([test_through_a_tunnel, test_policies_see_who_calls, test_off_is_off])


if __name__ == "__main__":
    main()
