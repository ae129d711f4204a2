"""Settings that name another trust domain than the one that certificates are issued for: told, nobody is let in, nothing
goes in the clear, and it mends itself.

    mesh_trust_domain_test.py <fairlead-proxy> <fairlead-control>
"""
import mesh_support as mesh
import proxy_support as support
from mesh_support import ROOT_NAMESPACE, Control, Wire, sidecar, status, xds
from proxy_support import ADDRESS, FOLDER, Origin, eventually

ISSUED = "prod.example"


class World:
    """What the tests share: they run in their order."""


def settings(domain):
    spec = {"egress": "AllowAny", "meshCIDRs": ["10.96.0.0/16"], **({"trustDomain": domain} if domain else {})}
    return mesh.policy("MeshSettings", "default", ROOT_NAMESPACE, spec)


def rest():
    return [one for one in mesh.world() if one["kind"] != "MeshSettings"]


def status_says(text):
    return any(text in path.read_text() for path in (FOLDER / "status").glob("*.yaml"))


def start(role):
    return sidecar(role, environment={"FAIRLEAD_TRUST_DOMAIN": ISSUED})


def test_the_option_is_the_default():
    (FOLDER / "status").mkdir()
    World.control = Control("--trust-domain", ISSUED, "--status", FOLDER / "status", objects=rest())
    World.control.put("strict", mesh.policy("PeerAuthentication", "strict", ROOT_NAMESPACE, {"mtls": {"mode": "STRICT"}}))
    World.control.put("settings", settings(None))
    World.control.start()
    Origin(8080, mesh.serve_http)
    World.wire = Wire()
    World.b, World.a = start("b"), start("a")
    assert status(path="/agreed-upon") == 200
    assert not World.control.said("trust domains disagree: no proxy is served")


def test_disagreement():
    World.control.put("settings", settings("other.example"))
    eventually(lambda: World.control.said("trust domains disagree: no proxy is served"), "nothing is said")
    said = World.control.said("trust domains disagree: no proxy is served")[-1]
    assert (said["issued"], said["settings"]) == (ISSUED, "other.example"), said
    eventually(lambda: status_says("certificates are issued for the trust domain prod.example"), "no status")
    for _ in range(5):  # what was agreed upon may go on; nothing goes in the clear, and nobody comes in so
        status(path="/while-they-disagree")
        assert status(ADDRESS["b", 4], 8080, as_proxy=True) == 0
    assert not World.wire.has(b"while-they-disagree")


def test_mended():
    World.control.put("settings", settings(ISSUED))
    eventually(lambda: all(xds(proxy)["connected"] for proxy in (World.a, World.b)) and status(path="/mended") == 200,
               "it does not mend itself")
    eventually(lambda: not status_says("certificates are issued for"), "the status stays")
    assert not World.wire.has(b"/agreed-upon") and not World.wire.has(b"/mended")
    for proxy in (World.a, World.b):
        proxy.stop()


def test_a_proxy_that_starts_meanwhile():
    """It has a certificate, and is told nothing."""
    refused = len(World.control.said("proxy refused"))
    World.control.put("settings", settings("other.example"))
    eventually(lambda: len(World.control.said("trust domains disagree: no proxy is served")) == 2, "nothing is said")
    for path in (FOLDER / "state-a").iterdir():
        path.unlink()
    World.a = sidecar("a", wait=False, environment={"FAIRLEAD_TRUST_DOMAIN": ISSUED})
    World.a.wait_for("certificate received")
    eventually(lambda: len(World.control.said("proxy refused")) > refused, "it is not refused")
    assert "trust domain" in World.control.said("proxy refused")[-1]["reason"]
    assert not xds(World.a)["complete"]
    assert status() == 0
    World.a.process.kill()
    World.control.stop()


def main():
    mesh.skip_unless_possible()
    mesh.make_pods()
    support.run_tests([test_the_option_is_the_default, test_disagreement, test_mended, test_a_proxy_that_starts_meanwhile])


if __name__ == "__main__":
    main()
