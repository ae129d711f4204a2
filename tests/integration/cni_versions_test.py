"""Versions of fairlead-cni on one host, while pods come and go: upgrade, roll-back, removal, and installers that are
killed. No ADD ever fails, and what nobody uses any more is gone.

usage: cni_versions_test.py PAYLOAD-FOLDER payload_tool [unittest arguments]
"""
import json
import os
import random
import signal
import subprocess
import sys
import threading
import unittest

import cni_host
import cni_support as cni
import waiting

WORKERS = 3
UPGRADES = 12
KILLS = 25


class Stream:
    """Pods that come and go, each worker's in a netns of its own, until it is ended. Every call must succeed."""

    def __init__(self, plugin, workers=WORKERS):
        self.plugin = cni.Plugin(plugin)
        self.ended = threading.Event()
        self.done = [0] * workers
        self.failures = []
        self.pods = [cni.Namespace(f"stream{number}") for number in range(workers)]
        self.threads = [threading.Thread(target=self.work, args=(number,)) for number in range(workers)]

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        self.another_round()
        return self

    def __exit__(self, *_):
        self.ended.set()
        for thread in self.threads:
            thread.join()
        for pod in self.pods:
            pod.remove()

    def work(self, number):
        pod, stdin = self.pods[number], json.dumps(cni.config(cni.spec()))
        while not self.ended.is_set():
            for verb in ("ADD", "CHECK", "DEL", "VERSION"):
                code, answer, err = self.plugin.call(verb, pod.path, stdin)
                if code != 0:
                    self.failures.append((verb, code, answer, err))
            self.done[number] += 1

    def another_round(self):
        """Until every worker has gone round once more."""
        before = list(self.done)
        waiting.eventually(lambda: all(now > then for now, then in zip(self.done, before)), "the stream goes on")


class Versions(unittest.TestCase):
    def setUp(self):
        self.host = cni_host.Host(payloads)
        self.launcher = os.path.join(self.host.bin, cni_host.LAUNCHER)
        self.addCleanup(self.host.remove)
        self.addCleanup(cni.remove_all)

    def assert_settled(self, source):
        """This version alone, whole, and nothing beside it."""
        payloads.run("check", source, self.host.bin)
        self.assertEqual(self.host.versions(), [payloads.run("version", source, self.host.bin)])
        self.assertEqual(self.host.leftovers(), [])


class UnderAStream(Versions):
    def test_upgrade_and_roll_back(self):
        with Stream(self.launcher) as stream:
            for number in range(UPGRADES):
                payloads.upgrade(payloads.other if number % 2 == 0 else payloads.built, self.host.bin)
                if number % 4 == 3:
                    stream.another_round()
        self.assertEqual(stream.failures, [])
        payloads.run("prune", payloads.built, self.host.bin)
        self.assert_settled(payloads.built)

    def test_two_agents_that_do_not_know_of_each_other(self):
        def install(source):
            for _ in range(UPGRADES // 2):
                payloads.upgrade(source, self.host.bin)
        with Stream(self.launcher) as stream:
            agents = [threading.Thread(target=install, args=(source,)) for source in (payloads.built, payloads.other)]
            for agent in agents:
                agent.start()
            for agent in agents:
                agent.join()
        self.assertEqual(stream.failures, [])
        payloads.upgrade(payloads.other, self.host.bin)
        self.assert_settled(payloads.other)

    def test_installers_that_are_killed(self):
        """At any moment, in any number: the next one finds nothing in its way and leaves nothing behind."""
        dice = random.Random(6)
        with Stream(self.launcher) as stream:
            for number in range(KILLS):
                source = payloads.other if number % 2 == 0 else payloads.built
                verb = "install" if number % 5 else "prune"
                process = subprocess.Popen(payloads.command(verb, source, self.host.bin), stderr=subprocess.DEVNULL)
                try:
                    process.wait(dice.uniform(0, 0.06))
                except subprocess.TimeoutExpired:
                    process.send_signal(signal.SIGKILL)
                    process.wait()
                self.assertLessEqual(len(self.host.leftovers()), 4)
            stream.another_round()
        self.assertEqual(stream.failures, [])
        payloads.upgrade(payloads.other, self.host.bin)
        self.assert_settled(payloads.other)

    def test_damage_is_repaired(self):
        """Files of the version in force are replaced one by one, each in one step: no ADD meets a half-written one."""
        with Stream(self.launcher) as stream:
            for name in os.listdir(self.host.version_folder()):
                path = os.path.join(self.host.version_folder(), name)
                os.chmod(path, 0o700)  # damage that does not break the plugin at once
                payloads.install(payloads.built, self.host.bin)
                self.assertEqual(os.stat(path).st_mode & 0o777, 0o755)
            stream.another_round()
        self.assertEqual(stream.failures, [])
        self.assert_settled(payloads.built)


class OneByOne(Versions):
    """Moments that a stream meets rarely, one at a time."""

    def setUp(self):
        if payloads.sanitized:
            self.skipTest("the sanitizers' runtime needs /proc")
        super().setUp()
        self.pod = cni.Namespace("pod")
        self.netns = self.host.lend(self.pod)
        self.addCleanup(self.host.take_back, self.netns)

    def test_a_plugin_that_runs_keeps_its_files(self):
        old = self.host.version
        process = self.host.start("ADD", self.netns)
        waiting.eventually(lambda: self.is_locked(old), "the plugin holds its folder")
        payloads.upgrade(payloads.other, self.host.bin)
        self.assertIn(old, self.host.versions())
        out, err = process.communicate(json.dumps(cni.config(cni.spec())))
        self.assertEqual((process.returncode, err), (0, ""))
        self.assertIn("ips", json.loads(out))
        payloads.run("prune", payloads.other, self.host.bin)
        self.assert_settled(payloads.other)

    def is_locked(self, version):
        held = os.stat(os.path.join(self.host.bin, cni_host.VERSIONS, version)).st_ino
        with open("/proc/locks") as handle:
            return any(line.split()[5].endswith(f":{held}") for line in handle)

    def start_stopped(self, verb="ADD"):
        """A launcher that has been executed and has not done anything yet."""
        process = self.host.start(verb, self.netns, traced=True)
        _, status = os.waitpid(process.pid, os.WUNTRACED)
        self.assertTrue(os.WIFSTOPPED(status))
        return process

    def go_on(self, process, stdin):
        self.assertEqual(cni_host.libc.ptrace(cni_host.PTRACE_DETACH, process.pid, None, None), 0)
        out, err = process.communicate(json.dumps(stdin), timeout=60)
        return process.returncode, json.loads(out), err

    def test_a_launcher_whose_version_was_removed_meanwhile(self):
        process = self.start_stopped()
        payloads.upgrade(payloads.other, self.host.bin)
        self.assert_settled(payloads.other)
        code, answer, err = self.go_on(process, cni.config(cni.spec()))
        self.assertEqual((code, err), (0, ""), answer)
        self.assertIn("table inet fairlead", self.pod.table())

    def test_a_launcher_that_was_uninstalled_meanwhile(self):
        process = self.start_stopped()
        payloads.run("remove", payloads.built, self.host.bin)
        self.assertEqual(os.listdir(self.host.bin), [])
        code, answer, _ = self.go_on(process, cni.config(cni.spec()))
        self.assertEqual((code, answer["code"]), (1, 103))
        self.assertIn("/opt/cni/bin/fairlead-cni: not there", answer["details"])

    def test_removal_waits_for_nobody(self):
        process = self.host.start("ADD", self.netns)
        waiting.eventually(lambda: self.is_locked(self.host.version), "the plugin holds its folder")
        done = subprocess.run(payloads.command("remove", payloads.built, self.host.bin), stderr=subprocess.PIPE, text=True,
                              check=False)
        self.assertEqual(done.returncode, 1)
        self.assertIn("a plugin runs from it", done.stderr)
        self.assertFalse(os.path.exists(self.launcher))
        process.communicate(json.dumps(cni.config(cni.spec())))
        self.assertEqual(process.returncode, 0)
        payloads.run("remove", payloads.built, self.host.bin)
        self.assertEqual(os.listdir(self.host.bin), [])

    def test_a_program_of_before(self):
        """The plain program that somebody had put there by hand is replaced, and a foreign file of that name too."""
        os.unlink(self.launcher)
        with open(self.launcher, "w") as handle:
            handle.write("#!/bin/sh\nexit 1\n")
        payloads.install(payloads.built, self.host.bin)
        self.assert_settled(payloads.built)
        self.host.succeed("VERSION", None, "{}")


class Refused(unittest.TestCase):
    """What an installer cannot do is said with the path, and changes nothing."""

    def setUp(self):
        self.host = cni_host.Host(payloads)
        self.addCleanup(self.host.remove)

    def refuse(self, words, bin_dir=None):
        done = subprocess.run(payloads.command("install", payloads.other, bin_dir or self.host.bin),
                              stderr=subprocess.PIPE, text=True, check=False)
        self.assertEqual(done.returncode, 2, done.stderr)
        self.assertIn(bin_dir or self.host.bin, done.stderr)
        for word in words:
            self.assertIn(word, done.stderr)

    def lay_over(self, size):
        """The host's folder of plugins on a file system of its own."""
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", self.host.bin], check=False)
        if done.returncode != 0:
            self.skipTest("tmpfs cannot be mounted here")
        self.addCleanup(subprocess.run, ["umount", self.host.bin], check=True)
        self.host.version = payloads.install(payloads.built, self.host.bin)

    def assert_unchanged(self):
        payloads.run("check", payloads.built, self.host.bin)
        self.assertEqual(self.host.leftovers(), [])
        if not payloads.sanitized:
            self.host.succeed("VERSION", None, "{}")

    def test_a_full_disk(self):
        self.lay_over(payloads.bytes * 3 // 2)
        self.refuse(["No space left on device", "free some space"])
        self.assert_unchanged()

    def test_read_only(self):
        self.lay_over(payloads.bytes * 4)
        subprocess.run(["mount", "-o", "remount,ro", self.host.bin], check=True)
        self.refuse(["Read-only file system"])
        self.assert_unchanged()
        payloads.install(payloads.built, self.host.bin)  # what is right needs no writing

    def test_not_a_folder(self):
        path = self.host.path("file")
        with open(path, "w"):
            pass
        self.refuse(["Not a directory"], path)
        self.refuse(["No such file"], self.host.path("nowhere"))

    def test_a_folder_in_the_launchers_place(self):
        os.unlink(os.path.join(self.host.bin, cni_host.LAUNCHER))
        os.mkdir(os.path.join(self.host.bin, cni_host.LAUNCHER))
        self.refuse(["/fairlead-cni: ", "remove it"])

    def test_immutable(self):
        launcher = os.path.join(self.host.bin, cni_host.LAUNCHER)
        if subprocess.run(["chattr", "+i", launcher], stderr=subprocess.DEVNULL, check=False).returncode != 0:
            self.skipTest("this file system has no immutable files")
        self.addCleanup(subprocess.run, ["chattr", "-i", launcher], check=True)
        self.refuse(["/fairlead-cni: ", "Operation not permitted", "immutable"])
        self.assert_unchanged()


if __name__ == "__main__":
    cni.skip_unless_possible()
    cni_host.enter_mount_namespace()
    payloads = cni_host.Payloads(sys.argv.pop(1), sys.argv.pop(1))
    try:
        unittest.main()
    finally:
        payloads.remove_all()
