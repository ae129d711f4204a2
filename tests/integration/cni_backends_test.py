"""fairlead-cni and its back ends: which one is taken, what a change of them leaves, what happens when a program of
iptables fails at any step, how such programs are run, and what tells whether rules changed.

usage: cni_backends_test.py PATH-OF-fairlead-cni PATH-OF-cni_capture_driver [unittest arguments]
"""
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

import cni_support as cni

SAVES = ("iptables-legacy-save", "ip6tables-legacy-save", "iptables-nft-save", "ip6tables-nft-save")
CAPTURE = cni.spec(dns=True, dropInvalid=True)
OTHER = cni.spec(outbound_includePorts=["443"], outbound_includeCIDRs=["10.0.0.0/8"], inbound_excludePorts=["22"])


def config(backend, capture=CAPTURE):
    return cni.config(capture, backend=backend)


def ask(what, pod):
    return cni.run(driver, what, pod.path).strip()


class Fresh(unittest.TestCase):
    def setUp(self):
        self.pod = cni.Namespace("pod")
        self.addCleanup(self.pod.remove)

    def toolbox(self, *variants, **extra):
        tools = cni.Toolbox(*variants, **extra)
        self.addCleanup(tools.remove)
        return cni.Plugin(plugin.path, tools=tools)

    def saved(self):
        """What each of the programs shows that is ours, without counters."""
        texts = [cni.run("nsenter", f"--net={self.pod.path}", program) for program in SAVES]
        return [[line for line in text.split("\n") if re.search(r"FAIRLEAD_", line)] for text in texts]

    def holders(self):
        """Where our rules are: nftables, legacy, nft."""
        legacy4, legacy6, nft4, nft6 = map(bool, self.saved())
        self.assertEqual((legacy4, nft4), (legacy6, nft6))
        table = "table inet fairlead" in self.pod.nft("list", "tables")
        return {name for name, there in (("nftables", table), ("legacy", legacy4), ("nft", nft4)) if there}


class Choice(Fresh):
    def test_each_replaces_each(self):
        both = {"nftables": ("nftables", plugin), "legacy": ("iptables", self.toolbox("legacy")),
                "nft": ("iptables", self.toolbox("nft"))}
        everything = self.toolbox("legacy", "nft")
        order = ["nftables", "legacy", "nftables", "nft", "nftables", "legacy", "legacy"]
        for name in order:
            backend, host = both[name]
            adder = everything if backend == "nftables" else host
            adder.succeed("ADD", self.pod.path, config(backend))
            self.assertEqual(self.holders(), {name})
            for asked in ("auto", backend):
                everything.succeed("CHECK", self.pod.path, config(asked))
            wrong = "iptables" if backend == "nftables" else "nftables"
            self.assertEqual(everything.fail("CHECK", self.pod.path, config(wrong))["code"], 102)
        everything.succeed("DEL", self.pod.path, config("auto"))
        self.assertEqual(self.holders(), set())

    def test_the_two_of_iptables(self):
        everything = self.toolbox("legacy", "nft")
        self.toolbox("nft").succeed("ADD", self.pod.path, config("iptables"))
        self.assertEqual(self.holders(), {"nft"})
        everything.succeed("ADD", self.pod.path, config("iptables"))
        self.assertEqual(self.holders(), {"legacy"})

    def test_auto_is_nftables(self):
        plugin.succeed("ADD", self.pod.path, config("auto"))
        self.assertEqual(self.holders(), {"nftables"})

    def test_auto_without_nf_tables(self):
        """strace plays a kernel that has no nfnetlink: one socket after the other cannot be opened."""
        if not shutil.which("strace"):
            self.skipTest("strace is not installed")
        seen = set()
        for nth in range(1, 7):
            result = subprocess.run(
                ["strace", "-qq", "-o", "/dev/null", "-e", f"inject=socket:error=EPROTONOSUPPORT:when={nth}", plugin.path],
                input=json.dumps(config("auto")), text=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                env=plugin.environment("ADD", self.pod.path, ASAN_OPTIONS="detect_leaks=0"))
            if result.returncode == 0:
                seen.update(self.holders())
                plugin.succeed("CHECK", self.pod.path, config("auto"))
            plugin.succeed("DEL", self.pod.path, config("auto"))
            self.assertEqual(self.holders(), set())
        self.assertIn("legacy", seen)

    def test_both_is_a_difference(self):
        plugin.succeed("ADD", self.pod.path, config("nftables"))
        table = self.pod.table()
        plugin.succeed("ADD", self.pod.path, config("iptables"))
        cni.run("nsenter", f"--net={self.pod.path}", "nft", "-f", "-", input=table)
        for backend in ("auto", "nftables", "iptables"):
            answer = plugin.fail("CHECK", self.pod.path, config(backend))
            self.assertIn("in nftables and in iptables", answer["details"])
        plugin.succeed("ADD", self.pod.path, config("auto"))
        self.assertEqual(self.holders(), {"nftables"})

    def test_a_host_without_programs(self):
        host = self.toolbox()
        before = self.pod.state()
        answer = host.fail("ADD", self.pod.path, config("iptables"))
        self.assertEqual(answer["code"], 100)
        for name in ("iptables-legacy-restore", "iptables-restore", "iptables-nft-restore", "/usr/sbin"):
            self.assertIn(name, answer["details"])
        self.assertEqual(self.pod.state(), before)
        host.succeed("ADD", self.pod.path, config("auto"))


class Differences(Fresh):
    def test_each_change_is_told(self):
        changes = (("-t nat -D FAIRLEAD_OUTPUT 1", "missing or altered"), ("-t nat -F FAIRLEAD_OUTPUT", "missing"),
                   ("-t nat -A FAIRLEAD_PREROUTING -j RETURN", "not planned"), ("-t raw -F OUTPUT", "entry from OUTPUT"),
                   ("-t nat -I OUTPUT -p tcp -j ACCEPT", "not the first"), ("-t mangle -N FAIRLEAD_X", "FAIRLEAD_X"),
                   ("-t mangle -A INPUT -j FAIRLEAD_DROP_INVALID", "entry from INPUT"),
                   ("-t nat -I FAIRLEAD_OUTPUT -p tcp --dport 80 -j RETURN", "missing or altered"))
        for program in ("iptables-legacy", "ip6tables-legacy"):
            for change, word in changes:
                plugin.succeed("ADD", self.pod.path, config("iptables"))
                plugin.succeed("CHECK", self.pod.path, config("auto"))
                cni.run("nsenter", f"--net={self.pod.path}", program, *change.split())
                answer = plugin.fail("CHECK", self.pod.path, config("auto"))
                self.assertEqual(answer["code"], 102)
                self.assertIn(word, answer["details"])
                self.assertIn("IPv4" if program == "iptables-legacy" else "IPv6", answer["details"])
        plugin.succeed("DEL", self.pod.path, config("auto"))
        self.assertEqual(self.holders(), set())

    def test_another_spec(self):
        plugin.succeed("ADD", self.pod.path, config("iptables"))
        self.assertEqual(plugin.fail("CHECK", self.pod.path, config("iptables", OTHER))["code"], 102)

    def test_what_a_pod_writes_in_our_name_runs_nothing(self):
        """Root in the pod writes a rule with our name; its text never goes to a program of the host."""
        plugin.succeed("ADD", self.pod.path, config("iptables"))
        cni.run("nsenter", f"--net={self.pod.path}", "iptables-legacy", "-t", "nat", "-A", "OUTPUT", "-m", "string", "--string",
                "x", "--algo", "bm", "-j", "FAIRLEAD_OUTPUT")
        before = self.saved()
        answer = plugin.fail("ADD", self.pod.path, config("iptables", OTHER))
        self.assertIn("not of our making", answer["details"])
        self.assertEqual(self.saved(), before)


# In the place of iptables-restore of both families: the call number $n fails, before its work, in the middle (the first
# table is committed), or behind it.
FAILING = """#!/bin/sh
n=$(($(cat {folder}/count) + 1))
echo $n > {folder}/count
[ $n = $(cat {folder}/fail) ] || exec /usr/sbin/xtables-{variant}-multi {name} "$@"
case $(cat {folder}/where) in
before) ;;
middle) sed '/^COMMIT/q' | /usr/sbin/xtables-{variant}-multi {name} "$@" ;;
behind) /usr/sbin/xtables-{variant}-multi {name} "$@" ;;
esac
echo "something is wrong here" >&2
exit $(cat {folder}/code)
"""


class Failures(Fresh):
    def setUp(self):
        super().setUp()
        self.folder = tempfile.mkdtemp(prefix=cni.unique(""), dir="/dev/shm")
        self.addCleanup(shutil.rmtree, self.folder)
        os.chmod(self.folder, 0o755)

    def write(self, **values):
        for name, value in values.items():
            with open(os.path.join(self.folder, name), "w") as handle:
                handle.write(str(value))

    def steps(self, variant, before_spec):
        """ADD with the nth run of iptables-restore failing, for every n there is: as it was."""
        scripts = {f"{program}-{variant}-restore": FAILING.format(folder=self.folder, variant=variant,
                                                                 name=f"{program}-restore")
                   for program in ("iptables", "ip6tables")}
        host = self.toolbox(variant, extra=scripts)
        self.write(fail=0, where="before", count=0, code=1)
        if before_spec is not None:
            host.succeed("ADD", self.pod.path, config("iptables", before_spec))
        before, failed = self.saved(), 0
        for where in ("before", "middle", "behind"):
            for nth in (1, 2):
                self.write(fail=nth, where=where, count=0, code=1)
                answer = host.fail("ADD", self.pod.path, config("iptables"))
                self.assertIn("something is wrong here", answer["details"], f"{where} {nth}")
                self.assertNotIn("could not be undone", answer["details"])
                self.assertEqual(self.saved(), before, f"{where} {nth}")
                failed += 1
        self.write(fail=0, count=0)
        host.succeed("ADD", self.pod.path, config("iptables"))
        host.succeed("CHECK", self.pod.path, config("iptables"))

    def test_each_step_of_a_first_one(self):
        for variant in ("legacy", "nft"):
            self.steps(variant, None)
            plugin.succeed("DEL", self.pod.path, config("auto"))

    def test_each_step_of_another_one(self):
        for variant in ("legacy", "nft"):
            self.steps(variant, OTHER)
            plugin.succeed("DEL", self.pod.path, config("auto"))

    def test_others_at_work(self):
        """Exit code 4, once: somebody else changed the table meanwhile. Tried again."""
        scripts = {f"{program}-legacy-restore": FAILING.format(folder=self.folder, variant="legacy", name=f"{program}-restore")
                   for program in ("iptables", "ip6tables")}
        host = self.toolbox("legacy", extra=scripts)
        for nth in (1, 2):
            self.write(fail=nth, where="before", count=0, code=4)
            host.succeed("ADD", self.pod.path, config("iptables"))
            host.succeed("CHECK", self.pod.path, config("iptables"))
            plugin.succeed("DEL", self.pod.path, config("auto"))

    def test_how_a_program_is_run(self):
        script = f"""#!/bin/sh
env > {self.folder}/env
cat /etc/nsswitch.conf /etc/passwd /etc/group > {self.folder}/users
readlink /proc/self/ns/net > {self.folder}/netns
exec /usr/sbin/xtables-legacy-multi iptables-restore "$@"
"""
        host = self.toolbox("legacy", extra={"iptables-legacy-restore": script})
        code, answer, err = host.call("ADD", self.pod.path, config("iptables"), LD_PRELOAD_X="x", IPTABLES_LIB_DIR="/nowhere",
                                      XTABLES_LIBDIR="/nowhere", XTABLES_LOCKFILE="/run/xtables.lock")
        self.assertEqual(code, 0, (answer, err))
        names = {line.split("=")[0] for line in open(f"{self.folder}/env")}
        self.assertLessEqual(names, {"PATH", "LC_ALL", "XTABLES_LOCKFILE", "PWD", "_", "SHLVL", "OLDPWD"})
        self.assertIn("XTABLES_LOCKFILE=/proc/self/fd/3\n", open(f"{self.folder}/env").read())
        self.assertEqual(open(f"{self.folder}/users").read(), "")
        self.assertEqual(open(f"{self.folder}/netns").read().strip(), self.pod.inside(lambda: os.readlink("/proc/self/ns/net")))

    def test_the_lock_of_the_host_is_not_waited_for(self):
        with open("/run/xtables.lock", "a") as handle:
            import fcntl
            fcntl.flock(handle, fcntl.LOCK_EX)
            plugin.succeed("ADD", self.pod.path, config("iptables"))

    def test_a_program_that_warns(self):
        """Whatever it says on the way: exit code 0 is success, and what is there is read back."""
        script = "#!/bin/sh\necho 'No chain/target/match by that name. Resource temporarily unavailable' >&2\n" \
                 "exec /usr/sbin/xtables-legacy-multi iptables-restore \"$@\"\n"
        host = self.toolbox("legacy", extra={"iptables-legacy-restore": script})
        host.succeed("ADD", self.pod.path, config("iptables"))
        host.succeed("CHECK", self.pod.path, config("iptables"))

    def test_children_that_nobody_wants_to_hear_of(self):
        """SIGCHLD ignored, as a shell's trap hands it down: how a program ended must be known all the same."""
        for backend in ("iptables", "nftables"):
            for verb in ("ADD", "CHECK", "DEL"):
                done = subprocess.run(["env", "--ignore-signal=CHLD", plugin.path], input=json.dumps(config(backend)), text=True,
                                      env=plugin.environment(verb, self.pod.path), stdout=subprocess.PIPE, check=False)
                self.assertEqual(done.returncode, 0, (backend, verb, done.stdout))
            self.assertEqual(self.holders(), set())

    def test_a_program_that_never_stops_talking(self):
        plugin.succeed("ADD", self.pod.path, config("iptables"))
        before = self.saved()
        host = self.toolbox("legacy", extra={"iptables-legacy-save": "#!/bin/sh\nexec yes '-A OUTPUT -j ACCEPT'\n"})
        self.assertIn("iptables-legacy-save", host.fail("CHECK", self.pod.path, config("iptables"))["details"])
        host.fail("ADD", self.pod.path, config("iptables", OTHER))
        self.assertEqual(self.saved(), before)

    def test_many_rules_of_others(self):
        """More than is kept of what iptables-save prints: programmed, compared, and taken out again; theirs stay."""
        rules = "".join(f"-A OUTPUT -d 10.{n >> 16}.{n >> 8 & 255}.{n & 255}/32 -j ACCEPT\n" for n in range(40000))
        cni.run("nsenter", f"--net={self.pod.path}", "iptables-legacy-restore", input=f"*nat\n{rules}COMMIT\n")
        self.assertGreater(len(cni.run("nsenter", f"--net={self.pod.path}", "iptables-legacy-save")), 1 << 20)
        plugin.succeed("ADD", self.pod.path, config("iptables"))
        plugin.succeed("CHECK", self.pod.path, config("iptables"))
        cni.run("nsenter", f"--net={self.pod.path}", "iptables-legacy", "-t", "nat", "-I", "OUTPUT", "-j", "ACCEPT")
        self.assertIn("is not the first", plugin.fail("CHECK", self.pod.path, config("iptables"))["details"])
        plugin.succeed("DEL", self.pod.path, config("iptables"))
        self.assertEqual(self.holders(), set())
        self.assertEqual(cni.run("nsenter", f"--net={self.pod.path}", "iptables-legacy-save").count("-j ACCEPT"), 40001)

    def test_a_program_that_never_ends(self):
        host = self.toolbox("legacy", extra={"iptables-legacy-restore": "#!/bin/sh\nexec sleep 1000\n"})
        self.assertIn("not done after", host.fail("ADD", self.pod.path, config("iptables"))["details"])
        self.assertEqual(self.holders(), set())

    def test_a_netns_full_of_rules(self):
        """Who fills a table that we never asked for has them not in our memory, which in the agent is limited: iptables is refused it."""
        plugin.succeed("ADD", self.pod.path, config("iptables"))
        before = self.saved()
        full = "*filter\n" + "-A OUTPUT -s 10.0.0.1 -j RETURN\n" * 300000 + "COMMIT\n"
        cni.run("nsenter", f"--net={self.pod.path}", "iptables-legacy-restore", input=full)
        with plugin.start("CHECK", self.pod.path) as process:
            process.stdin.write(json.dumps(config("iptables")))
            process.stdin.close()
            answer = process.stdout.read()
            _, status, usage = os.wait4(process.pid, 0)  # with all that it waited for
            process.returncode = os.waitstatus_to_exitcode(status)
        self.assertEqual(process.returncode, 1, answer)
        self.assertIn("iptables-legacy-save", answer)
        self.assertLess(usage.ru_maxrss, 80 * 1024)
        cni.run("nsenter", f"--net={self.pod.path}", "iptables-legacy", "-F")
        self.assertEqual(self.saved(), before)
        plugin.succeed("CHECK", self.pod.path, config("iptables"))

    def test_a_second_family_that_the_host_lacks(self):
        """No ip6tables: an error, and no IPv4 rules stay; where the pod has no IPv6, none is asked for."""
        missing = {f"ip6tables-legacy-{verb}": "" for verb in ("restore", "save")}
        host = self.toolbox("legacy", extra=missing)
        cni.run(*host.tools.command(), "rm", *(f"/usr/sbin/{name}" for name in missing))
        self.pod.ip("link", "set", "lo", "up")
        answer = host.fail("ADD", self.pod.path, config("iptables"))
        self.assertIn("ip6tables-legacy-restore", answer["details"])
        self.assertEqual(self.holders(), set())
        with self.subTest("IPv6 off on lo alone"):
            self.pod.ip("link", "add", "eth0", "type", "veth", "peer", "name", "eth1")
            self.pod.inside(lambda: open("/proc/sys/net/ipv6/conf/lo/disable_ipv6", "w").write("1"))
            self.assertIn("ip6tables-legacy-restore", host.fail("ADD", self.pod.path, config("iptables"))["details"])
            self.assertEqual(self.holders(), set())
        self.pod.inside(lambda: open("/proc/sys/net/ipv6/conf/all/disable_ipv6", "w").write("1"))
        host.succeed("ADD", self.pod.path, config("iptables"))
        host.succeed("CHECK", self.pod.path, config("auto"))
        host.succeed("DEL", self.pod.path, config("auto"))
        self.assertEqual(self.holders(), set())


class Messages(Fresh):
    """nf_tables refuses one message of the batch, each in turn: nothing of it is in force."""

    def reject(self, kind, capture):
        lines = cni.run(driver, "reject", kind, self.pod.path, input=capture).splitlines()
        self.assertGreater(len(lines), 20)
        self.assertEqual([int(line.split()[0]) for line in lines], list(range(1, len(lines) + 1)))

    def test_each_of_a_first_one(self):
        before = self.pod.state()
        self.reject("create", CAPTURE)
        self.assertEqual(self.pod.state(), before)

    def test_each_of_another_one(self):
        plugin.succeed("ADD", self.pod.path, config("nftables", OTHER))
        before = self.pod.state()
        self.reject("replace", CAPTURE)
        self.assertEqual(self.pod.state(), before)
        plugin.succeed("CHECK", self.pod.path, config("nftables", OTHER))


class Several(Fresh):
    def test_at_once(self):
        """Of several ADDs in one netns each is done, or says why; what is in force is one of them, whole."""
        for backends in (["iptables"] * 6, ["iptables", "nftables"] * 2):
            calls = [plugin.start("ADD", self.pod.path) for _ in backends]
            for call, backend in zip(calls, backends):
                call.stdin.write(json.dumps(config(backend)))
                call.stdin.flush()
            answers = [call.communicate(timeout=60)[0] for call in calls]
            self.assertIn(0, [call.returncode for call in calls], answers)
            if len(set(backends)) == 1:
                self.assertEqual({call.returncode for call in calls}, {0}, answers)
                plugin.succeed("CHECK", self.pod.path, config("auto"))
            plugin.succeed("ADD", self.pod.path, config("auto"))
            plugin.succeed("CHECK", self.pod.path, config("auto"))
            plugin.succeed("DEL", self.pod.path, config("auto"))


class Telling(Fresh):
    def changes(self, *command):
        before = ask("glance", self.pod)
        self.assertEqual(ask("glance", self.pod), before)
        cni.run("nsenter", f"--net={self.pod.path}", *command)
        return ask("glance", self.pod) != before

    def test_nothing(self):
        self.assertEqual(ask("owner", self.pod), "none")
        before = ask("glance", self.pod)
        cni.run("nsenter", f"--net={self.pod.path}", "iptables-legacy", "-t", "nat", "-N", "THEIRS")
        self.assertEqual((ask("owner", self.pod), ask("glance", self.pod)), ("none", before))

    def test_loopback(self):
        plugin.succeed("ADD", self.pod.path, config("nftables"))
        self.assertRegex(ask("glance", self.pod), "^nftables .* up six$")
        self.assertTrue(self.changes("ip", "address", "del", "::6/128", "dev", "lo"))
        self.assertTrue(self.changes("ip", "link", "set", "lo", "down"))
        self.assertRegex(ask("glance", self.pod), "^nftables .* down no-six$")

    def test_each_back_end(self):
        for backend, host, change in (
                ("nftables", plugin, "nft flush chain inet fairlead output"),
                ("iptables", self.toolbox("legacy"), "ip6tables-legacy -t nat -F FAIRLEAD_OUTPUT"),
                ("iptables", self.toolbox("nft"), "iptables-nft -t nat -F FAIRLEAD_OUTPUT")):
            host.succeed("ADD", self.pod.path, config(backend))
            owner = ask("owner", self.pod)
            self.assertRegex(owner, r"^fairlead capture 2 [0-9a-f]{16}$")
            self.assertTrue(self.changes(*change.split()))
            self.assertEqual(ask("owner", self.pod), owner)
            self.assertEqual(ask("glance", self.pod).split()[0], "legacy" if "legacy" in change else "nftables")
            host.succeed("ADD", self.pod.path, config(backend, OTHER))
            self.assertNotEqual(ask("owner", self.pod), owner)
            plugin.succeed("DEL", self.pod.path, config("auto"))

    def test_traffic_changes_nothing(self):
        plugin.succeed("ADD", self.pod.path, config("iptables"))
        self.pod.serve(15001)
        before = ask("glance", self.pod)
        self.assertEqual(self.pod.dial("127.0.0.6", 15002)["port"], 15001)
        self.assertEqual(ask("glance", self.pod), before)

    def test_asking_makes_no_table(self):
        names = lambda: self.pod.inside(lambda: open("/proc/self/net/ip_tables_names").read())
        before = names()
        ask("owner", self.pod), ask("glance", self.pod)
        plugin.succeed("ADD", self.pod.path, config("nftables"))
        plugin.succeed("CHECK", self.pod.path, config("auto"))
        plugin.succeed("DEL", self.pod.path, config("auto"))
        self.assertEqual(names(), before)


if __name__ == "__main__":
    plugin = cni.Plugin(os.path.abspath(sys.argv.pop(1)))
    driver = os.path.abspath(sys.argv.pop(1))
    cni.skip_unless_possible()
    for variant in ("legacy", "nft"):
        if not os.path.exists(f"/usr/sbin/xtables-{variant}-multi"):
            print("skipped: iptables is not installed")
            sys.exit(cni.SKIPPED)
    unittest.main()
