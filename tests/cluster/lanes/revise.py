#!/usr/bin/env python3
"""Another version of the mesh, and other certificates, under an app that is asked all the time (as in the lane `disturb`; its pods wait two
seconds before they end, so that their own end costs nothing), and no request may fail: certificates and the root rotated, an upgrade from
the chart of before and a roll-back, a canary of the control plane by revision. What docs/install.md tells an operator to do is done here.

The programs of both versions are those of the release build; the later version has them under another tag, so that all pods are made anew.
"""
import json
import subprocess
import time

from support import chart, place
from support.api import is_ready
from support.lane import Lane, main
from support.mesh import SYSTEM, Mesh
from support.place import kubectl, on_node, run
from support.steady import INSIDE, WAITS, Steady
from waiting import eventually

NEEDS = "mesh"
MINUTES = 20
FULL = True

# Seconds: of certificates, of which half pass before a proxy has the next one, and hears of a new root; and for which a root is trusted before
# it issues, so that a proxy that is late by VALIDITY has heard of it all the same. LOOK: the control planes look at the root's Secret.
VALIDITY, OVERLAP, LOOK = 40, 60, 2
PARTS = {"webhook": "webhook", "keeper": "keeper", "control": "control", "cli": "fairlead", "cni": "agent"}  # values' part: image
SECRET = "fairlead-ca"
PATIENCE = "240s"


def upgrade(*options, folder=place.CHARTS / "fairlead", release="fairlead"):
    chart.helm("upgrade", release, folder, "--namespace", SYSTEM, "--reset-then-reuse-values", "--wait", "--timeout", PATIENCE, *options)


def control_of(pod):
    """Which control plane a pod has, by what its proxy is told."""
    proxies = [*pod["spec"].get("initContainers", ()), *pod["spec"]["containers"]]
    return next(one["value"] for proxy in proxies for one in proxy.get("env", ()) if one["name"] == "FAIRLEAD_CONTROL_ADDRESS").split(".")[0]


class Revise(Lane):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.mesh = Mesh(cls)
        cls.later(cls.forget_roots, set(cls.roots()))
        cls.later(run, place.HERE / "install")  # as it was
        cls.steady = Steady(cls, cls.mesh, lifecycle=WAITS)

    def setUp(self):
        self.api.close()  # kept for as long as a test takes, it may be over

    def undisturbed(self, seen):
        print(f"\n    {seen.told()}", flush=True)
        for kind, count in seen.asked.items():
            self.assertGreater(count, 0, f"{kind}: nothing was asked")
        self.assertEqual(seen.failures, [], seen.told())

    # -- certificates -------------------------------------------------------------------------------------------------

    def shown(self, app="web"):
        """The certificate of a pod, by whoever asks its sidecar."""
        pod = self.steady.pods(app)[0]
        done = subprocess.run(["openssl", "s_client", "-connect", f"{pod['status']['podIP']}:8080", "-alpn", "fairlead-http/1", "-showcerts"],
                              stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=20)
        begin = done.stdout.find("-----BEGIN")
        return done.stdout[begin:done.stdout.find("-----END") + 30] if begin >= 0 else ""

    def bundle(self):
        return self.api.get("v1", "ConfigMap", "fairlead-root", self.steady.space)["data"]["root-cert.pem"]

    def is_signed_by(self, root, leaf):
        folder = self.folder()
        (folder / "root").write_text(root)
        (folder / "leaf").write_text(leaf)
        return subprocess.run(["openssl", "verify", "-partial_chain", "-CAfile", folder / "root", folder / "leaf"], capture_output=True, check=False).returncode == 0

    @classmethod
    def roots(cls):
        return cls.api.get("v1", "Secret", SECRET, SYSTEM)["data"]

    @classmethod
    def forget_roots(cls, known):
        cls.api.patch("v1", "Secret", SECRET, {"data": {name: None for name in cls.roots() if name not in known}}, SYSTEM)

    def test_certificates_and_root_rotated(self):
        """Certificates that live for less than a minute, renewed all the time; then another root, trusted first, then issuing."""
        self.control_with(f"--certificate-validity={VALIDITY}", f"--ca-overlap={OVERLAP}", f"--ca-look={LOOK}")
        self.later(self.control_with)
        for what in ("deployment/web", "deployment/edge-fairlead"):  # what was there has certificates for a day
            self.steady.roll(what)
        self.steady.ask_anew("client")
        first = self.shown()
        with self.steady.watch() as seen:
            eventually(lambda: self.shown() not in ("", first), "a certificate is renewed", 3 * VALIDITY)
            before = self.bundle()
            kubectl("-n", SYSTEM, "exec", "deployment/fairlead-control", "--", "/fairlead-control", "ca", "rotate", "--ca-secret", SECRET)
            eventually(lambda: self.bundle().count("BEGIN") > before.count("BEGIN"), "the next root is trusted", 60)
            eventually(lambda: self.is_of_another(before), "the next root issues", OVERLAP + 3 * VALIDITY)
            time.sleep(VALIDITY)  # so long there may be certificates of both roots
        self.undisturbed(seen)

    def is_of_another(self, before):
        leaf = self.shown()
        return leaf and not self.is_signed_by(before, leaf) and self.is_signed_by(self.bundle(), leaf)

    def control_with(self, *arguments):
        upgrade("--set-json", f"control.extraArgs={json.dumps(arguments)}")

    # -- versions -----------------------------------------------------------------------------------------------------

    def earlier(self):
        """The chart as it was before its last change."""
        def git(*words):
            return subprocess.run(["git", "-C", str(place.TOP), *words], capture_output=True, check=False)
        changed = git("log", "-1", "--format=%H", "--", "charts/fairlead").stdout.decode().strip()
        archive = git("archive", f"{changed}~1", "charts/fairlead") if changed else None
        if archive is None or archive.returncode != 0:
            self.skipTest("this is no clone with the chart's history")
        folder = self.folder()
        subprocess.run(["tar", "-x", "-C", str(folder)], input=archive.stdout, check=True)
        return folder / "charts" / "fairlead"

    @staticmethod
    def tagged(tag):
        """Values that name the images by another tag, which they have when this returns."""
        for image in (*PARTS.values(), "proxy"):
            on_node("ctr", "--namespace", "k8s.io", "images", "tag", "--force", f"fairlead.local/{image}:test", f"fairlead.local/{image}:{tag}")
        return [word for part in PARTS for word in ("--set", f"{part}.image.tag={tag}")] + ["--set", f"config.proxyImage=fairlead.local/proxy:{tag}"]

    def revision(self):
        return chart.helm("history", "fairlead", "--namespace", SYSTEM, "--max", "1").split("\n")[1].split()[0]

    def test_upgrade_and_rollback(self):
        folder = self.earlier()
        with self.steady.watch() as seen:
            upgrade(folder=folder)
            was = self.revision()
            self.steady.roll("deployment/web")
            upgrade(*self.tagged("next"))
            self.steady.settle("deployment/edge-fairlead")
            self.steady.roll("deployment/web")  # sidecars of the new version, called by one of the old
            self.assertIn(":next", str(self.steady.pods()[0]["spec"]["initContainers"]))
            chart.helm("rollback", "fairlead", was, "--namespace", SYSTEM, "--wait", "--timeout", PATIENCE)
            self.steady.settle("deployment/edge-fairlead")
            self.steady.roll("deployment/web")
            self.assertNotIn(":next", str(self.steady.pods()[0]["spec"]["initContainers"]))
        self.undisturbed(seen)

    # -- a canary -----------------------------------------------------------------------------------------------------

    def test_canary(self):
        """A second control plane beside the first, for one namespace and one Gateway: their pods are admitted, configured and certified by it, and
        talk with those of the first by mutual TLS, both ways; the first leads. Then both go back, and the canary away."""
        chart.helm("install", "fairlead-canary", place.CHARTS / "fairlead", "--namespace", SYSTEM, "--values", place.HERE / "values.yaml",
                   "--set", "revision=canary,cni.enabled=false", "--wait", "--timeout", PATIENCE)
        self.later(chart.uninstall, SYSTEM, "fairlead-canary")
        canary = Steady(self, self.mesh, gateway=False, labels={"fairlead.io/rev": "canary"}, lifecycle=WAITS)
        self.assertEqual(set(map(control_of, canary.pods())), {"fairlead-control-canary"})
        self.assertEqual(set(map(control_of, self.steady.pods())), {"fairlead-control"})
        self.steady.ask("to-canary", self.steady.space, [word.replace("web", f"web.{canary.space}") for word in INSIDE])
        self.later(self.steady.leave, "to-canary")
        canary.ask("from-canary", canary.space, [word.replace("web", f"web.{self.steady.space}") for word in INSIDE])
        with self.steady.watch() as seen, canary.watch() as others:
            canary.roll("deployment/web")
            self.steady.roll("deployment/web")
            self.move_gateway("canary")
            self.assert_known(canary)
            self.steady.roll("deployment/fairlead-control-canary", SYSTEM)
            self.steady.roll("deployment/fairlead-control", SYSTEM)
            self.assertRegex(self.leader(), "^fairlead-control-(?!canary)")
            self.move_gateway(None)
            self.api.patch("v1", "Namespace", canary.space, {"metadata": {"labels": {"fairlead.io/rev": None}}})
            eventually(lambda: self.goes_back(canary), "its pods have the first control plane", 60)
        self.undisturbed(seen)
        self.undisturbed(others)
        canary.ask_anew("client")
        canary.leave("from-canary")
        with self.steady.watch() as seen, canary.watch() as others:
            chart.helm("uninstall", "fairlead-canary", "--namespace", SYSTEM, "--wait")  # it would list who is left with it
            canary.roll("deployment/web")
        self.undisturbed(seen)
        self.undisturbed(others)

    def leader(self):
        return eventually(lambda: self.api.get("coordination.k8s.io/v1", "Lease", "fairlead-control", SYSTEM)["spec"].get("holderIdentity"), "a leader", 90)

    def move_gateway(self, revision):
        """By its label; rolled by the deployer that has it from now on."""
        self.api.patch("gateway.networking.k8s.io/v1", "Gateway", "edge", {"metadata": {"labels": {"fairlead.io/rev": revision}}}, self.steady.space)
        wanted = "fairlead-control" + (f"-{revision}" if revision else "")
        self.api.wait("apps/v1", "Deployment", "edge-fairlead", self.steady.space, lambda it: control_of(it["spec"]["template"]) == wanted, 60)
        self.steady.settle("deployment/edge-fairlead")

    def assert_known(self, canary):
        """`fairlead status` has each proxy with the control plane that it has, `fairlead members` each pod with its revision."""
        def told(command, revision):
            return run(place.PROGRAMS / "fairlead", command, "--kubeconfig", place.KUBECONFIG, "--revision", revision, check=False)
        theirs, ours = (pod.name for pod in (canary.pods()[0], self.steady.pods()[0]))
        gateways = {"status": f"edge.{self.steady.space}", "members": self.steady.gateway_pods()[0].name}
        for command, gateway in gateways.items():
            first, second = told(command, "default"), told(command, "canary")
            for name, there, elsewhere in ((theirs, second, first), (ours, first, second)):
                self.assertIn(name, there, command)
                self.assertNotIn(name, elsewhere, command)
            self.assertIn(gateway, second, command)  # one of before may still end, with the first

    def goes_back(self, canary):
        canary.roll("deployment/web")
        return all(control_of(one) == "fairlead-control" and is_ready(one) for one in canary.pods())


if __name__ == "__main__":
    main()
