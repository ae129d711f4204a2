"""The repair attacked by tenants: processes without a privilege in pods of their own, which move, imitate, hurry and stuff.

    cni_repair_attack_test.py <cni_repair_driver>
"""
import os
import pathlib
import subprocess
import sys
import time
import unittest

import cni_support as cni
import cni_repair_support as s
from waiting import eventually

DRIVER = os.path.abspath(sys.argv[1])
WEAKER = cni.spec(outbound_excludePorts=["4443"])

# In a user namespace and a network namespace of its own, with an address that it gave itself on lo; then it is a "sidecar".
OWN_NETNS = """
import ctypes, fcntl, os, pathlib, socket, struct, sys
libc = ctypes.CDLL(None)
uid, gid = os.getuid(), os.getgid()
assert libc.unshare(0x10000000 | 0x40000000) == 0  # CLONE_NEWUSER, CLONE_NEWNET
pathlib.Path("/proc/self/setgroups").write_text("deny")
pathlib.Path("/proc/self/uid_map").write_text(f"{uid} {uid} 1")
pathlib.Path("/proc/self/gid_map").write_text(f"{gid} {gid} 1")
probe = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
def on_lo(call, name, rest):
    fcntl.ioctl(probe, call, struct.pack("16s", name) + rest)
address = socket.inet_aton(os.environ["POD_IPS"].split(",")[0])
on_lo(0x8916, b"lo:1", struct.pack("HH4s8x", socket.AF_INET, 0, address))  # SIOCSIFADDR
on_lo(0x8914, b"lo", struct.pack("h14x", 0x41))  # SIOCSIFFLAGS
os.execv(sys.argv[1], sys.argv[1:])
"""
# Leaves that network namespace for a new one when it is told to, so that the old one ends.
LEAVES = """
import ctypes, os, sys, time
print(os.stat("/proc/self/ns/net").st_ino, flush=True)
sys.stdin.readline()
assert ctypes.CDLL(None).unshare(0x10000000 | 0x40000000) == 0
print("left", flush=True)
time.sleep(600)
"""
# Becomes another process of the same name, again and again.
HURRIES = """#!/bin/sh
TURN=$((TURN + 1))
export TURN
[ $TURN -lt 400 ] && exec "$0"
echo done
read line
"""
GROUPS = next(path for path in (pathlib.Path("/sys/fs/cgroup/pids"), pathlib.Path("/sys/fs/cgroup")) if (path / "cgroup.procs").exists())


class Attack(unittest.TestCase):
    def setUp(self):
        self.repair = s.Repair(DRIVER, "events")
        self.addCleanup(self.repair.end)

    def pod(self):
        pod = s.Pod()
        self.addCleanup(pod.remove)
        return pod

    def cgroup(self, pod):
        """As the kubelet makes one for a pod; for preexec_fn."""
        folder = GROUPS / f"kubepods-{s.NAMESPACE}-pod{pod.uid}.slice"
        folder.mkdir()
        self.addCleanup(folder.rmdir)
        self.addCleanup(pod.remove)  # before
        return lambda: (folder / "cgroup.procs").write_text(str(os.getpid()))

    def start_in_own_netns(self, pod, script, **changes):
        process = s.own(subprocess.Popen(["/usr/bin/python3", "-BIc", OWN_NETNS, script], env=pod.environment(**changes),
                                         preexec_fn=s.as_user(pod.path, 1337, 1337), stdin=subprocess.PIPE, stdout=subprocess.PIPE))
        pod.processes.append(process)
        self.addCleanup(process.stdin.close)
        return process

    def fill(self, pod, text):
        cni.run("ip", "netns", "exec", pod.netns.name, "nft", "-f", "/dev/stdin", input=text)

    def pod_with_inode(self, inode):
        for _ in range(60):
            pod = self.pod()
            if pod.inode == inode:
                return pod
        self.skipTest("the inode number was not given out again")

    def test_a_netns_whose_number_was_another_ones(self):
        """Its maker was believed, and has gone elsewhere: what it claimed has no say about the pod that has the number now."""
        attacker = self.pod()
        process = self.start_in_own_netns(attacker, s.write_script(LEAVES), FAIRLEAD_CAPTURE=WEAKER)
        inode = int(process.stdout.readline())
        # not by its report: an agent of another test on this machine may be faster
        eventually(lambda: self.repair.counts()["sidecars"] > 0, "it is believed")
        fingerprints = self.repair.counts()["fingerprints"]
        eventually(lambda: self.repair.counts()["fingerprints"] > fingerprints or self.repair.counts()["checks"] > 1, "the second look")
        process.stdin.write(b"\n")
        process.stdin.flush()
        self.assertEqual(process.stdout.readline(), b"left\n")
        victim = self.pod_with_inode(inode)
        sidecar = victim.start()
        eventually(victim.is_captured, "it is captured")
        eventually(lambda: self.repair.counts()["sidecars"] == 1, "the other one is forgotten")
        self.assertNotIn("4443", victim.table())
        self.assertLessEqual({report["kind"] for report in self.repair.told_of(victim)}, {"captured"})
        self.assertIsNone(sidecar.poll())

    def test_one_that_becomes_another_process_all_the_time(self):
        """Is read as often as one that holds still, and told of: twice a second."""
        pod = self.pod()
        join = self.cgroup(pod)
        become = s.as_user(pod.path, 1337, 1337)
        s.SCRIPT.write_text(HURRIES)
        s.SCRIPT.chmod(0o755)
        start = time.monotonic()
        process = s.own(subprocess.Popen([s.SCRIPT], env=pod.environment(TURN="0", FAIRLEAD_CAPTURE=cni.spec(uid=1000)), preexec_fn=lambda: (join(), become()),
                                         stdin=subprocess.PIPE, stdout=subprocess.PIPE))
        pod.processes.append(process)
        self.addCleanup(process.stdin.close)
        self.assertEqual(process.stdout.readline(), b"done\n")
        count, took = len(self.repair.told_of(pod)), time.monotonic() - start
        self.assertLessEqual(count, 2 * took + 2)
        self.assertEqual(self.repair.wait("refused", pid=process.pid)["proven"], 1)

    def test_a_netns_that_is_filled_up(self):
        """Is not read to its end: others wait while one is looked into."""
        pod, other = self.pod(), self.pod()
        self.fill(pod, "table ip filter {\n" + "".join(f"chain {'x' * 100}{n} {{ }}\n" for n in range(12000)) + "}\n")
        process = pod.start()
        self.assertIn("bytes of answers", self.repair.wait("failed", pid=process.pid)["reason"])
        other.start()
        eventually(other.is_captured, "the other one is captured")
        pod.netns.nft("flush", "ruleset")
        self.repair.look()
        eventually(pod.is_captured, "it is captured then")

    def test_rules_of_ours_that_are_filled_up(self):
        pod = self.pod()
        pod.start()
        eventually(pod.is_captured, "it is captured")
        good = pod.table()
        self.fill(pod, "".join(f"insert rule inet fairlead output tcp dport {n} accept\n" for n in range(1, 16000)))
        self.repair.look()
        eventually(lambda: pod.table() == good, "it is as it was")


if __name__ == "__main__":
    cni.skip_unless_possible()
    unittest.main(argv=sys.argv[:1] + sys.argv[2:], verbosity=2)
