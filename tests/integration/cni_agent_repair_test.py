"""fairlead-agent beside pods that run: what its repair reports arrives as log line, metric and Event, while all the rest of it
works. (What repair does in every case: cni_repair_test.py.)

Runs in a pid namespace of its own, so that sidecars of other tests on this machine are none of this agent's.

usage: cni_agent_repair_test.py PATH-OF-fairlead-agent PATH-OF-the-payload [unittest arguments]
"""
import os
import pathlib
import shutil
import socket
import sys
import tempfile
import time
import unittest

import cni_support as cni

if os.getpid() != 1:
    cni.skip_unless_possible()
    os.execvp("unshare", ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc", sys.executable, "-B", *sys.argv])

import cni_repair_support as repair  # noqa: E402: makes its folder when it is imported
import events_api  # noqa: E402
from agent_support import Agent  # noqa: E402
from waiting import eventually  # noqa: E402


class Repair(unittest.TestCase):
    def setUp(self):
        scratch = tempfile.TemporaryDirectory(prefix="fl-agent-")
        self.addCleanup(scratch.cleanup)
        self.folder = pathlib.Path(scratch.name)
        for name in ("conf", "bin"):
            (self.folder / name).mkdir()
        self.api = events_api.Events()
        self.addCleanup(self.api.close)

    def agent(self, *options):
        agent = Agent(PROGRAM, self.folder, "--payload", PAYLOAD, "--node", "node-1", "--service-account", self.api.account,
                      *options, environment=self.api.environment())
        self.addCleanup(agent.kill)
        agent.wait("repair is on")
        agent.wait_listening()
        return agent

    def pod(self):
        pod = repair.Pod()
        self.addCleanup(pod.remove)
        return pod

    def test_missed_pod(self):
        agent = self.agent()
        pod = self.pod()
        process = pod.start()
        line = agent.wait("captured a pod that had started uncaptured", pod=pod.name)
        self.assertEqual((line["kind"], line["namespace"], line["uid"], line["pid"], line["netns"]),
                         ("captured", repair.NAMESPACE, pod.uid, process.pid, pod.inode))
        self.assertTrue(pod.is_captured())
        metrics = agent.metrics()
        self.assertEqual(metrics['fairlead_cni_repairs_total{kind="captured"}'], 1)
        self.assertEqual(metrics["fairlead_cni_repair_seconds_count"], 1)
        self.assertEqual(metrics["fairlead_cni_sidecars"], 1)
        self.assertEqual(metrics["fairlead_cni_uncaptured"], 0)
        pod.netns.nft("flush", "ruleset")
        line = agent.wait("restored a pod's capture that had been changed", pod=pod.name)
        self.assertTrue(line["reason"])
        self.assertTrue(pod.is_captured())
        self.assertEqual(agent.metrics()['fairlead_cni_repairs_total{kind="restored"}'], 1)
        self.assertNotIn(pod.name, agent.get("/metrics")[1], "no pod is named in metrics")

    def test_backend(self):
        """The back end that the agent was told is the repair's as well, not the installer's alone."""
        if not shutil.which("iptables-legacy-restore") and not shutil.which("iptables-nft-restore"):
            self.skipTest("iptables is not installed")
        agent = self.agent("--backend", "iptables")
        pod = self.pod()
        pod.start()
        agent.wait("captured a pod that had started uncaptured", pod=pod.name)
        self.assertNotIn("table inet fairlead", pod.table())
        rules = "".join(cni.run("nsenter", f"--net={pod.path}", program) for program in ("iptables-legacy-save", "iptables-nft-save"))
        self.assertIn("fairlead", rules)

    def test_no_event_without_proof(self):
        """Whoever calls himself another pod's sidecar writes no Event about it: here no cgroup proves anything."""
        agent = self.agent()
        pod = self.pod()
        pod.start()
        line = agent.wait("captured a pod that had started uncaptured", pod=pod.name)
        self.assertEqual(line["proven"], "no")
        agent.wait_metric('fairlead_cni_events_total{result="unproven"}', 1)
        self.assertEqual(self.api.requests, [])

    def test_imitation(self):
        agent = self.agent()
        pod = self.pod()
        pod.start(uid=1000, gid=1000)
        line = agent.wait("a process claims to be a sidecar, and is not believed")
        self.assertEqual(line["kind"], "refused")
        self.assertEqual(agent.metrics()['fairlead_cni_refused'], 1)
        self.assertFalse(pod.is_captured())

    def test_no_proc(self):
        agent = Agent(PROGRAM, self.folder, "--payload", PAYLOAD, "--no-events", "--proc", self.folder / "nowhere")
        self.addCleanup(agent.kill)
        self.assertIn("nowhere", agent.wait("repair is off")["reason"])
        agent.wait("not installed", state="waiting")

    def test_agent_dies_and_comes_back(self):
        """What was captured stays so; what was missed meanwhile is captured by the next one."""
        agent = self.agent()
        pod, late = self.pod(), self.pod()
        pod.start()
        agent.wait("captured a pod that had started uncaptured", pod=pod.name)
        agent.kill()
        late.start()
        self.assertTrue(pod.is_captured())
        again = self.agent()
        again.wait("captured a pod that had started uncaptured", pod=late.name)
        self.assertEqual(again.metrics()['fairlead_cni_repairs_total{kind="captured"}'], 1)

    def test_a_pod_that_waited_for_the_agent(self):
        """How long it was uncaptured counts from its sidecar's start, not from when the agent came."""
        pod = self.pod()
        before = time.clock_gettime(time.CLOCK_BOOTTIME)
        pod.start()
        started = time.clock_gettime(time.CLOCK_BOOTTIME)
        eventually(lambda: time.clock_gettime(time.CLOCK_BOOTTIME) >= started + 2, "it has waited for two seconds")
        agent = self.agent()
        waited = agent.wait("captured a pod that had started uncaptured", pod=pod.name)["duration_ms"] / 1000
        self.assertGreaterEqual(waited, 2)
        self.assertLessEqual(waited, time.clock_gettime(time.CLOCK_BOOTTIME) - before + 0.01, "a tick more at most")
        metrics = agent.metrics()
        self.assertEqual(metrics['fairlead_cni_repair_seconds_bucket{le="1"}'], 0)
        self.assertEqual(metrics['fairlead_cni_repair_seconds_bucket{le="86400"}'], 1)
        self.assertGreaterEqual(metrics["fairlead_cni_repair_seconds_sum"], 2)
        before = time.clock_gettime(time.CLOCK_BOOTTIME)
        pod.netns.nft("flush", "ruleset")
        restored = agent.wait("restored a pod's capture that had been changed", pod=pod.name)["duration_ms"] / 1000
        self.assertLessEqual(restored, time.clock_gettime(time.CLOCK_BOOTTIME) - before, "a table's time is not the sidecar's")

    def test_attacked_pages_and_a_slow_api_do_not_hold_it_up(self):
        """Half-heads on every place of the pages, an API server that never answers, a line reader that is gone: pods are
        captured all the same."""
        self.api.behave = lambda connection, _: connection.more()
        agent = self.agent()
        held = [socket.create_connection(("127.0.0.1", agent.port)) for _ in range(32)]
        for connection in held:
            self.addCleanup(connection.close)
            connection.sendall(b"GET /")
        pods = [self.pod() for _ in range(5)]
        for pod in pods:
            pod.start()
        eventually(lambda: all(pod.is_captured() for pod in pods), "all are captured")


if __name__ == "__main__":
    PROGRAM = pathlib.Path(sys.argv.pop(1)).resolve()
    PAYLOAD = pathlib.Path(sys.argv.pop(1)).resolve()
    unittest.main()
