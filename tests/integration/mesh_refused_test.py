"""A sidecar that gets no certificate: it does not start, and says why, in its log and at its ports; and starts once it may.

    mesh_refused_test.py <fairlead-proxy> <fairlead-control>
"""
import os

import mesh_support as mesh
import proxy_support as support
from mesh_support import Control, sidecar
from proxy_support import FOLDER, GID, UID, eventually, run

AUDIENCE = "fairlead-ca"


class World:
    """What the tests share: they run in their order."""


def show(audience=AUDIENCE, ttl=3600, account=None):
    """The token that the kubelet brought."""
    name, space = mesh.PODS["a"]
    fresh = FOLDER / "token-fresh"
    run(mesh.CONTROL, "token", "create", "--token-dir", FOLDER / "tokens", "--namespace", space, "--service-account",
        account or name, "--audience", audience, "--ttl", ttl, "--out", fresh)
    os.chown(fresh, UID, GID)
    os.rename(fresh, FOLDER / "token-a")


def assert_waits(word):
    """Neither ready nor started, with the reason at each place where somebody looks."""
    def told():
        answers = [World.a.admin("/ready"), World.a.admin("/healthz/ready", port=15021),
                   World.a.admin("/healthz/started", port=15021)]
        assert all(status == 503 for status, _ in answers), answers
        return all(text.startswith("INITIALIZING: waits for a certificate: ") and word in text for _, text in answers)
    eventually(told, f"no page says {word}: {World.a.admin('/ready')}")
    eventually(lambda: any('"no certificate"' in line and word in line for line in list(World.a.seen)) or take_lines(),
               f"the log does not say {word}")


def take_lines():
    while not World.a.lines.empty():
        World.a.seen.append(World.a.lines.get())
    return False


def test_nobody_is_there():
    World.control = Control()
    World.control.start()
    World.control.stop()
    World.a = sidecar("a", wait=False)
    World.a.wait_for("no certificate")
    assert_waits("refused")  # the connection


def test_tokens_that_are_refused():
    show("https://kubernetes.default.svc")
    World.control.start()
    assert_waits("token_audience")
    (FOLDER / "token-a").write_text("nonsense")
    assert_waits("token_malformed")


def test_an_identity_that_is_not_its_own():
    show(account="somebody")
    assert_waits("somebody")


def test_it_starts_once_it_may():
    show()
    World.a.wait_for("ready", patience=60)
    assert World.a.admin("/ready") == (200, "LIVE\n")
    assert World.a.admin("/healthz/started", port=15021)[0] == 200
    World.a.stop()
    World.control.stop()


def main():
    mesh.skip_unless_possible()
    mesh.make_pods()
    support.run_tests([test_nobody_is_there, test_tokens_that_are_refused, test_an_identity_that_is_not_its_own,
                       test_it_starts_once_it_may])


if __name__ == "__main__":
    main()
