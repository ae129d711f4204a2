"""`fairlead-proxy gate`, the first init container beside a classic sidecar: it ends once its network namespace is proven
to be captured in every family, and not before.

usage: proxy_gate_test.py PATH-OF-fairlead-proxy PATH-OF-fairlead-cni [unittest arguments]
"""
import json
import os
import signal
import socket
import subprocess
import sys
import unittest

import cni_support as cni


class Gate(unittest.TestCase):
    def setUp(self):
        self.addCleanup(cni.remove_all)
        self.pod = cni.Namespace("pod")

    def add(self, capture=None):
        plugin.succeed("ADD", self.pod.path, cni.config(capture or cni.spec()))

    def start(self, *arguments, capture="", uid=1337):
        """The gate as the kubelet starts it: the proxy's user, and the spec in its environment."""
        environment = {} if capture is None else {"FAIRLEAD_CAPTURE": capture or cni.spec()}
        gate = subprocess.Popen(["nsenter", f"--net={self.pod.path}", "setpriv", f"--reuid={uid}", f"--regid={uid}",
                                 "--clear-groups", program, "gate", *arguments],
                                env=environment, stderr=subprocess.PIPE, text=True)
        self.addCleanup(self.end, gate)
        return gate

    def end(self, gate):
        if gate.poll() is None:
            gate.kill()
        gate.wait()
        gate.stderr.close()

    def read(self, gate, message):
        """The line of its log with this message, which has to be the next."""
        line = json.loads(gate.stderr.readline())
        self.assertEqual(line["message"], message, line)
        return line

    def assert_open(self, gate):
        self.read(gate, "gate open: the capture rules of this network namespace work")
        self.assertEqual(gate.wait(timeout=30), 0)

    def assert_waits(self, gate, reason):
        self.assertRegex(self.read(gate, "gate waits")["reason"], reason)
        self.assertIsNone(gate.poll())

    def test_captured(self):
        self.add()
        self.assert_open(self.start())

    def test_again_at_once(self):
        """A kubelet that runs it again finds the port free."""
        self.add()
        for _ in range(5):
            self.assert_open(self.start())

    def test_waits_until_it_is_repaired(self):
        gate = self.start()
        self.assert_waits(gate, r"^127\.0\.0\.6:15002 does not come back to port 15001")
        self.add()
        self.assert_open(gate)

    def test_both_families_are_waited_for(self):
        self.pod.ip("link", "set", "lo", "up")
        self.pod.nft("add table ip other; add chain ip other out { type nat hook output priority -150; }; "
                     "add rule ip other out ip daddr 127.0.0.6 tcp dport 15002 redirect to :15001")
        gate = self.start()
        self.assert_waits(gate, r"^\[::6\]:15002 does not come back")
        self.pod.nft("delete", "table", "ip", "other")
        self.add()
        self.assert_open(gate)

    def test_ipv6_left_alone(self):
        capture = cni.spec(ipv6=False)
        self.add(capture)
        self.assert_open(self.start(capture=capture))

    def test_no_ipv6(self):
        cni.run("nsenter", f"--net={self.pod.path}", "sysctl", "-qw", "net.ipv6.conf.all.disable_ipv6=1",
                "net.ipv6.conf.lo.disable_ipv6=1")
        self.add()
        self.assert_open(self.start())

    def test_another_port(self):
        capture = cni.spec(outbound_port=16001)
        self.add(capture)
        self.assert_open(self.start(capture=capture))

    def test_a_dial_of_somebody_else_opens_nothing(self):
        """Others' connections are taken and closed; only its own dial proves anything, and that went astray."""
        gate = self.start()
        self.assert_waits(gate, "no capture rules")
        self.pod.ip("link", "set", "lo", "up")
        # Only uid 1000 is redirected, as if the rules were made for another pod's proxy.
        self.pod.nft("add table ip other; add chain ip other out { type nat hook output priority -150; }; "
                     "add rule ip other out meta skuid 1000 ip daddr 127.0.0.6 tcp dport 15002 redirect to :15001")

        def dial():
            with socket.socket() as connection:
                connection.settimeout(20)
                connection.connect(("127.0.0.6", 15002))
                return connection.recv(1).decode()
        self.assertEqual(self.pod.inside(dial, uid=1000), "")
        self.assertIsNone(gate.poll())

    def test_bounded(self):
        gate = self.start("--seconds", "1")
        self.read(gate, "gate waits")
        line = self.read(gate, "gate stays closed")
        self.assertRegex(line["reason"], r"^not captured within 1 s: 127\.0\.0\.6:15002 does not come back")
        self.assertEqual(gate.wait(timeout=30), 1)

    def test_ends_on_a_signal(self):
        """It is process 1 of its container: a signal that it does not take would not end it."""
        gate = self.start()
        self.assert_waits(gate, "no capture rules")
        gate.send_signal(signal.SIGTERM)
        self.read(gate, "gate stays closed")
        self.assertEqual(gate.wait(timeout=30), 1)

    def test_nothing_to_prove(self):
        gate = self.start(capture=None)
        self.assertIn("FAIRLEAD_CAPTURE is not set", self.read(gate, "gate stays closed")["reason"])
        self.assertEqual(gate.wait(timeout=30), 1)

    def test_a_spec_of_a_version_to_come(self):
        """Waits for every family, on the usual port."""
        self.add()
        gate = self.start(capture='{"version":99}')
        self.read(gate, "FAIRLEAD_CAPTURE is not understood; the gate waits for IPv4 and IPv6")
        self.assert_open(gate)

    def test_the_port_is_taken(self):
        self.add()
        self.pod.serve(15001)
        gate = self.start()
        self.assertIn("listen on 127.0.0.1 port 15001: Address already in use",
                      self.read(gate, "gate stays closed")["reason"])
        self.assertEqual(gate.wait(timeout=30), 1)

    def test_usage(self):
        for arguments in (("more",), ("--seconds", "x"), ("--seconds", "-1"), ("-l", "loud"), ("--what",)):
            self.assertEqual(subprocess.run([program, "gate", *arguments], stderr=subprocess.DEVNULL).returncode, 2)


if __name__ == "__main__":
    program, plugin = os.path.abspath(sys.argv[1]), cni.Plugin(os.path.abspath(sys.argv[2]))
    cni.skip_unless_possible()
    unittest.main(argv=[sys.argv[0], *sys.argv[3:]])
