"""fairlead cni verify in real network namespaces: captured or not, by the rules that are there and by a dial through
them, whatever is broken in between; and in words that somebody can act upon.

usage: cni_cli_test.py PATH-OF-fairlead PATH-OF-fairlead-cni [unittest arguments]
"""
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import unittest

import cni_support as cni
import waiting

NOBODY = 65534


class Sidecar:
    """A process that is found as a sidecar: named fairlead-proxy, with the environment that the webhook gives it."""

    def __init__(self, folder, path, pod="shop/web-1", capture=None, program="fairlead-proxy", uid=1337, **environment):
        namespace, name = pod.split("/")
        copy = os.path.join(folder, program)
        if not os.path.exists(copy):
            shutil.copy("/bin/sleep", copy)
        values = {"FAIRLEAD_CAPTURE": capture or cni.spec(), "POD_NAMESPACE": namespace, "POD_NAME": name,
                  "POD_UID": "8d0f0fd0-0000-4000-8000-000000000001", "POD_IPS": "10.9.0.2", **environment}
        self.process = subprocess.Popen(["nsenter", f"--net={path}", "setpriv", f"--reuid={uid}", f"--regid={uid}",
                                         "--clear-groups", copy, "1000"],
                                        env={key: value for key, value in values.items() if value is not None})
        self.pid = self.process.pid
        waiting.eventually(self.has_started, f"{copy} runs")

    def has_started(self):
        with open(f"/proc/{self.pid}/comm") as handle:
            return handle.read().strip() not in ("nsenter", "setpriv", "python3")

    def end(self):
        self.process.kill()
        self.process.wait()


class Verify(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        self.addCleanup(cni.remove_all)
        os.chmod(self.folder.name, 0o755)
        self.pod = self.with_address("pod")

    def with_address(self, name):
        """A pod's netns: a sidecar is believed where its address is."""
        pod = cni.Namespace(name)
        pod.ip("link", "add", "eth0", "type", "veth", "peer", "name", "other")
        pod.ip("addr", "add", "10.9.0.2/24", "dev", "eth0")
        return pod

    def add(self, capture=None, pod=None):
        plugin.succeed("ADD", (pod or self.pod).path, cni.config(capture or cni.spec()))

    def sidecar(self, pod=None, **settings):
        sidecar = Sidecar(self.folder.name, (pod or self.pod).path, **settings)
        self.addCleanup(sidecar.end)
        return sidecar

    def call(self, *arguments, within=(), **options):
        """(exit status, stdout, stderr)"""
        done = subprocess.run([*within, program, "cni", "verify", *arguments], stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True, timeout=60, **options)
        return done.returncode, done.stdout, done.stderr

    def verify(self, *arguments, **options):
        """(exit status, the one pod)"""
        status, out, err = self.call("-o", "json", *arguments, **options)
        self.assertNotIn("fairlead cni", err)
        pods = json.loads(out)["pods"]
        self.assertEqual(len(pods), 1)
        return status, pods[0]

    def by_spec(self, capture=None):
        return self.verify("--netns", self.pod.path, "--spec", "-", input=capture or cni.spec())

    def assert_verdict(self, answer, captured, difference=None, ipv4="redirected", ipv6="redirected"):
        status, pod = answer
        self.assertEqual(pod["captured"], captured, pod)
        self.assertEqual(status, 0 if captured else 1)
        self.assertEqual(pod["asPlanned"], difference is None, pod)
        if difference is not None:
            self.assertRegex(pod["difference"], difference)
        self.assertEqual((pod["probe"]["ipv4"]["verdict"], pod["probe"]["ipv6"]["verdict"]), (ipv4, ipv6), pod)


class Captured(Verify):
    def test_nobody_listens(self):
        self.add()
        answer = self.by_spec()
        self.assert_verdict(answer, True)
        for family in ("ipv4", "ipv6"):
            self.assertFalse(answer[1]["probe"][family]["answered"])
            self.assertIn("nobody listens there now", answer[1]["probe"][family]["text"])

    def test_somebody_listens(self):
        self.add()
        self.pod.serve(15001)
        answer = self.by_spec()
        self.assert_verdict(answer, True)
        for family in ("ipv4", "ipv6"):
            self.assertTrue(answer[1]["probe"][family]["answered"])

    def test_nothing_is_changed(self):
        self.add()
        before = self.pod.state()
        self.by_spec()
        self.assertEqual(self.pod.state(), before)

    def test_another_outbound_port_and_other_ids(self):
        capture = cni.spec(outbound_port=16001, uid=2000, gid=2001)
        self.add(capture)
        answer = self.by_spec(capture)
        self.assert_verdict(answer, True)
        self.assertIn("16001", answer[1]["probe"]["ipv4"]["text"])

    def test_no_ipv6_in_the_namespace(self):
        cni.run("nsenter", f"--net={self.pod.path}", "sysctl", "-qw", "net.ipv6.conf.all.disable_ipv6=1",
                "net.ipv6.conf.lo.disable_ipv6=1")
        self.add()
        self.assert_verdict(self.by_spec(), True, ipv6="not asked")

    def test_ipv6_left_alone(self):
        capture = cni.spec(ipv6=False)
        self.add(capture)
        answer = self.by_spec(capture)
        self.assert_verdict(answer, True, ipv6="not asked")
        self.assertIn("not captured", answer[1]["probe"]["ipv6"]["text"])

    def test_connection_tracking_that_tells_nothing(self):
        self.add()
        cni.run("nsenter", f"--net={self.pod.path}", "sysctl", "-qw", "net.netfilter.nf_conntrack_events=0")
        status, pod = self.by_spec()
        self.assertEqual((status, pod["captured"], pod["asPlanned"]), (1, None, True))
        self.assertEqual(pod["probe"]["ipv4"]["verdict"], "unknown")
        self.pod.serve(15001)
        answer = self.by_spec()
        self.assert_verdict(answer, True)
        self.assertIn("it was answered", answer[1]["probe"]["ipv6"]["text"])

    def test_a_busy_namespace(self):
        self.add()
        self.pod.serve(15001, 8080)

        def connect_for_ever(ready):
            os.write(ready, b"1")
            while True:
                with cni.socket.socket() as sock:
                    sock.connect(("127.0.0.1", 8080))
        for _ in range(2):
            self.pod.start(connect_for_ever)
        for _ in range(20):
            self.assert_verdict(self.by_spec(), True)


class NotCaptured(Verify):
    def test_never_programmed(self):
        self.pod.ip("link", "set", "lo", "up")
        answer = self.by_spec()
        self.assert_verdict(answer, False, "table inet fairlead is missing", ipv4="astray", ipv6="astray")

    def test_lo_is_down(self):
        self.add()
        self.pod.ip("link", "set", "lo", "down")
        answer = self.by_spec()
        self.assert_verdict(answer, False, "lo is down", ipv4="redirected", ipv6="not asked")
        self.assertIn("timed out", answer[1]["probe"]["ipv4"]["text"])

    def test_flushed(self):
        self.add()
        self.pod.nft("flush", "ruleset")
        answer = self.by_spec()
        self.assert_verdict(answer, False, "fairlead", ipv4="astray", ipv6="astray")
        self.assertEqual(answer[1]["probe"]["ipv4"]["text"], "no rule redirected it")

    def test_flushed_while_others_track(self):
        """Somebody else's rules keep connection tracking going: the dial is seen, as it was sent."""
        self.add()
        self.pod.nft("flush", "ruleset")
        self.pod.nft("add table ip other; add chain ip other out { type nat hook output priority 0; }")
        answer = self.by_spec()
        self.assert_verdict(answer, False, "fairlead", ipv4="astray", ipv6="astray")
        self.assertEqual(answer[1]["probe"]["ipv4"]["text"], "no rule redirected it")

    def test_somebody_else_on_the_reserved_port(self):
        self.add()
        self.pod.nft("flush", "ruleset")
        self.pod.serve(15002)
        answer = self.by_spec()
        self.assert_verdict(answer, False, "fairlead", ipv4="astray", ipv6="astray")

    def test_a_rule_was_taken_out(self):
        self.add()
        self.pod.nft("flush", "chain", "inet", "fairlead", "prerouting")
        self.assert_verdict(self.by_spec(), False, "prerouting")

    def test_rules_of_others_before_ours(self):
        """As planned, and yet not in force: only the probe sees it."""
        self.add()
        self.pod.nft("add table ip other; add chain ip other out { type nat hook output priority -150; }; "
                     "add rule ip other out ip daddr 127.0.0.6 tcp dport 15002 redirect to :4140")
        answer = self.by_spec()
        self.assert_verdict(answer, False, ipv4="astray")
        self.assertEqual(answer[1]["probe"]["ipv4"]["text"], "redirected to port 4140")

    def test_the_pass_through_address_is_missing(self):
        self.add()
        self.pod.ip("addr", "del", "::6/128", "dev", "lo")
        answer = self.by_spec()
        self.assert_verdict(answer, False, "::6 is missing on lo", ipv6="astray")
        self.assertIn("::6 is on no interface here", answer[1]["probe"]["ipv6"]["text"])

    def test_another_spec_than_the_one_in_force(self):
        self.add()
        self.assert_verdict(self.by_spec(cni.spec(inbound_excludePorts=["22"])), False, "made from another capture spec")


class Subjects(Verify):
    def test_by_pod(self):
        self.add()
        sidecar = self.sidecar()
        status, pod = self.verify("--pod", "shop/web-1")
        self.assertEqual((status, pod["name"], pod["pid"]), (0, "shop/web-1", sidecar.pid))
        self.assertEqual(pod["netns"], os.stat(self.pod.path).st_ino)
        self.assertEqual(self.call("--pod", "shop/web-2")[::2],
                         (1, "fairlead cni verify: no sidecar of shop/web-2 runs on this node\n"))

    def test_by_the_pid_of_sidecar_or_app(self):
        self.add()
        sidecar = self.sidecar()
        app = self.sidecar(program="app", FAIRLEAD_CAPTURE=None)
        for pid in (sidecar.pid, app.pid):
            status, pod = self.verify("--pid", str(pid))
            self.assertEqual((status, pod["name"], pod["pid"]), (0, "shop/web-1", sidecar.pid))

    def test_by_netns(self):
        self.add()
        sidecar = self.sidecar()
        for path in (self.pod.path, f"/proc/{sidecar.pid}/ns/net"):
            status, pod = self.verify("--netns", path)
            self.assertEqual((status, pod["name"]), (0, "shop/web-1"))

    def test_all(self):
        other = self.with_address("other")
        other.ip("link", "set", "lo", "up")
        self.add()
        self.sidecar()
        self.sidecar(capture=cni.spec())  # a second process of the pod: told once
        self.sidecar(pod=other, **{"POD_NAME": "web-2"})
        status, out, _ = self.call("--all", "-o", "json")
        pods = {pod["name"]: pod["captured"] for pod in json.loads(out)["pods"] if pod["name"].startswith("shop/")}
        self.assertEqual(pods, {"shop/web-1": True, "shop/web-2": False})
        self.assertEqual(status, 1)
        status, out, _ = self.call("--all")
        self.assertEqual(status, 1)
        self.assertRegex(out, r"(?m)^shop/web-1 +\d+ +\d+ +yes +as planned +redirected +redirected$")
        self.assertRegex(out, r"(?m)^shop/web-2 is NOT captured$")

    def test_all_of_none(self):
        status, _, err = self.call("--all", within=("unshare", "--pid", "--fork", "--mount-proc"))
        self.assertEqual((status, err), (1, "fairlead cni verify: no sidecar runs on this node\n"))

    def test_not_of_the_mesh(self):
        self.pod.ip("link", "set", "lo", "up")
        app = self.sidecar(program="app", FAIRLEAD_CAPTURE=None)
        status, pod = self.verify("--pid", str(app.pid))
        self.assertEqual((status, pod["captured"]), (1, None))
        self.assertIn("no sidecar runs in that network namespace", pod["error"])

    def test_a_sidecar_with_a_broken_spec(self):
        self.add()
        sidecar = self.sidecar(capture='{"version":1}')
        status, pod = self.verify("--pid", str(sidecar.pid))
        self.assertEqual((status, pod["captured"]), (1, None))
        self.assertRegex(pod["error"], rf"process {sidecar.pid}: .*FAIRLEAD_CAPTURE")
        # The spec may come from elsewhere.
        path = os.path.join(self.folder.name, "spec.json")
        with open(path, "w") as handle:
            handle.write(cni.spec() + "\n")
        self.assert_verdict(self.verify("--pid", str(sidecar.pid), "--spec", path), True)

    def test_one_that_is_not_believed(self):
        """Who claims to be another pod's sidecar is told, and cannot answer for that pod."""
        self.add()
        for settings, why in (({"uid": 1000}, "it runs as 1000:1000"), ({"POD_IPS": "10.9.0.3"}, "10.9.0.3|address")):
            liar = self.sidecar(**settings)
            for arguments in (("--pid", str(liar.pid)), ("--pod", "shop/web-1"), ("--netns", self.pod.path)):
                status, pod = self.verify(*arguments)
                self.assertEqual((status, pod["captured"]), (1, None))
                self.assertRegex(pod["error"], f"process {liar.pid} claims to be of shop/web-1, and is not believed: .*({why})")
            liar.end()

    def test_names_are_shown_as_text(self):
        self.add()
        sidecar = self.sidecar(**{"POD_NAME": "web\x1b[2J"})
        status, out, _ = self.call("--pid", str(sidecar.pid))
        self.assertEqual(status, 1)
        self.assertNotIn("\x1b", out)


class Refused(Verify):
    def test_the_hosts_namespace(self):
        for arguments in (("--pid", str(os.getpid())), ("--netns", "/proc/self/ns/net")):
            status, out, _ = self.call(*arguments, "--spec", "-", input=cni.spec())
            self.assertEqual(status, 1)
            self.assertIn("host's network namespace", out)

    def test_what_is_not_there(self):
        for arguments, word in ((("--pid", "4194303"), "there is no process 4194303"),
                                (("--netns", "/nowhere"), "there is no such network namespace"),
                                (("--netns", "/etc/hostname"), "is not a network namespace")):
            status, out, _ = self.call(*arguments)
            self.assertEqual(status, 1)
            self.assertIn(word, out)

    def test_bad_specs(self):
        for text, word in (("", "no capture spec"), ("{", "capture spec"), (cni.spec(uid=0), "uid"),
                           (cni.spec(version=9), "version")):
            status, out, err = self.call("--netns", self.pod.path, "--spec", "-", input=text)
            self.assertEqual(status, 1)
            self.assertIn(word, out + err)
        status, _, err = self.call("--netns", self.pod.path, "--spec", "/nowhere")
        self.assertEqual(status, 1)
        self.assertIn("/nowhere", err)

    def test_without_rights(self):
        self.add()
        sidecar = self.sidecar()
        copy = os.path.join(self.folder.name, "fairlead")
        shutil.copy(program, copy)
        for arguments in (("--pid", str(sidecar.pid)), ("--pod", "shop/web-1"), ("--netns", self.pod.path)):
            done = subprocess.run([copy, "cni", "verify", *arguments], user=NOBODY, group=NOBODY, extra_groups=[],
                                  stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
            self.assertEqual(done.returncode, 1, done.stdout)
            self.assertIn("as root", done.stdout, arguments)

    def test_usage(self):
        for arguments in ((), ("--pid", "x"), ("--pid", "0"), ("--pod", "web"), ("--pid", "2", "--all"), ("-o", "xml"),
                          ("--pid", "1", "more"), ("--what",)):
            self.assertEqual(self.call(*arguments)[0], 2, arguments)
        self.assertEqual(self.call("--help")[0], 0)


class Install(unittest.TestCase):
    """A node's two folders, below a root of their own."""
    LIST = ('{\n  "cniVersion": "1.0.0", "name": "net",\n  "plugins": [\n    {"type": "bridge", "n": 1.0}\n  ]\n}\n')

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.root = folder.name
        self.conf, self.bin = (os.path.join(self.root, path) for path in ("etc/cni/net.d", "opt/cni/bin"))
        os.makedirs(self.conf)
        os.makedirs(self.bin)

    def write(self, name, text):
        with open(os.path.join(self.conf, name), "w") as handle:
            handle.write(text)

    def read(self, name):
        with open(os.path.join(self.conf, name)) as handle:
            return handle.read()

    def state(self):
        """Every file below the root, with what is in it; of a long one its digest, so that a difference can be shown."""
        found = {}
        for folder, _, names in os.walk(self.root):
            for name in names:
                with open(os.path.join(folder, name), "rb") as handle:
                    content = handle.read()
                digest = hashlib.sha256(content).hexdigest() if len(content) > 65536 else content
                found[os.path.relpath(os.path.join(folder, name), self.root)] = digest
        return found

    def call(self, command, *arguments):
        done = subprocess.run([program, "cni", command, "--root", self.root, *arguments], stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, timeout=60)
        return done.returncode, done.stdout

    def plugins(self, name):
        return [entry["type"] for entry in json.loads(self.read(name))["plugins"]]

    def test_in_and_out(self):
        self.write("10-net.conflist", self.LIST)
        status, out = self.call("install")
        self.assertEqual(status, 0, out)
        self.assertRegex(out, rf"(?m)^plugin +\S+ written to {self.bin}$")
        self.assertIn(f"{self.conf}/10-net.conflist: fairlead-cni was added", out)
        self.assertEqual(out.splitlines()[-1], "installed")
        self.assertEqual(self.plugins("10-net.conflist"), ["bridge", "fairlead-cni"])
        self.assertTrue(os.access(os.path.join(self.bin, "fairlead-cni"), os.X_OK))

        before = self.state()
        status, out = self.call("install")
        self.assertEqual((status, self.state()), (0, before))
        self.assertIn("has fairlead-cni, as it should be", out)

        status, out = self.call("uninstall", "--grace", "0")
        self.assertEqual(status, 0, out)
        self.assertEqual(self.state(), {"etc/cni/net.d/10-net.conflist": self.LIST.encode()})
        self.assertEqual(self.call("uninstall", "--grace", "0")[0], 0)

    def test_a_dry_run_writes_nothing(self):
        self.write("10-net.conflist", self.LIST)
        before = self.state()
        status, out = self.call("install", "--dry-run")
        self.assertEqual((status, self.state()), (0, before), out)
        self.assertIn(f"would write the plugin to {self.bin}", out)
        self.assertIn(f"would write {self.conf}/10-net.conflist:", out)
        self.assertIn('"fairlead-cni"', out)
        self.assertNotIn("rehearsal", out)

        self.call("install")
        before = self.state()
        status, out = self.call("install", "--dry-run")
        self.assertEqual((status, self.state()), (0, before))
        self.assertRegex(out, "^nothing would change")
        status, out = self.call("uninstall", "--dry-run")
        self.assertEqual((status, self.state()), (0, before), out)
        self.assertIn(f"would write {self.conf}/10-net.conflist:\n", out)
        self.assertRegex(out, "would remove the plugin .* from")
        self.assertNotIn("fairlead-cni\"", out)

    def test_one_plugin_is_wrapped(self):
        self.write("05-one.conf", '{"cniVersion":"0.4.0","name":"one","type":"ptp"}')
        before = self.state()
        status, out = self.call("install", "--dry-run")
        self.assertEqual((status, self.state()), (0, before), out)
        self.assertIn("05-one.conflist", out)
        self.assertEqual(self.call("install")[0], 0)
        self.assertEqual(self.plugins("05-one.conflist"), ["ptp", "fairlead-cni"])
        self.assertEqual(self.call("uninstall", "--grace", "0")[0], 0)
        self.assertEqual(self.state(), before)

    def test_what_is_not_there_yet(self):
        for arguments in ((), ("--dry-run",)):
            status, out = self.call("install", *arguments)
            self.assertEqual(status, 1, out)
            self.assertIn("waiting", out)
            self.assertIn(f"{self.conf} has no network configuration yet", out)
        shutil.rmtree(self.conf)
        status, out = self.call("install")
        self.assertEqual(status, 1)
        self.assertIn("no folder of configurations", out)

    def test_no_payload(self):
        self.write("10-net.conflist", self.LIST)
        status, out = self.call("install", "--payload", "/nowhere")
        self.assertEqual(status, 1)
        self.assertIn("/nowhere", out)
        self.assertEqual(self.read("10-net.conflist"), self.LIST)

    def test_standalone(self):
        status, out = self.call("install", "--mode", "standalone", "--conflist", "own.conf")
        self.assertEqual(status, 0, out)
        self.assertEqual(json.loads(self.read("own.conf"))["type"], "fairlead-cni")
        self.assertEqual(self.call("uninstall", "--grace", "0")[0], 0)
        self.assertEqual(self.state(), {})

    def test_platforms(self):
        status, out = self.plain("platforms")
        self.assertEqual(status, 0)
        self.assertRegex(out, r"(?m)^PLATFORM +CONFIGURATIONS +PLUGINS +NAMESPACES +MODE +NOTE$")
        status, out = self.plain("platforms", "-o", "json")
        table = {row["name"]: row for row in json.loads(out)["platforms"]}
        self.assertEqual(table["gke"]["binDir"], "/home/kubernetes/bin")
        folders = (os.path.join(self.root, table["gke"][name].lstrip("/")) for name in ("confDir", "binDir"))
        for folder in folders:
            os.makedirs(folder, exist_ok=True)
        self.write("10-net.conflist", self.LIST)
        self.assertEqual(self.call("install", "--platform", "gke")[0], 0)
        self.assertTrue(os.path.exists(os.path.join(self.root, "home/kubernetes/bin/fairlead-cni")))

    def plain(self, *arguments):
        done = subprocess.run([program, "cni", *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        return done.returncode, done.stdout

    def test_usage(self):
        for arguments in (("install", "--platform", "x"), ("install", "--mode", "x"), ("install", "--backend", "x"),
                          ("install", "more"), ("uninstall", "--grace", "x"), ("uninstall", "--mode", "chained"),
                          ("platforms", "more"), ("platforms", "-o", "x"), (), ("what",)):
            self.assertEqual(self.plain(*arguments)[0], 2, arguments)
        for arguments in (("--help",), ("install", "--help"), ("uninstall", "-h"), ("platforms", "-h")):
            self.assertEqual(self.plain(*arguments)[0], 0, arguments)


if __name__ == "__main__":
    program, plugin = os.path.abspath(sys.argv[1]), cni.Plugin(os.path.abspath(sys.argv[2]))
    cni.skip_unless_possible()
    unittest.main(argv=[sys.argv[0], *sys.argv[3:]])
