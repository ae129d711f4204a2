"""fairlead-cni and STATUS: an error there makes a node NotReady for all its pods, so it comes only where an operator wants that and
the kernel is certain to be unable to capture. Kernels that lack something are played by strace.

usage: cni_status_test.py PATH-OF-fairlead-cni [unittest arguments]
"""
import json
import os
import subprocess
import sys
import unittest

import cni_support as cni

UNAVAILABLE = 50
NO_BUS = "socket:error=EPROTONOSUPPORT:when=5"  # own netns (twice), the new one, rtnetlink; then nfnetlink
NO_TOOLS = ["unshare", "--mount", "sh", "-c", 'mount -t tmpfs none /usr/sbin && exec "$@"', "sh"]  # iptables' are there


class Status(unittest.TestCase):
    def setUp(self):
        self.host = cni.Namespace("host")

    def tearDown(self):
        cni.remove_all()

    def status(self, inject=None, around=(), **settings):
        strace = ["strace", "-qq", "-o", "/dev/null", "-e", f"inject={inject}"] if inject else []
        done = subprocess.run(["ip", "netns", "exec", self.host.name, *around, *strace, plugin.path], input=json.dumps(cni.config(version="1.1.0", **settings)),
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=60, check=False,
                              # the leak checker of the asan preset does not work under strace
                              env={**plugin.environment("STATUS", None), "ASAN_OPTIONS": "detect_leaks=0"})
        return done.returncode, json.loads(done.stdout) if done.stdout else None, done.stderr

    def test_succeeds(self):
        """And the host's own netns is as it was."""
        before = self.host.state()
        for settings in ({}, {"statusRequiresCapture": False}, {"statusRequiresCapture": True}, {"statusRequiresCapture": None},
                         {"statusRequiresCapture": True, "backend": "nftables"}):
            with self.subTest(settings):
                self.assertEqual(self.status(**settings), (0, None, ""))
        self.assertEqual(self.host.state(), before)

    def test_wrong_settings_are_told(self):
        for settings in ({"statusRequiresCapture": "yes"}, {"backend": "ebpf"}, {"backend": 1, "statusRequiresCapture": True}):
            with self.subTest(settings):
                code, answer, err = self.status(**settings)
                self.assertEqual((code, answer), (0, None))
                self.assertIn("$.", json.loads(err)["reason"])

    def test_a_kernel_that_cannot(self):
        if not os.path.exists("/usr/bin/strace"):
            self.skipTest("strace is not installed")
        for backend in ("nftables", "auto"):
            with self.subTest(backend):
                self.assertEqual(self.status(NO_BUS, NO_TOOLS, backend=backend), (0, None, ""))
                code, answer, err = self.status(NO_BUS, NO_TOOLS, backend=backend, statusRequiresCapture=True)
                self.assertEqual(code, 1, err)
                self.assertEqual(answer["code"], UNAVAILABLE)
                self.assertIn("nf_tables", answer["details"])

    def test_what_could_not_be_found_out(self):
        if not os.path.exists("/usr/bin/strace"):
            self.skipTest("strace is not installed")
        for inject in ("unshare:error=EPERM", "unshare:error=ENOSPC", "sendto:error=EPERM:when=1+", "socket:error=EMFILE:when=1"):
            with self.subTest(inject):
                code, answer, err = self.status(inject, statusRequiresCapture=True)
                self.assertEqual((code, answer), (0, None))
                self.assertIn("succeeds all the same", err)


if __name__ == "__main__":
    plugin = cni.Plugin(os.path.abspath(sys.argv.pop(1)))
    cni.skip_unless_possible()
    unittest.main()
