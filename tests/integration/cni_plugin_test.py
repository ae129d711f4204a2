"""fairlead-cni as a runtime meets it: answers, bad input that leaves a netns as it was, the table as nft lists it,
CHECK after tampering, DEL, many at once, killed in between, and a chain with Debian's plugins.

usage: cni_plugin_test.py PATH-OF-fairlead-cni [unittest arguments]
"""
import glob
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

import cni_support as cni

STANDARD_PLUGINS = "/usr/lib/cni"


class Fresh(unittest.TestCase):
    """Each test has a netns of its own, with lo still down."""

    def setUp(self):
        self.pod = cni.Namespace("pod")

    def tearDown(self):
        cni.remove_all()

    def add(self, capture=None):
        return plugin.succeed("ADD", self.pod.path, cni.config(capture or cni.spec()))

    def check(self, capture=None):
        return plugin.succeed("CHECK", self.pod.path, cni.config(capture or cni.spec()))


class Listing(Fresh):
    """tests/golden/cni: NAME.json is a capture spec, NAME.nft what nft lists (UPDATE_GOLDEN=1 writes it anew)."""

    def test_as_nft_lists_it(self):
        specs = sorted(glob.glob(os.path.join(cni.GOLDEN, "*.json")))
        self.assertGreaterEqual(len(specs), 6)
        for path in specs:
            with self.subTest(os.path.basename(path)), open(path) as handle:
                capture = handle.read().strip()
                self.add(capture)
                self.check(capture)
                listing = self.pod.table()
                if "UPDATE_GOLDEN" in os.environ:
                    with open(path[:-5] + ".nft", "w") as golden:
                        golden.write(listing)
                with open(path[:-5] + ".nft") as golden:
                    self.assertEqual(listing, golden.read())

    def test_as_json(self):
        self.add()
        objects = json.loads(self.pod.nft("-j", "list", "ruleset"))["nftables"]
        tables = [entry["table"]["name"] for entry in objects if "table" in entry]
        self.assertEqual(tables, ["fairlead"])
        self.assertNotIn("xt", json.dumps(objects))

    def test_nft_can_load_its_own_listing(self):
        for name in ("every-list.json", "every-setting.json", "every-setting-ipv6.json"):
            with open(os.path.join(cni.GOLDEN, name)) as handle:
                capture = handle.read().strip()
            self.add(capture)
            listing = self.pod.table()
            self.pod.nft("flush", "ruleset")
            with tempfile.NamedTemporaryFile("w", suffix=".nft") as handle:
                handle.write(listing)
                handle.flush()
                self.pod.nft("-f", handle.name)
            self.assertEqual(self.pod.table(), listing)
            self.check(capture)


class Answers(Fresh):
    def test_the_previous_result_is_handed_on(self):
        previous = {"cniVersion": "1.0.0", "ips": [{"address": "none", "x": [1, None, "ä"]}], "y": {"z": {}},
                    "interfaces": [{"name": "eth0", "sandbox": self.pod.path}]}
        for capture in (None, cni.spec()):
            answer = plugin.succeed("ADD", self.pod.path, cni.config(capture, prevResult=previous))
            self.assertEqual(answer, previous)

    def test_every_version(self):
        for version in ("0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"):
            answer = plugin.succeed("ADD", self.pod.path, cni.config(cni.spec(), version))
            self.assertEqual(answer["cniVersion"], version)
            plugin.succeed("DEL", self.pod.path, cni.config(cni.spec(), version))
        answer = plugin.succeed("VERSION", None, '{"cniVersion":"1.0.0"}')
        self.assertEqual(answer, {"cniVersion": "1.0.0",
                                  "supportedVersions": ["0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"]})

    def test_success_says_nothing_on_stderr(self):
        for verb in ("ADD", "CHECK", "DEL"):
            self.assertEqual(plugin.call(verb, self.pod.path, cni.config(cni.spec()))[2], "")

    def test_failure_is_one_line_on_stderr(self):
        err = plugin.call("ADD", "/nowhere", cni.config(cni.spec()))[2]
        line = json.loads(err)
        self.assertEqual((line["level"], line["verb"], line["netns"]), ("error", "ADD", "/nowhere"))

    def test_options(self):
        for option in ("--help", "--version"):
            self.assertIn("fairlead-cni", cni.run(plugin.path, option))
        for arguments in (["--nonsense"], ["ADD"], ["--log-format", "xml"]):
            self.assertEqual(subprocess.run([plugin.path] + arguments, stderr=subprocess.PIPE).returncode, 2)


class BadInput(Fresh):
    def test_the_netns_stays_as_it_was(self):
        good = cni.spec()
        cases = [
            ("not JSON", "{", {}, 6),
            ("nothing", "", {}, 6),
            ("not an object", "[]", {}, 6),
            ("too long", json.dumps(cni.config(good, pad="x" * (4 << 20))), {}, 5),
            ("too deep", json.dumps(cni.config(good)).replace('"net"', "[" * 100 + "]" * 100), {}, 6),
            ("no cniVersion", {"name": "x"}, {}, 1),
            ("cniVersion 0.2.0", cni.config(good, "0.2.0"), {}, 1),
            ("cniVersion 7", cni.config(good, cniVersion=7), {}, 7),
            ("no CNI_COMMAND", cni.config(good), {"CNI_COMMAND": None}, 4),
            ("unknown verb", cni.config(good), {"CNI_COMMAND": "ADDD"}, 4),
            ("no CNI_CONTAINERID", cni.config(good), {"CNI_CONTAINERID": None}, 4),
            ("no CNI_IFNAME", cni.config(good), {"CNI_IFNAME": None}, 4),
            ("no CNI_NETNS", cni.config(good), {"CNI_NETNS": None}, 4),
            ("a prevResult that is none", cni.config(good, prevResult=1), {}, 7),
            ("annotations that are none", cni.config(runtimeConfig={cni.ANNOTATIONS: []}), {}, 7),
            ("spec: empty", cni.config(""), {}, 7),
            ("spec: not JSON", cni.config("all"), {}, 7),
            ("spec: version 3", cni.config(cni.spec(version=3)), {}, 2),
            ("spec: version 0", cni.config(cni.spec(version=0)), {}, 7),
            ("spec: no version", cni.config("{}"), {}, 7),
            ("spec: unknown member", cni.config(good[:-1] + ',"x":1}'), {}, 7),
            ("spec: uid 0", cni.config(cni.spec(uid=0)), {}, 7),
            ("spec: a port out of range", cni.config(cni.spec(inbound_excludePorts=["65536"])), {}, 7),
            ("spec: a CIDR that is none", cni.config(cni.spec(outbound_excludeCIDRs=["10.0.0.0/33"])), {}, 7),
        ]
        for prepared in (False, True):
            if prepared:
                self.pod.nft("add", "table", "inet", "fairlead")
                self.pod.ip("link", "set", "lo", "up")
            before = self.pod.state()
            for what, stdin, environment, code in cases:
                with self.subTest(what, prepared=prepared):
                    answer = plugin.fail("ADD", self.pod.path, stdin, **environment)
                    self.assertEqual(answer["code"], code, answer)
                    self.assertTrue(answer["msg"])
                    self.assertEqual(self.pod.state(), before)

    def test_what_is_no_netns(self):
        with tempfile.NamedTemporaryFile() as empty:
            for path in ("/nowhere", "/etc/passwd", "/proc/self/ns/mnt", "/dev/null", "/", empty.name):
                answer = plugin.fail("ADD", path, cni.config(cni.spec()))
                self.assertEqual(answer["code"], 4)
                self.assertIn("CNI_NETNS", answer["details"])

    def test_without_an_annotation_nothing_is_touched(self):
        before = self.pod.state()
        for stdin in (cni.config(), cni.config(runtimeConfig={}), cni.config(runtimeConfig={cni.ANNOTATIONS: {"a": "b"}}),
                      cni.config(runtimeConfig={cni.ANNOTATIONS: None}), cni.config(runtimeConfig={"x": 1}, x=[])):
            for verb in ("ADD", "CHECK", "DEL"):
                answer = plugin.succeed(verb, self.pod.path, stdin)
                self.assertEqual(answer, stdin["prevResult"] if verb == "ADD" else None)
                plugin.succeed(verb, "/nowhere", stdin)
                plugin.succeed(verb, "/proc/self/ns/net", stdin)
        self.assertEqual(self.pod.state(), before)

    def test_odd_annotations_of_others(self):
        """What Kubernetes takes (256 KiB, any character) never keeps a pod from being added or, worse, deleted."""
        few = "abcdefghijklmnopqrstuvwxyz0123456789"
        for what, annotations in (
                ("U+0000", {"a": "x\0y"}),
                ("all bytes escaped", {"a": "\1" * (256 << 10)}),
                ("as many as there can be", {a + b + c: "" for a in few for b in few for c in few}),
        ):
            for verb in ("ADD", "CHECK", "DEL"):
                with self.subTest(what, verb=verb):
                    stdin = cni.config(runtimeConfig={cni.ANNOTATIONS: annotations})
                    answer = plugin.succeed(verb, self.pod.path, stdin)
                    self.assertEqual(answer, stdin["prevResult"] if verb == "ADD" else None)
        stdin = cni.config(cni.spec())
        stdin["runtimeConfig"][cni.ANNOTATIONS].update({"a": "x\0y" + "\1" * (256 << 10)})
        for verb in ("ADD", "CHECK", "DEL"):
            plugin.succeed(verb, self.pod.path, stdin)
        answer = plugin.fail("ADD", self.pod.path, cni.config(cni.spec() + "\0"))
        self.assertEqual(answer["code"], 7)

    def test_a_table_that_cannot_be_replaced(self):
        """Owned by another process: the batch fails, and lo and its addresses are as they were."""
        owner = subprocess.Popen(["ip", "netns", "exec", self.pod.name, "nft", "-i"], stdin=subprocess.PIPE,
                                 stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        try:
            owner.stdin.write("add table inet fairlead { flags owner; }\nlist tables\n")
            owner.stdin.flush()
            while "table inet fairlead" not in owner.stdout.readline():
                pass
            before = self.pod.state()
            answer = plugin.fail("ADD", self.pod.path, cni.config(cni.spec()))
            self.assertEqual(answer["code"], 101)
            self.assertIn("table inet fairlead", answer["details"])
            self.assertEqual(self.pod.state(), before)
        finally:
            owner.stdin.close()
            owner.wait()
            owner.stdout.close()


class HostRefused(Fresh):
    def test_by_whatever_path(self):
        host = cni.Namespace("host")
        played = cni.Plugin(plugin.path, within=host)
        folder = tempfile.mkdtemp(prefix=cni.unique(""))
        mounted = os.path.join(folder, "netns")
        open(mounted, "w").close()
        cni.run("mount", "--bind", "/proc/self/ns/net", mounted)
        try:
            before = host.state()
            for user, paths in ((plugin, ["/proc/self/ns/net", f"/proc/{os.getpid()}/ns/net", mounted]),
                                (played, [host.path, "/proc/self/ns/net"])):
                if os.access("/proc/1/ns/net", os.R_OK):  # else this machine hides its first process
                    paths.append("/proc/1/ns/net")
                for path in paths:
                    with self.subTest(path):
                        answer = user.fail("ADD", path, cni.config(cni.spec()))
                        self.assertEqual(answer["code"], 4)
                        self.assertIn("host's", answer["details"])
                        self.assertEqual(user.fail("CHECK", path, cni.config(cni.spec()))["code"], 4)
                        user.succeed("DEL", path, cni.config(cni.spec()))
            self.assertEqual(host.state(), before)
        finally:
            cni.run("umount", mounted)
            shutil.rmtree(folder)


class Repeated(Fresh):
    def test_add_twice(self):
        self.add()
        first = self.pod.state()
        self.add()
        self.assertEqual(re.sub("handle [0-9]+", "", self.pod.state()), first)
        self.check()

    def test_another_spec_replaces_the_first(self):
        self.add()
        other = cni.spec(inbound_excludePorts=["22"])
        self.add(other)
        self.check(other)
        self.assertEqual(self.pod.table().count("table inet fairlead"), 1)
        answer = plugin.fail("CHECK", self.pod.path, cni.config(cni.spec()))
        self.assertEqual(answer["code"], 102)

    def test_other_tables_stay(self):
        self.pod.nft("add", "table", "inet", "other")
        self.add()
        self.check()
        plugin.succeed("DEL", self.pod.path, cni.config(cni.spec()))
        self.assertEqual(self.pod.table(), "table inet other {\n}\n")

    def test_del(self):
        self.pod.ip("link", "set", "lo", "up")
        before = self.pod.state()
        self.add()
        for _ in range(2):
            plugin.succeed("DEL", self.pod.path, cni.config(cni.spec()))
            self.assertEqual(self.pod.state(), before)
        path = self.pod.path
        self.pod.remove()
        plugin.succeed("DEL", path, cni.config(cni.spec()))
        plugin.succeed("DEL", "", cni.config(cni.spec()))
        plugin.succeed("DEL", None, cni.config(cni.spec()))

    def test_del_with_a_broken_spec(self):
        self.add()
        plugin.succeed("DEL", self.pod.path, cni.config("nonsense"))
        self.assertEqual(self.pod.table(), "")


class Tampered(Fresh):
    """CHECK sees every alteration, says what it is, and changes nothing."""

    def handle(self, text):
        listing = self.pod.nft("-a", "list", "ruleset")
        return next(re.search(r"# handle (\d+)", line).group(1) for line in listing.splitlines() if text in line)

    def assert_seen(self, says, capture=None):
        before = self.pod.state()
        answer = plugin.fail("CHECK", self.pod.path, cni.config(capture or cni.spec()))
        self.assertEqual(answer["code"], 102)
        self.assertIn(says, answer["details"])
        self.assertEqual(self.pod.state(), before)
        self.add(capture)
        self.check(capture)

    def test_alterations(self):
        self.add()
        self.check()
        table = ("inet", "fairlead")
        for what, commands, says in (
                ("a rule less", lambda: [("delete", "rule", *table, "output", "handle", self.handle("start gate"))],
                 "start gate"),
                ("the last rule less", lambda: [("delete", "rule", *table, "output", "handle", self.handle('"outbound"'))],
                 "outbound"),
                ("a rule more in front", lambda: [("insert", "rule", *table, "output", "accept")], "output"),
                ("a rule more behind", lambda: [("add", "rule", *table, "prerouting", "accept")], "more rules"),
                ("another port",
                 lambda: [("replace", "rule", *table, "prerouting", "handle", self.handle('"inbound"'), "meta", "l4proto",
                           "tcp", "redirect", "to", ":15007")], "inbound"),
                ("an element less", lambda: [("delete", "element", *table, "own_ports", "{ 15053 }")], "own_ports"),
                ("an element more", lambda: [("add", "element", *table, "own_ports", "{ 8080 }")], "own_ports"),
                ("a chain flushed", lambda: [("flush", "chain", *table, "output")], "output"),
                ("a set flushed", lambda: [("flush", "set", *table, "own_ports")], "own_ports"),
                ("a set more", lambda: [("add", "set", *table, "x", "{ type inet_service; }")], '"x"'),
                ("a chain more", lambda: [("add", "chain", *table, "x")], '"x"'),
                ("a chain less", lambda: [("flush", "chain", *table, "prerouting"),
                                          ("delete", "chain", *table, "prerouting")], "prerouting"),
                ("the table less", lambda: [("delete", "table", *table)], "table inet fairlead is missing"),
                ("the table asleep", lambda: [("add", "table", *table, "{ flags dormant; }")], "flags"),
        ):
            with self.subTest(what):
                for command in commands():
                    self.pod.nft(*command)
                self.assert_seen(says)

    def test_alterations_of_every_setting(self):
        with open(os.path.join(cni.GOLDEN, "every-setting.json")) as handle:
            capture = handle.read().strip()
        self.add(capture)
        table = ("inet", "fairlead")
        rules = (("prerouting", "excluded interfaces"), ("prerouting", "IPv6 is not captured"), ("output", "excluded uids"),
                 ("output", "udp dport 53"), ("output", "tcp dport 53"), ("drop_invalid", "invalid"),
                 ("drop_invalid", "excluded interfaces"), ("dns_zone", "proxy's answers"), ("dns_zone", "udp dport 53"),
                 ("dns_zone", "excluded uids"), ("dns_zone", "excluded destinations"))
        for chain, rule in rules:
            with self.subTest(f"{chain}: {rule} less"):
                listing = self.pod.nft("-a", "list", "chain", *table, chain)
                handle = next(re.search(r"# handle (\d+)", line).group(1) for line in listing.splitlines() if rule in line
                              and "chain" not in line)
                self.pod.nft("delete", "rule", *table, chain, "handle", handle)
                self.assert_seen(chain, capture)
        for what, commands, says in (
                ("a uid less", [("delete", "element", *table, "outbound_exclude_uids", "{ 1000-1999 }")], "exclude_uids"),
                ("a uid more", [("add", "element", *table, "outbound_exclude_uids", "{ 5 }")], "exclude_uids"),
                ("an interface less", [("delete", "element", *table, "exclude_interfaces", '{ "eth1" }')],
                 "exclude_interfaces"),
                ("an interface more", [("add", "element", *table, "exclude_interfaces", '{ "eth0" }')],
                 "exclude_interfaces"),
                ("a chain less", [("flush", "chain", *table, "drop_invalid"), ("delete", "chain", *table, "drop_invalid")],
                 "drop_invalid"),
                ("another priority", [("flush", "chain", *table, "dns_zone"), ("delete", "chain", *table, "dns_zone"),
                                      ("add", "chain", *table, "dns_zone", "{ type filter hook output priority 0; }")],
                 "hook, priority, type or policy"),
                ("a chain flushed", [("flush", "chain", *table, "dns_zone")], "dns_zone"),
        ):
            with self.subTest(what):
                for command in commands:
                    self.pod.nft(*command)
                self.assert_seen(says, capture)

    def test_chains_of_settings_that_are_off(self):
        self.add()
        self.pod.nft("add", "chain", "inet", "fairlead", "drop_invalid", "{ type filter hook prerouting priority -150; }")
        self.assert_seen('"drop_invalid" is not ours')

    def test_lo(self):
        self.add()
        self.pod.ip("addr", "del", "::6/128", "dev", "lo")
        self.assert_seen("::6")
        self.pod.ip("link", "set", "lo", "down")
        self.assert_seen("lo is down")

    def test_never_programmed(self):
        self.pod.ip("link", "set", "lo", "up")
        answer = plugin.fail("CHECK", self.pod.path, cni.config(cni.spec()))
        self.assertEqual(answer["code"], 102)
        self.assertEqual(plugin.fail("CHECK", "/nowhere", cni.config(cni.spec()))["code"], 4)


class AtOnce(Fresh):
    def test_many_netns(self):
        pods = [cni.Namespace(f"n{i}") for i in range(8)]
        text = json.dumps(cni.config(cni.spec()))
        for _ in range(3):
            calls = [plugin.start("ADD", pod.path) for pod in pods]
            for call in calls:
                call.stdin.write(text)
                call.stdin.flush()
            for call in calls:
                out, err = call.communicate(timeout=60)
                self.assertEqual(call.returncode, 0, out + err)
        for pod in pods:
            plugin.succeed("CHECK", pod.path, cni.config(cni.spec()))

    def test_the_same_netns(self):
        """A runtime does not do that; still there is one whole table in the end."""
        text = json.dumps(cni.config(cni.spec()))
        calls = [plugin.start("ADD", self.pod.path) for _ in range(6)]
        for call in calls:
            call.stdin.write(text)
            call.stdin.flush()
        for call in calls:
            call.communicate(timeout=60)
        self.add()
        self.check()

    def test_different_specs_for_the_same_netns(self):
        """Whoever is told that the pod is captured is told the truth: no ADD takes away what another one made."""
        texts = [json.dumps(cni.config(spec)) for spec in (cni.spec(), cni.spec(uid=5, outbound_includeCIDRs=["10.0.0.0/8"]))]
        for _ in range(100):
            calls = [plugin.start("ADD", self.pod.path) for _ in texts]
            for call, text in zip(calls, texts):
                call.stdin.write(text)
                call.stdin.flush()
            answers = [call.communicate(timeout=60)[0] for call in calls]
            self.assertIn(0, [call.returncode for call in calls], answers)
            self.assertIn("inet fairlead", self.pod.nft("list", "tables"), answers)
            for call, answer in zip(calls, answers):
                if call.returncode != 0:
                    self.assertIn("another capture spec", json.loads(answer)["details"])
            self.pod.nft("flush", "ruleset")

    def test_killed_in_between(self):
        """Nothing, or the whole table: stopped before each system call in turn."""
        if not os.path.exists("/usr/bin/strace"):
            self.skipTest("strace is not installed")
        text = json.dumps(cni.config(cni.spec()))
        self.add()
        whole = self.pod.table()
        self.pod.nft("flush", "ruleset")
        seen = set()
        for name, last in (("sendto", 12), ("setns", 2), ("recvfrom", 8)):
            for nth in range(1, last + 1):
                subprocess.run(["strace", "-qq", "-o", "/dev/null", "-e", f"inject={name}:signal=KILL:when={nth}",
                                plugin.path], input=text, text=True, stdout=subprocess.DEVNULL,
                               stderr=subprocess.DEVNULL, env=plugin.environment("ADD", self.pod.path))
                table = self.pod.table()
                self.assertIn(table, ("", whole))
                seen.add(bool(table))
                self.pod.nft("flush", "ruleset")
        self.assertEqual(seen, {False, True})


class Faults(Fresh):
    """Each of the kernel's answers replaced by a failure in turn (strace injects it): done, or nothing is left."""

    def test_injected_errors(self):
        if not os.path.exists("/usr/bin/strace"):
            self.skipTest("strace is not installed")
        text = json.dumps(cni.config(cni.spec(), backend="nftables"))
        self.pod.ip("link", "set", "lo", "up")
        before = self.pod.state()
        outcomes = {}
        for call, error, last in (("sendto", "ENOBUFS", 10), ("sendto", "EPERM", 18), ("recvfrom", "ENOBUFS", 14),
                                  ("recvfrom", "EINTR", 4), ("socket", "EPROTONOSUPPORT", 5), ("setns", "EPERM", 1), ("connect", "EPERM", 2)):
            for nth in range(1, last + 1):
                with self.subTest(call=call, error=error, nth=nth):
                    result = subprocess.run(
                        ["strace", "-qq", "-o", "/dev/null", "-e", f"inject={call}:error={error}:when={nth}", plugin.path],
                        input=text, text=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                        # the leak checker of the asan preset does not work under strace
                        env=plugin.environment("ADD", self.pod.path, ASAN_OPTIONS="detect_leaks=0"))
                    answer = json.loads(result.stdout)
                    outcomes.setdefault((call, error), set()).add(answer.get("code", 0))
                    if result.returncode == 0:
                        self.check()
                    else:
                        self.assertTrue(answer["details"])
                        self.assertEqual(self.pod.state(), before)
                    plugin.succeed("DEL", self.pod.path, text)
                    self.assertEqual(self.pod.state(), before)
        with self.subTest("no way back from the netns"):  # it ends at once, rather than going on in there
            result = subprocess.run(
                ["strace", "-qq", "-o", "/dev/null", "-e", "inject=setns:error=EPERM:when=2", plugin.path], input=text, text=True,
                stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                env=plugin.environment("ADD", self.pod.path, ASAN_OPTIONS="detect_leaks=0"))
            self.assertNotEqual(result.returncode, 0)
            self.assertEqual((result.stdout, self.pod.state()), ("", before))
        for transient in (("sendto", "ENOBUFS"), ("recvfrom", "ENOBUFS"), ("recvfrom", "EINTR")):
            self.assertLessEqual(outcomes[transient], {0, 11}, transient)
        self.assertIn(100, outcomes["socket", "EPROTONOSUPPORT"])


class Chain(Fresh):
    """bridge and host-local as Debian has them, then fairlead-cni, run as a runtime runs a conflist: in a netns that
    plays the host, each plugin with the result of the one before."""

    def setUp(self):
        super().setUp()
        if not os.path.exists(os.path.join(STANDARD_PLUGINS, "bridge")):
            self.skipTest("containernetworking-plugins is not installed")
        self.host = cni.Namespace("host")
        self.host.ip("link", "set", "lo", "up")
        self.state_folder = tempfile.mkdtemp(prefix=cni.unique(""))
        self.plugins = [
            {"type": "bridge", "bridge": "cni0", "isGateway": True, "ipam": {
                "type": "host-local", "dataDir": self.state_folder, "routes": [{"dst": "0.0.0.0/0"}],
                "ranges": [[{"subnet": "10.88.0.0/24"}], [{"subnet": "fd88::/64"}]]}},
            {"type": "fairlead-cni", "capabilities": {cni.ANNOTATIONS: True}},
        ]

    def tearDown(self):
        shutil.rmtree(self.state_folder, ignore_errors=True)
        super().tearDown()

    def stdin(self, entry, version, annotations, previous):
        value = {key: part for key, part in entry.items() if key != "capabilities"}
        value.update({"cniVersion": version, "name": "podnet"})
        if annotations and cni.ANNOTATIONS in entry.get("capabilities", {}):
            value["runtimeConfig"] = {cni.ANNOTATIONS: annotations}
        if previous is not None:
            value["prevResult"] = previous
        return value

    def chain(self, verb, pod, version, annotations=None, result=None):
        entries = reversed(self.plugins) if verb == "DEL" else self.plugins
        for entry in entries:
            own = entry["type"] == "fairlead-cni"
            path = plugin.path if own else os.path.join(STANDARD_PLUGINS, entry["type"])
            runner = cni.Plugin(path, within=self.host)
            answer = runner.succeed(verb, pod.path, self.stdin(entry, version, annotations, result),
                                    CNI_PATH=f"{STANDARD_PLUGINS}:{os.path.dirname(plugin.path)}",
                                    CNI_CONTAINERID=pod.name)
            if verb == "ADD":
                result = answer
        return result

    def test_a_meshed_and_a_plain_pod(self):
        for version in ("0.4.0", "1.0.0"):
            with self.subTest(version):
                meshed, plain = cni.Namespace(f"m{version[0]}"), cni.Namespace(f"p{version[0]}")
                annotations = {cni.CAPTURE: cni.spec(), "other": "x"}
                results = {meshed: self.chain("ADD", meshed, version, annotations),
                           plain: self.chain("ADD", plain, version, {"other": "x"})}
                address = {}
                for pod, result in results.items():
                    self.assertEqual(result["cniVersion"], version)
                    self.assertEqual([i["name"] for i in result["interfaces"]][-1], "eth0")
                    address[pod] = result["ips"][0]["address"].split("/")[0]
                self.chain("CHECK", meshed, version, annotations, results[meshed])
                self.assertEqual(plain.table(), "")
                self.assertNotIn("::6/128", plain.ip("addr"))
                meshed.serve(15001, 15006, 8080)
                plain.serve(8080)
                self.assertEqual(meshed.dial(address[plain], 8080)["port"], 15001)
                self.assertEqual(meshed.dial(address[plain], 8080, uid=1337, gid=1337)["port"], 8080)
                self.assertEqual(plain.dial(address[meshed], 8080)["port"], 15006)
                for pod in results:
                    pod.end_servers()
                    self.chain("DEL", pod, version, annotations, results[pod])
                    self.chain("DEL", pod, version, annotations, results[pod])
                    self.assertEqual(pod.table(), "")
                    pod.remove()


if __name__ == "__main__":
    plugin = cni.Plugin(os.path.abspath(sys.argv.pop(1)))
    cni.skip_unless_possible()
    unittest.main()
