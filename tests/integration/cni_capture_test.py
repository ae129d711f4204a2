"""fairlead-cni: where real packets go. A pod and its peer joined by a veth pair; listeners in place of the proxy, the
app and the peer's server tell where a connection arrived and where it was meant to go.

usage: cni_capture_test.py PATH-OF-fairlead-cni [unittest arguments]
"""
import os
import signal
import sys
import unittest

import cni_support as cni

POD4, PEER4, POD6, PEER6 = "10.77.0.2", "10.77.0.1", "fd77::2", "fd77::1"
PROXY = {"uid": 1337, "gid": 1337}
OUTBOUND, INBOUND, PROBE = 15001, 15006, 15002
PORTS = (80, 443, 3306, 8080, 9000, 15020, 15021)


class Pod(unittest.TestCase):
    """A pod programmed by self.capture; the tests of the sub-classes dial."""
    capture = None

    @classmethod
    def setUpClass(cls):
        cls.pod, cls.peer = cni.Namespace("pod"), cni.Namespace("peer")
        cni.connect_pair(cls.pod, cls.peer, 77)
        plugin.succeed("ADD", cls.pod.path, cni.config(cls.capture))
        cls.pod.serve(OUTBOUND, INBOUND, *PORTS)
        cls.peer.serve(*PORTS)

    @classmethod
    def tearDownClass(cls):
        cls.pod.remove()
        cls.peer.remove()

    def arrives(self, namespace, address, port, at, source=None, **who):
        answer = namespace.dial(address, port, source=source, **who)
        self.assertEqual(answer.get("port"), at, f"{who} {source} to {address} {port}: {answer}")
        if at != port:
            self.assertEqual(answer["meant"], [address, port])
        return answer

    def from_pod(self, address, port, at, source=None, **who):
        return self.arrives(self.pod, address, port, at, source, **who)

    def from_peer(self, address, port, at):
        return self.arrives(self.peer, address, port, at)


class Defaults(Pod):
    capture = cni.spec()

    def test_outbound_is_captured(self):
        for who in ({"uid": 1000, "gid": 1000}, {"uid": 0, "gid": 0}):
            self.from_pod(PEER4, 8080, OUTBOUND, **who)
            self.from_pod(PEER6, 8080, OUTBOUND, **who)

    def test_outbound_is_captured_where_nobody_listens(self):
        self.from_pod(PEER4, 4444, OUTBOUND)

    def test_the_proxy_needs_uid_and_gid(self):
        for address in (PEER4, PEER6):
            answer = self.from_pod(address, 8080, 8080, **PROXY)
            self.assertEqual(answer["from"], POD4 if address == PEER4 else POD6)
            self.from_pod(address, 8080, OUTBOUND, uid=1337, gid=1000)
            self.from_pod(address, 8080, OUTBOUND, uid=1000, gid=1337)

    def test_the_app_to_itself_is_not_captured(self):
        for address in ("127.0.0.1", "127.0.0.2", "::1", POD4, POD6):
            self.from_pod(address, 8080, 8080)
            self.from_pod(address, 8080, 8080, uid=0, gid=0)

    def test_the_proxy_to_its_own_pod_goes_through_inbound(self):
        self.from_pod(POD4, 8080, INBOUND, **PROXY)
        self.from_pod(POD6, 8080, INBOUND, **PROXY)

    def test_the_proxy_reaches_loopback(self):
        for address in ("127.0.0.1", "127.0.0.53", "::1"):
            self.from_pod(address, 8080, 8080, **PROXY)

    def test_pass_through_is_never_captured_again(self):
        """Also shows that prerouting does not see what comes by lo: it would send it to 15006."""
        for who in (PROXY, {"uid": 1000, "gid": 1000}):
            self.assertEqual(self.from_pod(POD4, 8080, 8080, source="127.0.0.6", **who)["from"], "127.0.0.6")
            self.assertEqual(self.from_pod(POD6, 8080, 8080, source="::6", **who)["from"], "::6")
            self.from_pod("127.0.0.1", 8080, 8080, source="127.0.0.6", **who)
            self.from_pod("::1", 8080, 8080, source="::6", **who)

    def test_the_probe_rule_works_for_everybody(self):
        for who in ({"uid": 0, "gid": 0}, {"uid": 1000, "gid": 1000}, PROXY):
            self.from_pod("127.0.0.6", PROBE, OUTBOUND, **who)
            self.from_pod("::6", PROBE, OUTBOUND, **who)

    def test_inbound_is_captured(self):
        self.assertEqual(self.from_peer(POD4, 8080, INBOUND)["from"], PEER4)
        self.assertEqual(self.from_peer(POD6, 8080, INBOUND)["from"], PEER6)
        self.from_peer(POD4, 4444, INBOUND)

    def test_own_ports_are_never_captured(self):
        for port in (15020, 15021, OUTBOUND, INBOUND):
            self.from_peer(POD4, port, port)
            self.from_peer(POD6, port, port)
        for port in (15020, 15021):
            self.from_pod(PEER4, port, port)
            self.from_pod(POD4, port, port, **PROXY)

    def test_addresses_without_a_route_fail_as_ever(self):
        self.assertIn("failed", self.pod.dial("192.0.2.1", 80, **PROXY))


class Lists(Pod):
    capture = cni.spec(inbound_includePorts=["80", "8000-9000"], inbound_excludePorts=["9000"],
                       outbound_includeCIDRs=["10.77.0.0/24", "fd77::/64"], outbound_excludePorts=["3306"],
                       outbound_excludeCIDRs=["10.77.0.16/28"])

    def test_inbound(self):
        for address in (POD4, POD6):
            self.from_peer(address, 80, INBOUND)
            self.from_peer(address, 8080, INBOUND)
            self.from_peer(address, 9000, 9000)
            self.from_peer(address, 443, 443)

    def test_the_proxy_to_its_own_pod_as_anybody(self):
        for address in (POD4, POD6):
            self.from_pod(address, 8080, INBOUND, **PROXY)
            self.from_pod(address, 9000, 9000, **PROXY)
            self.from_pod(address, 443, 443, **PROXY)

    def test_outbound(self):
        for address in (PEER4, PEER6):
            self.from_pod(address, 8080, OUTBOUND)
            self.from_pod(address, 3306, 3306)

    def test_excluded_and_not_included_destinations(self):
        self.peer.ip("addr", "add", "10.77.0.17/32", "dev", "lo")
        self.peer.ip("addr", "add", "10.78.0.1/32", "dev", "lo")
        self.pod.ip("route", "replace", "default", "via", PEER4)
        self.from_pod("10.77.0.17", 8080, 8080)
        self.from_pod("10.78.0.1", 8080, 8080)
        self.from_pod("10.77.0.99", 8080, OUTBOUND)


class IncludedPorts(Pod):
    capture = cni.spec(outbound_includeCIDRs=[], outbound_includePorts=["443", "8000-8100"])

    def test_ports_without_destinations(self):
        for address in (PEER4, PEER6):
            self.from_pod(address, 443, OUTBOUND)
            self.from_pod(address, 8080, OUTBOUND)
            self.from_pod(address, 80, 80)


class Nothing(Pod):
    capture = cni.spec(inbound_includePorts=[], outbound_includeCIDRs=[])

    def test_only_the_gate_remains(self):
        self.from_pod(PEER4, 8080, 8080)
        self.from_pod(POD4, 8080, 8080, **PROXY)
        self.from_peer(POD4, 8080, 8080)
        self.from_pod("127.0.0.6", PROBE, OUTBOUND, **PROXY)
        self.from_pod("::6", PROBE, OUTBOUND, **PROXY)


class OtherIds(Pod):
    capture = cni.spec(uid=2102, gid=1000660000)

    def test_ids_of_the_spec(self):
        self.from_pod(PEER4, 8080, 8080, uid=2102, gid=1000660000)
        self.from_pod(PEER4, 8080, OUTBOUND, **PROXY)


class WithoutIpv6(unittest.TestCase):
    @staticmethod
    def disable():
        with open("/proc/sys/net/ipv6/conf/all/disable_ipv6", "w") as handle:
            handle.write("1")

    def test_a_netns_that_has_none(self):
        pod = cni.Namespace("pod")
        pod.inside(self.disable)
        plugin.succeed("ADD", pod.path, cni.config(cni.spec()))
        plugin.succeed("CHECK", pod.path, cni.config(cni.spec()))
        self.assertNotIn("inet6", pod.ip("addr"))
        pod.serve(OUTBOUND)
        self.assertEqual(pod.dial("127.0.0.6", PROBE, **PROXY)["port"], OUTBOUND)
        plugin.succeed("DEL", pod.path, cni.config(cni.spec()))
        pod.remove()


class UserNamespace(unittest.TestCase):
    """A pod in a user namespace: ids in its netns are those inside."""

    def setUp(self):
        read, write = os.pipe()
        self.child = os.fork()
        if self.child == 0:
            made = cni.libc.unshare(0x10000000 | cni.CLONE_NEWNET) == 0
            os.write(write, b"1" if made else b"0")
            if made:
                signal.pause()
            os._exit(0)
        if os.read(read, 1) != b"1":  # inside a chroot, for example
            os.waitpid(self.child, 0)
            self.skipTest("this place lets nobody make user namespaces")
        for name in ("uid_map", "gid_map"):
            with open(f"/proc/{self.child}/{name}", "w") as handle:
                handle.write("0 100000 65536")
        self.pod = cni.Namespace("user")
        self.pod.path = f"/proc/{self.child}/ns/net"

    def tearDown(self):
        os.kill(self.child, signal.SIGKILL)
        os.waitpid(self.child, 0)
        self.pod.remove()

    def test_ids_inside(self):
        plugin.succeed("ADD", self.pod.path, cni.config(cni.spec()))
        plugin.succeed("CHECK", self.pod.path, cni.config(cni.spec()))
        cni.run("nsenter", "--net=" + self.pod.path, "ip", "addr", "add", "10.55.0.1/32", "dev", "lo")
        self.pod.serve(INBOUND, 8080)
        self.assertEqual(self.pod.dial("10.55.0.1", 8080, uid=101337, gid=101337)["port"], INBOUND)
        self.assertEqual(self.pod.dial("10.55.0.1", 8080, uid=1337, gid=1337)["port"], 8080)
        self.assertEqual(self.pod.dial("10.55.0.1", 8080, uid=101337, gid=101000)["port"], 8080)


if __name__ == "__main__":
    plugin = cni.Plugin(os.path.abspath(sys.argv.pop(1)))
    cni.skip_unless_possible()
    unittest.main()
