#!/usr/bin/env python3
"""The installer as processes on a node: killed, two at once, on full and read-only disks, against another writer and
under a runtime that calls what is configured all the time.

cni_install_test.py PAYLOAD PAYLOAD_TOOL INSTALLER_TOOL
"""
import json
import os
import random
import select
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import unittest

import cni_host as host
import cni_support as cni

NAME = "10-net.conflist"
WAIT = 30
OURS = {"type": "fairlead-cni", "capabilities": {cni.ANNOTATIONS: True}}
MS_RDONLY, MS_REMOUNT = 1, 32


def text_of(number, *more):
    return json.dumps({"cniVersion": "1.0.0", "name": f"net{number}", "plugins": [{"type": "bridge"}, *more]}, indent=2)


def mount(source, target, kind, flags, options=None):
    if host.libc.mount(source.encode(), target.encode(), kind and kind.encode(), flags, options and options.encode()) != 0:
        raise OSError(host.ctypes.get_errno(), f"mount {target}")


class Watch:
    """A running installer and its reports."""

    def __init__(self, node, *more, payload=None, uid=None):
        command = [node.tool, "watch", payload or node.payloads.built, node.bin, node.conf, *more]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, user=uid)
        self.reports, self.rest = [], b""

    def next_report(self, deadline):
        while b"\n" not in self.rest:
            if not select.select([self.process.stdout], [], [], max(0, deadline - time.monotonic()))[0]:
                raise AssertionError(f"no report any more; the last: {self.reports[-1:]}")
            more = os.read(self.process.stdout.fileno(), 65536)
            if not more:
                raise AssertionError(f"it ended: {self.process.stderr.read()}")
            self.rest += more
        line, self.rest = self.rest.split(b"\n", 1)
        self.reports.append(json.loads(line))
        return self.reports[-1]

    def wait_for(self, state, says=""):
        """The first report, from the next one on, of this state."""
        deadline = time.monotonic() + WAIT
        while True:
            report = self.next_report(deadline)
            if report["state"] == state and says in report["reason"]:
                return report

    def end(self, number=signal.SIGTERM):
        if self.process.poll() is None:
            self.process.send_signal(number)
        self.process.communicate(timeout=WAIT)
        return self.process.returncode


class Runtime(threading.Thread):
    """Does as containerd does at each sandbox: takes the first configuration and calls our plugin where it is named. What
    fails is a pod that would not have started."""

    def __init__(self, node):
        super().__init__()
        self.node = node
        self.ended = threading.Event()
        self.calls, self.named, self.failures = 0, 0, []

    def run(self):
        while not self.ended.is_set():
            self.call()

    def read(self):
        """The first file; once more where it went between the look and the opening, as containerd at the next event."""
        while True:
            names = sorted(name for name in os.listdir(self.node.conf) if name.endswith((".conf", ".conflist", ".json")))
            try:
                with open(os.path.join(self.node.conf, names[0])) as file:
                    return json.load(file)
            except FileNotFoundError:
                continue

    def call(self):
        self.calls += 1
        try:
            content = self.read()
            types = [plugin["type"] for plugin in content.get("plugins", [content])]
            if types[0] not in ("bridge", "flannel") or types.count("fairlead-cni") > 1:
                raise ValueError(str(types))
            if "fairlead-cni" in types:
                self.named += 1
                subprocess.run([os.path.join(self.node.bin, "fairlead-cni")], env={"CNI_COMMAND": "VERSION"},
                               input='{"cniVersion":"1.0.0"}', stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                               check=True, timeout=WAIT)
        except (IndexError, ValueError, OSError, subprocess.SubprocessError) as error:
            self.failures.append(repr(error))

    def wait_for_calls(self, count):
        goal, deadline = self.calls + count, time.monotonic() + WAIT
        while self.calls < goal and time.monotonic() < deadline:
            self.ended.wait(0.01)
        if self.calls < goal:
            raise AssertionError(f"the runtime hangs: {self.failures}")

    def end(self):
        self.ended.set()
        self.join()


class Node(unittest.TestCase):
    def setUp(self):
        self.top = tempfile.mkdtemp(prefix=cni.unique("install"))
        self.addCleanup(shutil.rmtree, self.top, True)
        self.conf, self.bin = os.path.join(self.top, "net.d"), os.path.join(self.top, "bin")
        os.mkdir(self.conf)
        os.mkdir(self.bin)
        self.payloads = host.Payloads(PAYLOAD, PAYLOAD_TOOL)
        self.addCleanup(self.payloads.remove_all)
        self.tool = INSTALLER_TOOL
        self.agents = []

    def start(self, *more, **options):
        watch = Watch(self, *more, **options)
        self.agents.append(watch)
        self.addCleanup(watch.end, signal.SIGKILL)
        return watch

    def start_runtime(self):
        runtime = Runtime(self)
        runtime.start()
        self.addCleanup(runtime.end)
        return runtime

    def path(self, name=NAME):
        return os.path.join(self.conf, name)

    def put(self, text, name=NAME):
        with open(self.path(name), "w") as file:
            file.write(text)

    def put_by_rename(self, text, name=NAME):
        self.put(text, "theirs.tmp")
        os.rename(self.path("theirs.tmp"), self.path(name))

    def get(self, name=NAME):
        with open(self.path(name)) as file:
            return file.read()

    def wait_for_text(self, wanted, name=NAME):
        deadline = time.monotonic() + WAIT
        while time.monotonic() < deadline:
            try:
                if self.get(name) == wanted:
                    return
            except FileNotFoundError:
                pass
            select.select([], [], [], 0.0005)
        self.fail(f"{name} is {self.get(name)}")

    def with_ours(self, text, entry=None):
        return text.replace('"bridge"\n    }', '"bridge"\n    },\n    ' + json.dumps(entry or OURS, separators=(",", ":")))

    def remove(self, grace_ms=200, check=True):
        done = subprocess.run([self.tool, "remove", self.payloads.built, self.bin, self.conf, str(grace_ms)],
                              stderr=subprocess.PIPE, text=True, timeout=WAIT)
        if check and done.returncode != 0:
            raise AssertionError(f"not removed: {done.stderr}")
        return done

    def assert_clean(self):
        self.assertEqual(os.listdir(self.bin), [])
        self.assertEqual([name for name in os.listdir(self.conf) if "fairlead" in name], [])

    # --- another writer ---

    def test_another_writer_a_hundred_times(self):
        self.put(text_of(0))
        watch = self.start()
        watch.wait_for("installed")
        for write in (self.put, self.put_by_rename):
            times = []
            for number in range(50):  # both together stay below the burst of the throttle
                text = text_of(number)
                write(text)
                start = time.monotonic()
                self.wait_for_text(self.with_ours(text))
                times.append(1000 * (time.monotonic() - start))
            print(f"\nrewritten 50 times ({write.__name__}): back after a median of {statistics.median(times):.2f} ms, "
                  f"at most {max(times):.2f} ms")

    def test_a_writer_who_holds_it_open(self):
        """Opened before our rename, written behind it: the text goes into a file that has no name any more."""
        self.put(text_of(0))
        with open(self.path(), "r+") as theirs:
            self.start().wait_for("installed")
            self.wait_for_text(self.with_ours(text_of(0)))
            theirs.truncate(0)
            theirs.write(text_of(1))
            theirs.flush()
            self.wait_for_text(self.with_ours(text_of(1)))

    # --- agents that are killed, come, go ---

    def test_killed_at_any_moment(self):
        """No file of anybody is lost, and the next one heals what was left."""
        runtime = self.start_runtime_on(text_of(0))
        seed = random.randrange(1 << 30)
        chance = random.Random(seed)
        for number in range(1, 40):
            watch = self.start()
            self.put_by_rename(text_of(number))
            select.select([], [], [], chance.uniform(0, 0.03))
            watch.end(signal.SIGKILL)
            self.assertIn(self.get(), (text_of(number), self.with_ours(text_of(number))), f"seed {seed}")
        watch = self.start()
        watch.wait_for("installed")
        self.assertEqual(self.get(), self.with_ours(text_of(39)))
        runtime.end()
        self.assertEqual(runtime.failures, [], f"seed {seed}")
        self.assertEqual([name for name in os.listdir(self.conf) if name != NAME], [])

    def start_runtime_on(self, text):
        self.put(text)
        return self.start_runtime()

    def test_two_at_once(self):
        self.put(text_of(0))
        first = self.start()
        first.wait_for("installed")
        second = self.start("iptables", payload=self.payloads.other)
        second.wait_for("installed")
        first.wait_for("standby", "another agent")
        entry = {**OURS, "backend": "iptables"}
        self.put(text_of(1))
        self.wait_for_text(self.with_ours(text_of(1), entry))
        second.end(signal.SIGKILL)
        first.wait_for("installed")
        self.wait_for_text(self.with_ours(text_of(1)))

    def test_agents_in_a_crowd(self):
        """Eight that start at one moment: in the end one owns the node, and the others stand by."""
        self.put(text_of(0))
        crowd = [self.start() for _ in range(8)]
        states = set()
        deadline = time.monotonic() + WAIT
        while sum(watch.reports[-1:] != [] and watch.reports[-1]["state"] == "standby" for watch in crowd) != 7:
            ready = select.select([watch.process.stdout for watch in crowd], [], [], 1)[0]
            for watch in crowd:
                while watch.process.stdout in ready or watch.rest:
                    ready = [one for one in ready if one is not watch.process.stdout]
                    states.add(watch.next_report(deadline)["state"])
            self.assertLess(time.monotonic(), deadline, [watch.reports[-1:] for watch in crowd])
        self.assertLessEqual(states, {"installed", "standby", "failed"})
        self.assertEqual(self.get(), self.with_ours(text_of(0)))

    def test_reboot(self):
        """The runtime comes first, with what is on the disk; the main plugin's own start writes its list anew."""
        runtime = self.start_runtime_on(text_of(0))
        self.start().wait_for("installed")
        runtime.wait_for_calls(3)
        self.assertGreater(runtime.named, 0)
        runtime.end()
        self.kill_agents()
        runtime = self.start_runtime()
        runtime.wait_for_calls(3)
        self.assertGreater(runtime.named, 0)
        self.put(text_of(1))
        runtime.wait_for_calls(3)
        self.start().wait_for("installed")
        self.assertEqual(self.get(), self.with_ours(text_of(1)))
        runtime.wait_for_calls(3)
        runtime.end()
        self.assertEqual([failure for failure in runtime.failures if "JSONDecodeError" not in failure], [])

    def kill_agents(self):
        for watch in self.agents:
            watch.end(signal.SIGKILL)

    # --- upgrades and removal under a runtime ---

    def test_upgrade_and_roll_back(self):
        runtime = self.start_runtime_on(text_of(0))
        for _ in range(5):
            for payload in (self.payloads.built, self.payloads.other):
                watch = self.start(payload=payload)
                watch.wait_for("installed")
                runtime.wait_for_calls(2)
                watch.end()
        runtime.end()
        self.assertEqual(runtime.failures, [])
        self.assertGreater(runtime.named, 10)

    def test_uninstall_under_an_agent(self):
        for name, text in ((NAME, text_of(0)), ("10-f.conf", '{"name":"cbr0","type":"flannel"}\n')):
            self.put(text, name)
            runtime = self.start_runtime()
            watch = self.start()
            watch.wait_for("installed")
            runtime.wait_for_calls(2)
            self.remove(1000)
            watch.wait_for("removed", "uninstalled")
            runtime.wait_for_calls(2)
            runtime.end()
            self.assertEqual(runtime.failures, [])
            self.assertEqual(self.get(name), text)
            self.assert_clean()
            self.remove(0)
            self.assert_clean()
            watch.end()
            os.unlink(self.path(name))

    def test_uninstall_killed(self):
        """Half-way and again; the DaemonSet is gone already."""
        chance = random.Random(7)
        for number in range(20):
            self.put(text_of(number))
            self.start().wait_for("installed")
            self.kill_agents()
            runtime = self.start_runtime()
            process = subprocess.Popen([self.tool, "remove", self.payloads.built, self.bin, self.conf, "20"],
                                       stderr=subprocess.DEVNULL)
            select.select([], [], [], chance.uniform(0, 0.06))
            process.kill()
            process.wait()
            self.remove(50)
            runtime.end()
            self.assertEqual(runtime.failures, [])
            self.assertEqual(self.get(), text_of(number))
            self.assert_clean()

    # --- disks ---

    def disk(self, folder, options):
        mount("tmpfs", folder, "tmpfs", 0, options)
        self.addCleanup(subprocess.run, ["umount", "-l", folder], check=True)

    def fill(self, folder):
        path = os.path.join(folder, "filler")
        with open(path, "wb", buffering=0) as file:
            try:
                while True:
                    file.write(b"x" * 4096)
            except OSError:
                return path

    def test_full_disk_of_configurations(self):
        self.disk(self.conf, "size=64k")
        self.put(text_of(0))
        filler = self.fill(self.conf)
        watch = self.start()
        watch.wait_for("failed", "No space left")
        self.assertEqual(self.get(), text_of(0))
        os.unlink(filler)
        watch.wait_for("installed")
        self.assertEqual(self.get(), self.with_ours(text_of(0)))

    def test_full_disk_of_plugins(self):
        """No plugin, no entry; with an older plugin there, the entry stays and is put back."""
        self.disk(self.bin, "size=64m")
        self.put(text_of(0))
        filler = self.fill(self.bin)
        watch = self.start()
        watch.wait_for("failed", "No space left")
        self.assertEqual(self.get(), text_of(0))
        os.unlink(filler)
        watch.wait_for("installed")
        watch.end()
        filler = self.fill(self.bin)
        self.put(text_of(1))
        watch = self.start(payload=self.payloads.other)
        watch.wait_for("failed", "No space left")
        self.wait_for_text(self.with_ours(text_of(1)))
        os.unlink(filler)
        watch.wait_for("installed")

    def test_read_only(self):
        for folder in (self.conf, self.bin):
            self.disk(folder, "size=64m")
            self.put(text_of(0))
            mount("tmpfs", folder, None, MS_REMOUNT | MS_RDONLY)
            watch = self.start()
            watch.wait_for("failed", "read-only")
            self.assertEqual(self.get(), text_of(0))
            mount("tmpfs", folder, None, MS_REMOUNT)
            watch.wait_for("installed")
            self.assertEqual(self.get(), self.with_ours(text_of(0)))
            watch.end()
            self.remove(0)

    def test_no_permission(self):
        self.put(text_of(0))
        os.chmod(self.top, 0o755)
        watch = self.start(uid=65534)
        watch.wait_for("failed", "may not write there")
        self.assertEqual(self.get(), text_of(0))
        watch.end()
        # the plugin is there, the configuration is not writable
        self.start().wait_for("installed")
        self.kill_agents()
        self.put(text_of(1))
        watch = self.start(uid=65534)
        watch.wait_for("failed")
        self.assertEqual(self.get(), text_of(1))

    def test_no_folder(self):
        os.rmdir(self.conf)
        watch = self.start()
        watch.wait_for("waiting", "no folder of configurations")
        with open(self.conf, "w"):
            pass
        watch.wait_for("failed", "a folder is expected")
        os.unlink(self.conf)
        os.mkdir(self.conf)
        self.put(text_of(0))
        watch.wait_for("installed")


if __name__ == "__main__":
    PAYLOAD, PAYLOAD_TOOL, INSTALLER_TOOL = sys.argv[1:4]
    cni.skip_unless_possible()
    host.enter_mount_namespace()
    unittest.main(argv=sys.argv[:1] + sys.argv[4:], verbosity=2)
