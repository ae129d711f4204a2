"""Certificates that live for seconds, under traffic in both directions: renewals, then a new root, and nothing is felt of it.

    mesh_certificates_test.py <fairlead-proxy> <fairlead-control>
"""
import json
import os
import ssl
import subprocess

import mesh_support as mesh
import proxy_support as support
from mesh_support import BACK, Control, Http, Load, Tcp, sidecar, status, xds
from proxy_support import FOLDER, Origin, eventually, run

VALIDITY_S = 4
OVERLAP_S = 3  # longer than until the next renewal, so that by then everybody knows the new root
RENEWALS = 3
STRICT = mesh.policy("PeerAuthentication", "strict", mesh.ROOT_NAMESPACE, {"mtls": {"mode": "STRICT"}})


class World:
    """What the tests share: they run in their order."""


def renewals(proxy):
    return proxy.metric("fairlead_identity_renewals_total", result="success")


def await_renewals(count):
    """So many more, of both."""
    wanted = [(proxy, renewals(proxy) + count) for proxy in (World.a, World.b)]
    eventually(lambda: all(renewals(proxy) >= number for proxy, number in wanted), "no renewals")


def leaf(role):
    """The certificate that a pod's sidecar shows to a client of now."""
    sock = support.dial("b" if role == "a" else "a", role, 8080, as_proxy=True)
    with support.tls_client().wrap_socket(sock) as shown:
        return ssl.DER_cert_to_PEM_cert(shown.getpeercert(binary_form=True))


def is_of(role, root):
    command = ["openssl", "verify", "-CAfile", FOLDER / "ca" / root]
    return subprocess.run(command, input=leaf(role), text=True, capture_output=True).returncode == 0


def begin(proxy):
    """When the certificate in use began, as a text that sorts."""
    return json.loads(proxy.admin("/certs")[1])["certificates"][0]["cert_chain"][0]["valid_from"]


def await_streams(proxy, connects):
    eventually(lambda: xds(proxy)["connects"] >= connects and xds(proxy)["connected"], "the stream did not come back")
    seen = xds(proxy)
    assert seen["complete"] and all(kind["refused"] == 0 for kind in seen["types"].values()), seen


# -- tests ------------------------------------------------------------------------------------------------------------

def test_traffic():
    World.control = Control("--certificate-validity", VALIDITY_S, "--ca-overlap", OVERLAP_S)
    World.control.put("strict", STRICT)
    World.control.start()
    for role in "ab":
        Origin(8080, mesh.serve_http, role)
    Origin(9000, mesh.serve_echo)
    World.b, World.a = sidecar("b"), sidecar("a")
    World.connections = kept, opaque, back = Http(), Tcp(), Http(BACK, role="b")
    World.loads = [Load(lambda: kept.get() == 200), Load(lambda: opaque.echo(b"still the same connection")),
                   Load(lambda: back.get() == 200), Load(lambda: status() == 200),
                   Load(lambda: status(BACK, role="b") == 200)]
    World.first = leaf("b")


def test_renewals():
    held = [xds(proxy)["types"]["LDS"]["held"] for proxy in (World.a, World.b)]
    await_renewals(RENEWALS)
    assert leaf("b") != World.first, "new connections see the certificate of before"
    for proxy, before in zip((World.a, World.b), held):
        await_streams(proxy, 3)
        assert xds(proxy)["types"]["LDS"]["held"] >= before, "configuration was lost"
    for load in World.loads:
        load.check()


def rotate(number):
    """Until root `number` issues, besides those before it."""
    before = len(World.control.said("issuer ready"))
    run(mesh.CONTROL, "ca", "rotate", "--ca-dir", FOLDER / "ca")
    eventually(lambda: len(World.control.said("issuer ready")) == before + 1, "the new root was not noticed")
    assert World.control.said("issuer ready")[-1]["roots"] == number
    eventually(lambda: len(World.control.said("issuer ready")) == before + 2, "the new root does not issue")


def talk_across(number):
    """One sidecar stays on its old certificate, which outlives the other's. False: it had the new one before we were there."""
    young, old = ("a", "b") if begin(World.a) > begin(World.b) else ("b", "a")
    token = FOLDER / f"token-{young}"
    os.rename(token, FOLDER / "kept-token")
    try:
        eventually(lambda: is_of(old, f"root-{number}.pem"), "no certificate of the new root")
        for _ in range(10):
            assert status() == 200 and status(BACK, role="b") == 200
        different = is_of(young, f"root-{number - 1}.pem")
    finally:
        os.rename(FOLDER / "kept-token", token)
    eventually(lambda: is_of(young, f"root-{number}.pem"), "no certificate of the new root")
    return different


def test_old_and_new_root_talk_both_ways():
    for number in (2, 3, 4):
        rotate(number)
        World.root = f"root-{number}.pem"
        if talk_across(number):
            break
    else:
        raise AssertionError("the two were never different")
    for load in World.loads:
        load.check()


def test_the_old_root_goes():
    for path in (FOLDER / "ca").glob("root-?.pem"):
        if path.name != World.root:
            path.unlink()
    eventually(lambda: World.control.said("issuer ready")[-1]["roots"] == 1, "the old root's end was not noticed")
    await_renewals(1)
    for load in World.loads:
        load.stop()
    for connection in World.connections:
        connection.close()
    ended = [line for line in World.control.said("proxy refused") if "expired" in line["reason"]]
    assert not ended, f"who renews in time is never cut off: {ended}"


def test_a_stream_ends_with_its_certificate():
    """It cannot renew for a while: its stream ends then, and with the next certificate it is back as it was."""
    before, token = xds(World.a), FOLDER / "token-a"
    os.rename(token, FOLDER / "kept-token")
    try:
        eventually(lambda: not xds(World.a)["connected"], "the stream outlives its certificate")
    finally:
        os.rename(FOLDER / "kept-token", token)
    assert xds(World.a)["types"]["LDS"]["held"] == before["types"]["LDS"]["held"], "configuration was lost"
    assert any("expired" in line["reason"] for line in World.control.said("proxy refused"))
    await_streams(World.a, before["connects"] + 1)
    assert xds(World.a)["types"]["LDS"]["held"] == before["types"]["LDS"]["held"], "configuration was lost"
    assert status() == 200
    for proxy in (World.a, World.b):
        assert xds(proxy)["connected"]
        proxy.stop()


def main():
    mesh.skip_unless_possible()
    mesh.make_pods()
    support.run_tests([test_traffic, test_renewals, test_old_and_new_root_talk_both_ways, test_the_old_root_goes,
                       test_a_stream_ends_with_its_certificate])


if __name__ == "__main__":
    main()
