"""Repair in place, with real network namespaces and processes: missed pods, flushed and altered tables, and everybody who
might want to misuse it. Each case runs with exec events (where this machine tells them) and with the scan.

    cni_repair_test.py <cni_repair_driver> <fairlead-cni> <fairlead-proxy>
"""
import json
import os
import pathlib
import signal
import subprocess
import sys
import unittest

import cni_support as cni
import cni_repair_support as s
from waiting import PATIENCE, eventually

DRIVER, PLUGIN, PROXY = (os.path.abspath(path) for path in sys.argv[1:4])
WEAKER = cni.spec(inbound_excludePorts=["8080"])
BOOTSTRAP = {
    "node": {"id": "sidecar~10.77.0.2~p.demo~demo.svc.cluster.local", "cluster": "p.demo"},
    "admin": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": 15000}}},
    "static_resources": {
        "listeners": [{
            "name": "virtualOutbound", "traffic_direction": "OUTBOUND",
            "address": {"socket_address": {"address": "::", "port_value": 15001, "ipv4_compat": True}},
            "listener_filters": [{"name": "envoy.filters.listener.original_dst", "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.filters.listener.original_dst.v3.OriginalDst"}}],
            "filter_chains": [{"filters": [{"name": "envoy.filters.network.tcp_proxy", "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy",
                "stat_prefix": "PassthroughCluster", "cluster": "PassthroughCluster"}}]}],
        }],
        "clusters": [{"name": "PassthroughCluster", "type": "ORIGINAL_DST", "lb_policy": "CLUSTER_PROVIDED",
                      "connect_timeout": "10s"}]}}

# A sidecar that changes what its environment says once it is told to.
REWRITES = """
import ctypes, sys, time
fields = open("/proc/self/stat").read().rpartition(")")[2].split()
start, end = int(fields[47]), int(fields[48])
print("ready", flush=True)
sys.stdin.readline()
with open("/proc/self/mem", "r+b", 0) as memory:
    memory.seek(start)
    memory.write(b"FAIRLEAD_CAPTURE=" + b"x" * (end - start - 18) + b"\\0")
print("done", flush=True)
time.sleep(600)
"""


class Cases:
    """What holds in both modes; `mode` is "events" or "scan"."""
    mode = None

    @classmethod
    def setUpClass(cls):
        cls.repair = s.Repair(DRIVER, cls.mode)
        if cls.mode == "events" and cls.repair.reason:
            cls.repair.end()
            raise unittest.SkipTest(cls.repair.reason)

    @classmethod
    def tearDownClass(cls):
        cls.repair.end()

    def pod(self, kind=s.Pod, **options):
        pod = kind(**options)
        self.addCleanup(pod.remove)
        return pod

    def captured(self, pod, process):
        try:
            report = self.repair.wait("captured", pid=process.pid)
        except AssertionError as error:
            raise AssertionError(f"{error}; captured by somebody else: {pod.is_captured()}; {self.repair.counts()}") from None
        self.assertEqual((report["pod"], report["namespace"], report["uid"]), (pod.name, s.NAMESPACE, pod.uid))
        self.assertTrue(pod.is_captured())
        return report

    def plugin(self, pod, spec):
        cni.Plugin(PLUGIN).succeed("ADD", pod.path, {
            **cni.config(spec), "prevResult": {"cniVersion": "1.0.0", "ips": [{"address": f"{pod.addresses[0]}/24"}]}})

    # -- repair --

    def test_a_missed_pod_is_captured_and_the_gate_opens(self):
        pod = self.pod()
        bootstrap = s.FOLDER / "bootstrap.json"
        bootstrap.write_text(json.dumps(BOOTSTRAP))
        proxy = pod.start([PROXY, "-c", bootstrap])
        lines = []
        for line in proxy.stdout:
            lines.append(line.decode())
            if b"start gate open" in line:
                break
        else:
            self.fail("the proxy ended before its gate was open:\n" + "".join(lines))
        self.captured(pod, proxy)

    def test_what_the_plugin_captured_is_left_alone(self):
        pod = self.pod()
        self.plugin(pod, cni.spec())
        before = pod.netns.state()
        count = self.repair.counts()
        pod.start()
        after = eventually(lambda: (now := self.repair.counts())["sidecars"] > count["sidecars"] and now, "it is known")
        self.assertEqual(after["uncaptured"], count["uncaptured"])
        self.assertEqual(pod.netns.state(), before)
        self.assertEqual(self.repair.told_of(pod), [])

    def test_what_is_flushed_or_altered_is_restored(self):
        damages = {
            "flushed": lambda pod: pod.netns.nft("flush", "ruleset"),
            "a rule gone": lambda pod: pod.netns.nft("flush", "chain", "inet", "fairlead", "output"),
            "a rule more": lambda pod: pod.netns.nft("insert", "rule", "inet", "fairlead", "output", "accept"),
            "::6 gone": lambda pod: pod.netns.ip("addr", "del", "::6/128", "dev", "lo"),
            "lo down": lambda pod: pod.netns.ip("link", "set", "lo", "down"),
            "somebody else's": lambda pod: pod.netns.nft(
                "delete table inet fairlead; add table inet fairlead { comment \"mine\"; }")}
        pods = {name: self.pod() for name in damages}
        pids = {name: pod.start().pid for name, pod in pods.items()}
        for name in damages:
            self.repair.wait("captured", pid=pids[name])
        good = pods["flushed"].table()
        for name, damage in damages.items():
            damage(pods[name])
        for name, pod in pods.items():
            with self.subTest(name):
                report = self.repair.wait("restored", pid=pids[name])
                self.assertNotEqual(report["reason"], "")
                self.assertEqual(pod.table(), good)
                self.assertTrue(pod.is_captured())
                self.assertIn("UP", pod.netns.ip("link", "show", "lo"))

    def test_tables_of_others_are_left_alone(self):
        pod = self.pod()
        pod.netns.nft("add", "table", "inet", "theirs")
        self.captured(pod, pod.start())
        self.assertIn("theirs", pod.table())

    def test_a_sidecar_that_restarts_is_the_same_pod(self):
        pod = self.pod()
        first = pod.start()
        self.captured(pod, first)
        before = self.repair.counts()
        first.kill()
        first.wait()
        eventually(lambda: self.repair.counts()["sidecars"] == before["sidecars"] - 1, "it is forgotten")
        second = pod.start()
        eventually(lambda: self.repair.counts()["sidecars"] == before["sidecars"], "it is known again")
        self.assertEqual(self.repair.told_of(pod), [])
        pod.netns.nft("flush", "ruleset")
        self.repair.wait("restored", pid=second.pid)

    def test_an_agent_that_restarts_goes_by_the_table(self):
        pod, other = self.pod(), self.pod()
        process, missed = pod.start(), other.start()
        self.captured(pod, process)
        self.captured(other, missed)
        good = pod.table()
        self.repair.end(signal.SIGKILL)
        pod.netns.nft("insert", "rule", "inet", "fairlead", "output", "accept")
        other.netns.nft("flush", "ruleset")
        type(self).repair = s.Repair(DRIVER, self.mode)
        self.repair.wait("restored", pid=process.pid)
        self.repair.wait("captured", pid=missed.pid)
        self.assertEqual(pod.table(), good)

    def test_a_pod_with_a_user_namespace(self):
        pod = self.pod(s.UserPod)
        wrong = pod.start_inside(uid=1000)
        report = self.repair.wait("refused", pid=wrong.pid)
        self.assertIn("runs as 1000:1337", report["reason"])
        process = pod.start_inside()
        self.captured(pod, process)
        cni.run("nsenter", f"--net={pod.own_path}", "nft", "flush", "ruleset")
        self.repair.wait("restored", pid=process.pid)

    def test_several_sidecars_in_one_pod(self):
        pod = self.pod()
        first = pod.start()
        self.captured(pod, first)
        count = self.repair.counts()
        second = pod.start()
        eventually(lambda: self.repair.counts()["examined"] > count["examined"], "the second is known")
        first.kill()
        first.wait()
        pod.netns.nft("flush", "ruleset")
        self.repair.wait("restored", pid=second.pid)

    # -- misuse --

    def test_the_hosts_netns_is_refused_once(self):
        pod = self.pod()
        before = cni.run("nft", "list", "ruleset")
        process = pod.start(netns="/proc/self/ns/net")
        report = self.repair.wait("refused", pid=process.pid)
        self.assertIn("host", report["reason"])
        self.repair.look()
        self.repair.look()
        self.assertEqual(self.repair.told_of(pod), [])
        self.assertEqual(cni.run("nft", "list", "ruleset"), before)

    def test_an_imitation_as_another_user_is_refused(self):
        pod = self.pod()
        for uid, gid in ((1000, 1000), (1337, 1000), (1000, 1337), (0, 0)):
            process = pod.start(uid=uid, gid=gid)
            self.assertIn(f"runs as {uid}:{gid}", self.repair.wait("refused", pid=process.pid)["reason"])
        self.assertEqual(pod.table(), "")

    def test_an_imitation_cannot_weaken_what_is_there(self):
        pod = self.pod()
        process = pod.start()
        self.captured(pod, process)
        good = pod.table()
        imitation = pod.start(FAIRLEAD_CAPTURE=WEAKER)
        self.repair.wait("conflict", pid=imitation.pid)
        self.assertEqual(pod.table(), good)
        process.kill()  # it is alone now; what was first counts
        process.wait()
        pod.netns.nft("flush", "ruleset")
        self.repair.wait("restored", pid=imitation.pid)
        self.assertEqual(pod.table(), good)

    def test_an_imitation_that_an_agent_sees_first_cannot_either(self):
        pod = self.pod()
        self.plugin(pod, cni.spec())
        good = pod.table()
        imitation = pod.start(FAIRLEAD_CAPTURE=WEAKER)
        self.assertIn("fairlead capture 1", self.repair.wait("conflict", pid=imitation.pid)["reason"])
        self.assertEqual(pod.table(), good)
        uncaptured = self.repair.counts()["uncaptured"]
        process = pod.start()
        eventually(lambda: self.repair.counts()["uncaptured"] == uncaptured - 1, "the right one is known")
        pod.netns.nft("flush", "ruleset")
        self.repair.wait("restored")
        self.assertEqual(pod.table(), good)
        self.assertIsNone(process.poll())

    def test_an_imitation_in_a_netns_of_its_own_affects_that_one(self):
        pod = self.pod()
        self.captured(pod, pod.start())
        good = pod.table()
        address = pod.addresses[0]
        imitation = pod.start(["sh", "-c", f"ip link add name v0 type veth peer name v1 && ip addr add {address}/24 dev v0 && echo ready && "
                               f"exec setpriv --reuid 1337 --regid 1337 --clear-groups {s.NAMED} 600"],
                              before=["nsenter", f"--net={pod.path}", "unshare", "--net"], FAIRLEAD_CAPTURE=WEAKER)
        self.assertEqual(imitation.stdout.readline(), b"ready\n")
        report = self.repair.wait("captured", pid=imitation.pid)
        self.assertNotEqual(report["netns"], pod.inode)
        self.assertEqual(pod.table(), good)

    def test_a_netns_that_is_another_pods(self):
        pod, other = self.pod(), self.pod()
        process = pod.start(POD_IPS=other.addresses[0])
        self.assertIn("none of the addresses", self.repair.wait("refused", pid=process.pid)["reason"])
        self.assertEqual(pod.table() + other.table(), "")

    def test_environments_that_are_wrong(self):
        pod = self.pod()
        wrong = {"FAIRLEAD_CAPTURE": ("{", '{"version":3}', "", "x" * 20000, cni.spec(uid=0)),
                 "POD_IPS": (None, "", "127.0.0.1", "::6", "10.0.0.1/8", "10.0.0.1,", "fe80::1", ",".join(["10.0.0.1"] * 17)),
                 "POD_NAMESPACE": (None, "", "a" * 64, "A", "a\nb", "../x"), "POD_NAME": (None, "a b", "x" * 254),
                 "POD_UID": (None, "", "a/b")}
        for name, values in wrong.items():
            for value in values:
                with self.subTest(name=name, value=str(value)[:20]):
                    process = pod.start(**{name: value})
                    self.assertIn(name, self.repair.wait("refused", pid=process.pid)["reason"])
                    process.kill()
        self.assertEqual(pod.table(), "")

    def test_a_proxy_without_a_capture_spec_is_no_sidecar(self):
        pod = self.pod()
        count = self.repair.counts()
        pod.start(FAIRLEAD_CAPTURE=None)
        eventually(lambda: self.repair.counts()["examined"] > count["examined"], "it is examined")
        self.assertEqual((pod.table(), self.repair.counts()["refused"]), ("", count["refused"]))

    def test_environments_that_are_large(self):
        pod, other = self.pod(), self.pod()
        many = {f"SERVICE_{n}": "x" * 100000 for n in range(19)}
        process = pod.start(environment={**pod.environment(), **many})
        self.captured(pod, process)
        late = other.start(environment={**many, **{f"S_{n}": "x" * 100 for n in range(1000)}, **other.environment()})
        self.captured(other, late)  # below the limit of 2 MiB

    def test_an_environment_that_is_rewritten(self):
        pod = self.pod()
        script = s.write_script(REWRITES)
        process = s.own(subprocess.Popen([script], env=pod.environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                         preexec_fn=s.as_user(pod.path, 1337, 1337)))
        pod.processes.append(process)
        self.addCleanup(process.stdin.close)
        self.captured(pod, process)
        good = pod.table()
        self.assertEqual(process.stdout.readline(), b"ready\n")
        process.stdin.write(b"\n")
        process.stdin.flush()
        self.assertEqual(process.stdout.readline(), b"done\n")
        pod.netns.nft("flush", "ruleset")
        self.repair.wait("restored", pid=process.pid)
        self.assertEqual(pod.table(), good)

    def test_a_program_that_starts_itself_over_and_over(self):
        pod = self.pod()
        script = s.SCRIPT.with_name("loop") / "fairlead-proxy"
        script.parent.mkdir(exist_ok=True)
        script.write_text("#!/bin/sh\nsleep 0.01\nexec $0\n")
        script.chmod(0o755)
        process = pod.start([script], FAIRLEAD_CAPTURE="{")
        self.repair.wait("refused", pid=process.pid)
        count = self.repair.counts()
        if self.mode == "events":
            eventually(lambda: self.repair.counts()["execs"] > count["execs"] + 100, "it does so")
            self.assertLess(self.repair.counts()["examined"], count["examined"] + 50)
        self.assertNotIn(process.pid, [report["pid"] for report in self.repair.reports])

    def test_a_process_that_takes_the_name_later(self):
        pod = self.pod()
        code = "import ctypes,time; ctypes.CDLL(None).prctl(15, b'fairlead-proxy', 0, 0, 0); print('ready', flush=True); time.sleep(600)"
        process = pod.start(["python3", "-c", code])
        self.assertEqual(process.stdout.readline(), b"ready\n")
        self.repair.look()
        self.captured(pod, process)  # it is the pod's own netns, and the spec its own: no harm

    def test_a_storm_of_processes(self):
        pod = self.pod()
        storm = subprocess.Popen(["sh", "-c", "i=0; while [ $i -lt 10000 ]; do /bin/true; i=$((i+1)); done"])
        process = pod.start()
        self.captured(pod, process)
        self.assertEqual(storm.wait(), 0)
        late = self.pod()
        self.captured(late, late.start())

    def test_pids_and_namespaces_that_are_given_out_again(self):
        pod, other = self.pod(), self.pod()
        first = pod.start()
        self.captured(pod, first)
        first.kill()
        first.wait()
        pod.netns.remove()
        last = pathlib.Path("/proc/sys/kernel/ns_last_pid")
        for _ in range(200):
            last.write_text(str(first.pid - 1))
            second = other.start()
            if second.pid == first.pid:
                break
            second.kill()
            second.wait()
        else:
            self.skipTest("the pid was not given out again")
        self.captured(other, second)


class Events(Cases, unittest.TestCase):
    mode = "events"


class Scan(Cases, unittest.TestCase):
    mode = "scan"


class Container(unittest.TestCase):
    """A node that is a container: a pid namespace of its own, where no exec events come."""

    def test_a_child_pid_namespace(self):
        repair = s.Repair(DRIVER, "events", before=["unshare", "--pid", "--fork", "--mount-proc", "--kill-child"])
        self.addCleanup(repair.end)
        self.assertIn("not acknowledged", repair.reason)
        inner = int(pathlib.Path(f"/proc/{repair.process.pid}/task/{repair.process.pid}/children").read_text())
        pod = s.Pod()
        self.addCleanup(pod.remove)
        pod.start(before=["nsenter", "-t", str(inner), "--pid", "--mount", f"--net={pod.path}", "setpriv", "--reuid=1337",
                          "--regid=1337", "--clear-groups"])
        repair.wait("captured", pod=pod.name)
        self.assertTrue(pod.is_captured())

    def test_a_proc_of_another_pid_namespace(self):
        done = subprocess.run(["unshare", "--pid", "--fork", DRIVER, "/proc", "scan", "x"], input=b"",
                              stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, check=False, timeout=PATIENCE)
        self.assertEqual(done.returncode, 1)
        self.assertIn(b"not the /proc of this process's own pid namespace", done.stderr)


if __name__ == "__main__":
    cni.skip_unless_possible()
    unittest.main(argv=sys.argv[:1] + sys.argv[4:], verbosity=2)
