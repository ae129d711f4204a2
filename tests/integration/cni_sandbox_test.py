"""fairlead-cni and whose netns it is: one that was reused under its path, or is another pod's, is noticed by what the
plugins before said (prevResult), is refused by ADD and CHECK and left alone by DEL.

usage: cni_sandbox_test.py PATH-OF-fairlead-cni [unittest arguments]
"""
import os
import sys
import unittest

import cni_support as cni

FOREIGN = 4


def previous(*addresses, sandboxes=(), **more):
    """A prevResult with these addresses, and interfaces in these sandboxes (None: on the host)."""
    interfaces = [{"name": f"if{i}", **({} if place is None else {"sandbox": place})} for i, place in enumerate(sandboxes)]
    return {"cniVersion": "1.0.0", "ips": [{"address": text} for text in addresses], "interfaces": interfaces, **more}


class Sandbox(unittest.TestCase):
    def setUp(self):
        self.pod = self.a_pod("pod", "10.9.0.2/24", "fd09::2/64")

    def tearDown(self):
        cni.remove_all()

    @staticmethod
    def a_pod(name, *addresses):
        pod = cni.Namespace(name)
        pod.ip("link", "add", "eth0", "type", "veth", "peer", "name", "far")
        for device in ("eth0", "far"):
            pod.ip("link", "set", device, "up")
        for address in addresses:
            pod.ip("addr", "add", address, "dev", "eth0")
        return pod

    def assert_taken(self, what, result, pod=None):
        pod = pod or self.pod
        stdin = cni.config(cni.spec(), prevResult=result)
        with self.subTest(what):
            plugin.succeed("ADD", pod.path, stdin)
            plugin.succeed("CHECK", pod.path, stdin)
            plugin.succeed("DEL", pod.path, stdin)
            self.assertEqual(pod.table(), "")

    def assert_refused(self, what, result, says, pod=None):
        """ADD and CHECK refuse with these words; DEL succeeds, tells, and leaves the other pod's capture alone."""
        pod = pod or self.pod
        stdin = cni.config(cni.spec(), prevResult=result)
        plugin.succeed("ADD", pod.path, cni.config(cni.spec(uid=5)))  # of whoever is there
        before = pod.state()
        with self.subTest(what):
            for verb in ("ADD", "CHECK"):
                answer = plugin.fail(verb, pod.path, stdin)
                self.assertEqual(answer["code"], FOREIGN)
                self.assertIn("CNI_NETNS", answer["details"])
                self.assertIn(says, answer["details"])
            code, answer, err = plugin.call("DEL", pod.path, stdin)
            self.assertEqual((code, answer), (0, None))
            self.assertIn("succeeds all the same", err)
            self.assertIn(says, err)
            self.assertEqual(pod.state(), before)

    def test_addresses(self):
        for what, result in (
                ("its address", previous("10.9.0.2/24")),
                ("its address of IPv6", previous("fd09::2/64")),
                ("both", previous("10.9.0.2/24", "fd09::2/64")),
                ("one of two: a family may be off there", previous("10.7.0.2/24", "fd09::2/64")),
                ("another prefix", previous("10.9.0.2/32")),
                ("no prefix", previous("10.9.0.2")),
                ("mapped", previous("::ffff:10.9.0.2/120")),
                ("written otherwise", previous("fd09:0::0:2/64")),
        ):
            self.assert_taken(what, result)
        for what, result in (
                ("another's", previous("10.9.0.3/24")),
                ("the network itself", previous("10.9.0.0/24")),
                ("another's of IPv6", previous("fd09::3/64")),
                ("both another's", previous("10.9.0.3/24", "fd09::3/64")),
                ("mapped", previous("::ffff:10.9.0.3/120")),
                ("link-local ones count for nothing beside others", previous("10.9.0.3/24", self.link_local())),
                ("among what cannot be read", previous("x", "10.9.0.3/24", 7, None)),
        ):
            self.assert_refused(what, result, "none of prevResult's addresses")

    def link_local(self):
        for word in self.pod.ip("-6", "-o", "addr", "show", "dev", "eth0", "scope", "link").split():
            if word.startswith("fe80:"):
                return word
        raise AssertionError("no link-local address")

    def test_link_local_alone(self):
        self.assert_taken("its own", previous(self.link_local()))
        self.assert_refused("another's", previous("fe80::dead/64"), "none of prevResult's addresses")
        pod = self.a_pod("v4", "169.254.8.2/30")
        self.assert_taken("its own, IPv4", previous("169.254.8.2/30"), pod)
        self.assert_refused("another's, IPv4", previous("169.254.8.6/30"), "none of prevResult's addresses", pod)

    def test_nothing_known(self):
        """No plugin before it (Multus runs plugins that stand alone), or one that tells nothing of addresses."""
        for what, result in (("no result", None), ("nothing in it", {"cniVersion": "1.0.0"}), ("no ips", previous()),
                             ("loopback's alone", previous("127.0.0.1/8", "::1/128")), ("unspecified", previous("0.0.0.0/0", "::/0")),
                             ("ips that are none", {"ips": {"address": "10.9.0.3/24"}}), ("odd ones", {"ips": [None, 1, "x", {}, {"address": {}}]}),
                             ("unreadable", previous("10.9.0.3/33", "10.9.0.3/24/24", "node7")),
                             ("odd interfaces", {"interfaces": [None, 5, {"sandbox": 7}, {"sandbox": []}]}),
                             ("interfaces that are none", {"interfaces": "eth0"})):
            self.assert_taken(what, result)
        stdin = cni.config(cni.spec())
        del stdin["prevResult"]
        plugin.succeed("ADD", self.pod.path, stdin)
        plugin.succeed("CHECK", self.pod.path, stdin)

    def test_sandboxes(self):
        other = self.a_pod("other")
        same = f"/var/run/netns/{self.pod.name}"
        for what, result in (
                ("its path", previous("10.9.0.2/24", sandboxes=(None, self.pod.path))),
                ("the same by another path", previous("10.9.0.2/24", sandboxes=(None, same))),
                ("a virtual machine's id", previous("10.9.0.2/24", sandboxes=("vm-7", "../x"))),
                ("a path that leads nowhere", previous("10.9.0.2/24", sandboxes=("/run/netns/gone",))),
                ("a path to something else", previous("10.9.0.2/24", sandboxes=("/etc/passwd", "/proc", "/dev/null"))),
                ("another beside it", previous("10.9.0.2/24", sandboxes=(other.path, self.pod.path))),
                ("empty", previous("10.9.0.2/24", sandboxes=("",))),
        ):
            self.assert_taken(what, result)
        self.assert_refused("another's", previous(sandboxes=(None, other.path)), other.path)
        self.assert_refused("another's, with the address here", previous("10.9.0.2/24", sandboxes=(other.path,)), other.path)

    def test_reused(self):
        """The path is the first pod's, the namespace is new, and so is its address."""
        first = previous("10.9.0.2/24", sandboxes=(None, self.pod.path))
        plugin.succeed("ADD", self.pod.path, cni.config(cni.spec(), prevResult=first))
        self.pod.remove()
        again = self.a_pod("pod", "10.9.0.3/24")
        self.assertEqual(again.path, self.pod.path)
        self.assert_refused("the first one's late calls", first, "none of prevResult's addresses", again)

    def test_many_addresses(self):
        """Up to a bound all are looked at; past it the netns is refused, not searched for ever."""
        for count, code in ((200, 0), (5000, 101)):
            pod = self.a_pod(f"n{count}")
            lines = "".join(f"addr add 10.{i >> 14}.{(i >> 7) & 127}.{(i & 127) + 1}/32 dev eth0\n" for i in range(count))
            cni.run("ip", "-n", pod.name, "-batch", "-", input=lines)
            last = count - 1
            stdin = cni.config(cni.spec(), prevResult=previous(f"10.{last >> 14}.{(last >> 7) & 127}.{(last & 127) + 1}/24"))
            with self.subTest(count):
                if code == 0:
                    plugin.succeed("ADD", pod.path, stdin)
                    continue
                answer = plugin.fail("ADD", pod.path, stdin)
                self.assertEqual(answer["code"], code)
                self.assertIn("look for its addresses", answer["details"])
                self.assertEqual(pod.table(), "")

    def test_the_pod_is_not_asked_without_a_capture_spec(self):
        stdin = cni.config(prevResult=previous("10.9.0.3/24"))
        self.assertEqual(plugin.succeed("ADD", self.pod.path, stdin), stdin["prevResult"])
        plugin.succeed("CHECK", self.pod.path, stdin)


if __name__ == "__main__":
    plugin = cni.Plugin(os.path.abspath(sys.argv.pop(1)))
    cni.skip_unless_possible()
    unittest.main()
