"""fairlead-cni: where real packets go. Listeners in place of the proxy, the app and the peer's server tell where a
connection arrived and where it was meant to go. The tests are the same for every back end.

usage: cni_capture_test.py PATH-OF-fairlead-cni nftables|iptables-legacy|iptables-nft [unittest arguments]
"""
import os
import signal
import unittest

import cni_bench as bench
import cni_support as cni
from cni_bench import INBOUND, OUTBOUND, PEER4, PEER6, POD4, POD6, PROBE, PROXY

DNS, CAPTURED_DNS = 53, 15053


class Defaults(bench.Pod):
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
            for uid, gid in ((1337, 1000), (1000, 1000), (1337, 0), (0, 0)):
                self.from_pod(address, 8080, OUTBOUND, uid=uid, gid=gid, groups=[1337])  # supplementary ones are no gid

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

    def test_the_addresses_of_lo(self):
        self.assertIn("inet6 ::6/128", self.pod.ip("-6", "addr", "show", "dev", "lo"))
        self.pod.ip("addr", "del", "::6/128", "dev", "lo")
        self.assertIn("::6 is missing", bench.plugin.fail("CHECK", self.pod.path, bench.config(self.capture))["details"])
        bench.plugin.succeed("ADD", self.pod.path, bench.config(self.capture))
        bench.plugin.succeed("CHECK", self.pod.path, bench.config(self.capture))

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


class Lists(bench.Pod):
    capture = cni.spec(inbound_includePorts=["80", "8000-9000"], inbound_excludePorts=["9000"],
                       outbound_includeCIDRs=["10.77.0.0/24", "fd77::/64"], outbound_excludePorts=["3306"],
                       outbound_excludeCIDRs=["10.77.0.16/28", "fd77::10/124"])

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
        for address in ("fd77::11/128", "fd99::1/128"):
            self.peer.ip("addr", "add", address, "dev", "lo", "nodad")
        self.peer.ip("addr", "add", "fd77::11/128", "dev", "eth0", "nodad")
        self.pod.ip("route", "replace", "default", "via", PEER6)
        self.from_pod("fd77::11", 8080, 8080)
        self.from_pod("fd99::1", 8080, 8080)
        self.from_pod("fd77::99", 8080, OUTBOUND)


class ManyPorts(bench.Pod):
    """More than one match of iptables takes, and ranges that end it in the middle."""
    included = [str(port) for port in range(2000, 2040, 2)] + [f"{port}-{port + 3}" for port in range(3000, 3200, 10)] + ["8080"]
    excluded = [str(port) for port in range(4000, 4060, 2)] + ["9000"]
    capture = cni.spec(inbound_includePorts=included, outbound_excludePorts=excluded,
                       inbound_excludePorts=[str(port) for port in range(3000, 3040, 10)])

    def test_each_of_them(self):
        self.pod.serve(3000, 3004, 3010)
        self.peer.serve(4000, 4058)
        for address, theirs in ((POD4, PEER4), (POD6, PEER6)):
            for port in (2000, 2028, 2030, 2038, 3001, 3003, 3051, 3190, 3193, 8080):
                self.from_peer(address, port, INBOUND)
                self.from_pod(address, port, INBOUND, **PROXY)
            for port in (3000, 3004, 3010, 443):
                self.from_peer(address, port, port)
                self.from_pod(address, port, port, **PROXY)
            for port in (4000, 4058, 9000):
                self.from_pod(theirs, port, port)
            for port in (4001, 4059, 443):
                self.from_pod(theirs, port, OUTBOUND)


class ServiceAddress(bench.Pod):
    """The pod calls its own Service: the peer, in the node's place, translates its address to the pod's, as kube-proxy
    does."""
    capture = cni.spec()
    services = (("ip", "10.96.0.10", POD4), ("ip6", "fd96::10", POD6))

    def test_the_app_and_then_the_proxy(self):
        self.peer.nft("add", "table", "inet", "node")
        self.peer.nft("add", "chain", "inet", "node", "pre", "{ type nat hook prerouting priority dstnat; }")
        self.peer.nft("add", "chain", "inet", "node", "post", "{ type nat hook postrouting priority srcnat; }")
        for flag in ("net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding"):
            cni.run("nsenter", f"--net={self.peer.path}", "sysctl", "-qw", f"{flag}=1")
        for family, service, pod in self.services:
            self.peer.nft("add", "rule", "inet", "node", "pre", family, "daddr", service, "tcp", "dport", "80", "dnat", family,
                          "to", f"{pod}:8080" if family == "ip" else f"[{pod}]:8080")
            self.peer.nft("add", "rule", "inet", "node", "post", family, "daddr", pod, "masquerade")
            self.pod.ip("route", "replace", "default", "via", PEER4 if family == "ip" else PEER6)
            self.from_pod(service, 80, OUTBOUND)
            answer = self.pod.dial(service, 80, **PROXY)
            self.assertEqual((answer.get("port"), answer.get("meant")), (INBOUND, [pod, 8080]), answer)
            self.from_pod(pod, 8080, INBOUND, **PROXY)


class IncludedPorts(bench.Pod):
    capture = cni.spec(outbound_includeCIDRs=[], outbound_includePorts=["443", "8000-8100"])

    def test_ports_without_destinations(self):
        for address in (PEER4, PEER6):
            self.from_pod(address, 443, OUTBOUND)
            self.from_pod(address, 8080, OUTBOUND)
            self.from_pod(address, 80, 80)


class Nothing(bench.Pod):
    capture = cni.spec(inbound_includePorts=[], outbound_includeCIDRs=[])

    def test_only_the_gate_remains(self):
        self.from_pod(PEER4, 8080, 8080)
        self.from_pod(POD4, 8080, 8080, **PROXY)
        self.from_peer(POD4, 8080, 8080)
        self.from_pod("127.0.0.6", PROBE, OUTBOUND, **PROXY)
        self.from_pod("::6", PROBE, OUTBOUND, **PROXY)


class OtherIds(bench.Pod):
    capture = cni.spec(uid=2102, gid=1000660000)

    def test_ids_of_the_spec(self):
        self.from_pod(PEER4, 8080, 8080, uid=2102, gid=1000660000)
        self.from_pod(PEER4, 8080, OUTBOUND, **PROXY)


class Interfaces(bench.Pod):
    """Two ways out of the pod: eth0 is captured, net1 is not, whatever the addresses are."""
    capture = cni.spec(excludeInterfaces=["net1", "net2"])

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cni.connect_pair(cls.pod, cls.peer, 78, "net1")

    def test_the_captured_one(self):
        for ours, theirs in ((POD4, PEER4), (POD6, PEER6)):
            self.from_pod(theirs, 8080, OUTBOUND)
            self.from_peer(ours, 8080, INBOUND)

    def test_the_excluded_one(self):
        for ours, theirs in (("10.78.0.2", "10.78.0.1"), ("fd78::2", "fd78::1")):
            self.assertEqual(self.from_pod(theirs, 8080, 8080)["from"], ours)
            self.assertEqual(self.from_peer(ours, 8080, 8080)["from"], theirs)

    def test_the_interface_counts_and_not_the_address(self):
        self.peer.ip("addr", "add", "10.79.0.1/32", "dev", "lo")
        self.pod.ip("addr", "add", "10.79.0.2/32", "dev", "lo")
        for device, out, into in (("net1", 8080, 8080), ("eth0", OUTBOUND, INBOUND)):
            self.pod.ip("route", "replace", "10.79.0.1/32", "dev", device)
            self.peer.ip("route", "replace", "10.79.0.2/32", "dev", device)
            self.from_pod("10.79.0.1", 8080, out)
            self.from_peer("10.79.0.2", 8080, into)

    def test_the_rest_is_as_ever(self):
        self.from_pod("10.78.0.2", 8080, INBOUND, **PROXY)
        self.from_pod("10.78.0.2", 8080, 8080)
        self.from_pod("127.0.0.6", PROBE, OUTBOUND, **PROXY)
        self.from_pod("::6", PROBE, OUTBOUND, **PROXY)


class Uids(bench.Pod):
    capture = cni.spec(outbound_excludeUIDs=["0", "1500-1999"])

    def test_outbound_of_excluded_uids(self):
        for address in (PEER4, PEER6):
            for uid in (0, 1500, 1700, 1999):
                self.from_pod(address, 8080, 8080, uid=uid, gid=1000)
            for uid in (1, 1499, 2000, 1337):
                self.from_pod(address, 8080, OUTBOUND, uid=uid, gid=1000)
            self.from_pod(address, 8080, OUTBOUND, uid=1000, gid=1500)
            self.from_pod(address, 8080, 8080, **PROXY)

    def test_inbound_is_everybodys(self):
        self.from_peer(POD4, 8080, INBOUND)
        self.from_peer(POD6, 8080, INBOUND)

    def test_the_gate_is_everybodys(self):
        self.from_pod("127.0.0.6", PROBE, OUTBOUND, uid=0, gid=0)
        self.from_pod("::6", PROBE, OUTBOUND, uid=1500, gid=0)


class Ipv4Only(bench.Pod):
    capture = cni.spec(ipv6=False)

    def test_ipv4_is_captured(self):
        self.from_pod(PEER4, 8080, OUTBOUND)
        self.from_peer(POD4, 8080, INBOUND)
        self.from_pod(POD4, 8080, INBOUND, **PROXY)
        self.from_pod("127.0.0.6", PROBE, OUTBOUND, **PROXY)

    def test_ipv6_is_left_alone(self):
        self.from_pod(PEER6, 8080, 8080)
        self.from_peer(POD6, 8080, 8080)
        self.from_pod(POD6, 8080, 8080, **PROXY)
        self.assertNotIn("::6/128", self.pod.ip("-6", "addr", "show", "dev", "lo"))
        self.pod.ip("addr", "add", "::6/128", "dev", "lo", "nodad")
        self.assertIn("failed", self.pod.dial("::6", PROBE, **PROXY))  # no probe rule: nobody is there
        self.pod.ip("addr", "del", "::6/128", "dev", "lo")

    def test_check_does_not_miss_it(self):
        bench.plugin.succeed("CHECK", self.pod.path, bench.config(self.capture))


class Versions(unittest.TestCase):
    """What version 1 says, version 2 can say: the very same table."""

    def test_the_same_table(self):
        pod = cni.Namespace("pod")
        self.addCleanup(pod.remove)
        old = cni.spec(inbound_excludePorts=["22"])
        new = cni.spec(inbound_excludePorts=["22"], ipv6=True)
        self.assertNotEqual(old, new)
        bench.plugin.succeed("ADD", pod.path, bench.config(old))
        table = bench.backend.listing(pod)
        bench.plugin.succeed("CHECK", pod.path, bench.config(new))
        bench.plugin.succeed("ADD", pod.path, bench.config(new))
        bench.plugin.succeed("CHECK", pod.path, bench.config(old))
        self.assertEqual(bench.backend.listing(pod), table)


class WithoutIpv6(unittest.TestCase):
    @staticmethod
    def disable():
        with open("/proc/sys/net/ipv6/conf/all/disable_ipv6", "w") as handle:
            handle.write("1")

    def test_a_netns_that_has_none(self):
        pod = cni.Namespace("pod")
        pod.inside(self.disable)
        bench.plugin.succeed("ADD", pod.path, bench.config(cni.spec()))
        bench.plugin.succeed("CHECK", pod.path, bench.config(cni.spec()))
        self.assertNotIn("inet6", pod.ip("addr"))
        pod.serve(OUTBOUND)
        self.assertEqual(pod.dial("127.0.0.6", PROBE, **PROXY)["port"], OUTBOUND)
        bench.plugin.succeed("DEL", pod.path, bench.config(cni.spec()))
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

    def test_uids_inside(self):
        capture = cni.spec(outbound_excludeUIDs=["1500"], dns=True, dropInvalid=True)
        bench.plugin.succeed("ADD", self.pod.path, bench.config(capture))
        bench.plugin.succeed("CHECK", self.pod.path, bench.config(capture))
        for command in (("link", "add", "eth0", "type", "veth", "peer", "name", "eth1"),
                        ("addr", "add", "10.55.0.1/24", "dev", "eth0"), ("link", "set", "eth0", "up"),
                        ("link", "set", "eth1", "up")):
            cni.run("nsenter", "--net=" + self.pod.path, "ip", *command)
        self.pod.serve(OUTBOUND, udp=[("127.0.0.1", CAPTURED_DNS)], uid=101337, gid=101337)
        self.assertEqual(self.pod.dial("10.55.0.9", 8080, uid=101000)["port"], OUTBOUND)
        self.assertEqual(self.pod.dial("10.55.0.9", 8080, uid=1500)["port"], OUTBOUND)
        self.assertIn("failed", self.pod.dial("10.55.0.9", 8080, uid=101500))
        self.assertEqual(self.pod.ask("10.55.0.9", DNS, uid=101000)["port"], CAPTURED_DNS)

    def test_ids_inside(self):
        bench.plugin.succeed("ADD", self.pod.path, bench.config(cni.spec()))
        bench.plugin.succeed("CHECK", self.pod.path, bench.config(cni.spec()))
        cni.run("nsenter", "--net=" + self.pod.path, "ip", "addr", "add", "10.55.0.1/32", "dev", "lo")
        self.pod.serve(INBOUND, 8080)
        self.assertEqual(self.pod.dial("10.55.0.1", 8080, uid=101337, gid=101337)["port"], INBOUND)
        self.assertEqual(self.pod.dial("10.55.0.1", 8080, uid=1337, gid=1337)["port"], 8080)
        self.assertEqual(self.pod.dial("10.55.0.1", 8080, uid=101337, gid=101000)["port"], 8080)


if __name__ == "__main__":
    bench.main()
