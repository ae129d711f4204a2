"""Many calls of fairlead-cni at once: 200 pods that start together, none of which fails; and calls for one netns that race.

usage: cni_many_test.py PATH-OF-fairlead-cni [unittest arguments]
"""
import concurrent.futures
import json
import os
import sys
import unittest

import cni_support as cni

PODS = 200
AT_A_TIME = 32


def batch(*lines):
    cni.run("ip", "-batch", "-", input="\n".join(lines) + "\n")


class Pods(unittest.TestCase):
    """200 netns, each with an address of its own that the plugin looks for."""

    @classmethod
    def setUpClass(cls):
        cls.names = [cni.unique(f"n{number}") for number in range(PODS)]
        cls.addClassCleanup(lambda: batch(*(f"netns del {name}" for name in cls.names)))
        batch(*(f"netns add {name}" for name in cls.names))
        for number, name in enumerate(cls.names):
            cni.run("ip", "-n", name, "addr", "add", cls.address(number), "dev", "lo")

    @staticmethod
    def address(number):
        return f"10.9.{number >> 7}.{(number & 127) + 1}/32"

    def stdin(self, number):
        return json.dumps(cni.config(cni.spec(), prevResult={"cniVersion": "1.0.0", "ips": [{"address": self.address(number)}]}))

    def call(self, verb, number):
        return plugin.call(verb, f"/run/netns/{self.names[number]}", self.stdin(number), CNI_CONTAINERID=self.names[number])

    def at_once(self, verb):
        """All processes are there and wait for their configuration before the first one gets it."""
        running = [plugin.start(verb, f"/run/netns/{name}", CNI_CONTAINERID=name) for name in self.names]
        for number, process in enumerate(running):
            process.stdin.write(self.stdin(number))
            process.stdin.flush()
        for process in running:
            process.stdin.close()
        answers = []
        for process in running:
            answers.append((process.stdout.read(), process.stderr.read()))
            process.stdout.close()
            process.stderr.close()
            process.wait(60)
        return [(process.returncode, *answer) for process, answer in zip(running, answers)]

    def a_few_at_a_time(self, verb):
        with concurrent.futures.ThreadPoolExecutor(AT_A_TIME) as pool:
            return list(pool.map(lambda number: self.call(verb, number), range(PODS)))

    def test_none_fails(self):
        for how in (self.a_few_at_a_time, self.at_once):
            for verb in ("ADD", "CHECK", "ADD", "DEL", "DEL"):
                with self.subTest(how.__name__, verb=verb):
                    failed = [answer for answer in how(verb) if answer[0] != 0]
                    self.assertEqual(failed, [])
            for name in self.names[::20]:
                self.assertEqual(cni.run("ip", "netns", "exec", name, "nft", "list", "ruleset"), "")


class OneNetns(unittest.TestCase):
    def setUp(self):
        self.pod = cni.Namespace("pod")
        plugin.succeed("ADD", self.pod.path, cni.config(cni.spec()))
        self.whole = self.pod.table()

    def tearDown(self):
        cni.remove_all()

    def race(self, *verbs):
        running = [plugin.start(verb, self.pod.path) for verb in verbs]
        for process in running:
            process.stdin.write(json.dumps(cni.config(cni.spec())))
            process.stdin.flush()
        answers = [process.communicate(timeout=60)[0] for process in running]
        return [(verb, process.returncode, answer) for verb, process, answer in zip(verbs, running, answers)]

    def test_add_and_del(self):
        """A runtime does not do that. Still there is no table or the whole one, DEL succeeds, and an ADD that failed says why."""
        for _ in range(60):
            for verb, code, answer in self.race("ADD", "DEL", "ADD", "CHECK", "DEL"):
                if verb == "DEL":
                    self.assertEqual(code, 0, answer)
                elif code != 0:
                    self.assertIn(json.loads(answer)["code"], (11, 101, 102), answer)
            table = self.pod.table()
            self.assertIn(table, ("", self.whole))
        plugin.succeed("ADD", self.pod.path, cni.config(cni.spec()))
        plugin.succeed("CHECK", self.pod.path, cni.config(cni.spec()))
        plugin.succeed("DEL", self.pod.path, cni.config(cni.spec()))
        self.assertEqual(self.pod.table(), "")

    def test_del_and_the_end(self):
        """The netns goes away while the plugin works in it."""
        for number in range(20):
            pod = cni.Namespace(f"gone{number}")
            running = [plugin.start(verb, pod.path) for verb in ("ADD", "DEL")]
            for process in running:
                process.stdin.write(json.dumps(cni.config(cni.spec())))
                process.stdin.flush()
            for process in running:
                process.stdin.close()
            pod.remove()
            for process in running:
                answer = process.stdout.read()
                process.stdout.close()
                process.stderr.close()
                process.wait(60)
                if process is running[1]:
                    self.assertEqual(process.returncode, 0, answer)
                elif process.returncode != 0:
                    self.assertIn(json.loads(answer)["code"], (4, 11, 101, 102), answer)


if __name__ == "__main__":
    plugin = cni.Plugin(os.path.abspath(sys.argv.pop(1)))
    cni.skip_unless_possible()
    unittest.main()
