"""fairlead-cni: where real packets go. A pod and its peer joined by a veth pair; listeners in place of the proxy, the
app and the peer's server tell where a connection arrived and where it was meant to go.

usage: cni_capture_test.py PATH-OF-fairlead-cni [unittest arguments]
"""
import os
import selectors
import signal
import socket
import struct
import sys
import unittest

import cni_support as cni

POD4, PEER4, POD6, PEER6 = "10.77.0.2", "10.77.0.1", "fd77::2", "fd77::1"
PROXY, APP = {"uid": 1337, "gid": 1337}, {"uid": 1000, "gid": 1000}
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


class Interfaces(Pod):
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


class Uids(Pod):
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


class Ipv4Only(Pod):
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
        plugin.succeed("CHECK", self.pod.path, cni.config(self.capture))


class Versions(unittest.TestCase):
    """What version 1 says, version 2 can say: the very same table."""

    def test_the_same_table(self):
        pod = cni.Namespace("pod")
        self.addCleanup(pod.remove)
        old = cni.spec(inbound_excludePorts=["22"])
        new = cni.spec(inbound_excludePorts=["22"], ipv6=True)
        self.assertNotEqual(old, new)
        plugin.succeed("ADD", pod.path, cni.config(old))
        table = pod.table()
        plugin.succeed("CHECK", pod.path, cni.config(new))
        plugin.succeed("ADD", pod.path, cni.config(new))
        plugin.succeed("CHECK", pod.path, cni.config(old))
        self.assertEqual(pod.table(), table)


class Established:
    """A connection of the peer to the pod, through inbound capture, with its sequence numbers."""
    TCP_REPAIR, TCP_REPAIR_QUEUE, TCP_QUEUE_SEQ = 19, 20, 21

    def __init__(self, address):
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self.address, self.connection = address, socket.socket(family, socket.SOCK_STREAM)
        self.connection.settimeout(5)
        self.connection.connect((address, 8080))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.connection.close()

    def echoes(self):
        try:
            self.connection.send(b"still there?")
            return self.connection.recv(100) == b"still there?"
        except ConnectionResetError:
            return False

    def sequence_number(self, queue):
        self.connection.setsockopt(socket.IPPROTO_TCP, self.TCP_REPAIR_QUEUE, queue)
        return self.connection.getsockopt(socket.IPPROTO_TCP, self.TCP_QUEUE_SEQ) & 0xffffffff

    def stray_packet(self):
        """An ACK of this connection, far out of its window: a late one, as a long upload under load brings them."""
        self.connection.setsockopt(socket.IPPROTO_TCP, self.TCP_REPAIR, 1)
        receive, send = self.sequence_number(1), self.sequence_number(2)
        self.connection.setsockopt(socket.IPPROTO_TCP, self.TCP_REPAIR, -1)
        ours = self.connection.getsockname()
        segment = struct.pack("!HHIIBBHHH", ours[1], 8080, send + (1 << 29) & 0xffffffff, receive, 5 << 4, 0x10, 512, 0, 0)
        ends = [socket.inet_pton(self.connection.family, address) for address in (ours[0], self.address)]
        pseudo = b"".join(ends) + struct.pack("!IHBB", len(segment), 0, 0, socket.IPPROTO_TCP)
        summed = sum(struct.unpack(f"!{(len(pseudo) + len(segment)) // 2}H", pseudo + segment))
        while summed >> 16:
            summed = (summed & 0xffff) + (summed >> 16)
        segment = segment[:16] + struct.pack("!H", ~summed & 0xffff) + segment[18:]
        with socket.socket(self.connection.family, socket.SOCK_RAW, socket.IPPROTO_TCP) as raw:
            raw.bind((ours[0], 0))
            raw.sendto(segment, (self.address, 0))


def echo(ready):
    """In the proxy's place at 15006: says back what it is told, to anybody, for ever."""
    listener = socket.create_server(("::", INBOUND), family=socket.AF_INET6, dualstack_ipv6=True)
    selector = selectors.DefaultSelector()
    selector.register(listener, selectors.EVENT_READ)
    os.write(ready, b"1")
    while True:
        for key, _ in selector.select():
            if key.fileobj is listener:
                selector.register(listener.accept()[0], selectors.EVENT_READ)
                continue
            told = key.fileobj.recv(100)
            if told:
                key.fileobj.sendall(told)
            else:
                selector.unregister(key.fileobj)
                key.fileobj.close()


class Invalid(unittest.TestCase):
    def survives(self, capture, addresses):
        """Whether a connection lives on after a packet that connection tracking calls invalid."""
        pod, peer = cni.Namespace("pod"), cni.Namespace("peer")
        self.addCleanup(pod.remove)
        self.addCleanup(peer.remove)
        cni.connect_pair(pod, peer, 77)
        plugin.succeed("ADD", pod.path, cni.config(capture))
        plugin.succeed("CHECK", pod.path, cni.config(capture))
        pod.start(echo)
        answers = []
        for address in addresses:
            def stray():
                with Established(address) as connection:
                    before = connection.echoes()
                    connection.stray_packet()
                    return [before, connection.echoes()]
            answers.append(peer.inside(stray))
        return answers

    def test_dropped(self):
        self.assertEqual(self.survives(cni.spec(dropInvalid=True, ipv6=False), (POD4,)), [[True, True]])
        self.doCleanups()
        self.assertEqual(self.survives(cni.spec(dropInvalid=True), (POD4, POD6)), [[True, True]] * 2)

    def test_without_the_setting_a_reset_ends_the_connection(self):
        """That the packet is one which kills: else the test above shows nothing."""
        self.assertEqual(self.survives(cni.spec(), (POD4, POD6)), [[True, False]] * 2)

    def test_excluded_interfaces_and_ipv6_are_left_alone(self):
        rules = cni.spec(dropInvalid=True, ipv6=False, excludeInterfaces=["eth0"])
        pod = cni.Namespace("pod")
        self.addCleanup(pod.remove)
        plugin.succeed("ADD", pod.path, cni.config(rules))
        chain = pod.nft("list", "chain", "inet", "fairlead", "drop_invalid")
        self.assertLess(chain.index("meta nfproto ipv6 accept"), chain.index("drop comment"))
        self.assertLess(chain.index("iifname @exclude_interfaces accept"), chain.index("drop comment"))


DNS, CAPTURED_DNS = 53, 15053


class Dns(Pod):
    """The proxy's resolver answers at 15053, the cluster's at 53."""
    capture = cni.spec(dns=True, outbound_excludeUIDs=["1500"], outbound_excludeCIDRs=["10.77.0.64/26", "fd77::40/122"],
                       excludeInterfaces=["net1"])
    also4, also6 = "10.77.0.9", "fd77::9"

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cni.connect_pair(cls.pod, cls.peer, 78, "net1")
        for address in (cls.also4, "10.77.0.65"):
            cls.peer.ip("addr", "add", address + "/32", "dev", "lo")
        for address in (cls.also6, "fd77::41"):
            cls.peer.ip("addr", "add", address + "/128", "dev", "eth0", "nodad")
        cls.pod.serve(CAPTURED_DNS, udp=[("127.0.0.1", CAPTURED_DNS), ("::1", CAPTURED_DNS)], **PROXY)
        cls.pod.serve(DNS, udp=[("127.0.0.1", DNS), ("::1", DNS)])
        places = (PEER4, PEER6, cls.also4, cls.also6, "10.77.0.65", "fd77::41", "10.78.0.1", "fd78::1")
        cls.peer.serve(DNS, udp=[(place, DNS) for place in places])

    def asks(self, address, at, **who):
        answer = self.pod.ask(address, DNS, **who)
        self.assertEqual(answer.get("port"), at, f"UDP, {who} to {address}: {answer}")
        answer = self.pod.dial(address, DNS, **who)
        self.assertEqual(answer.get("port"), at, f"TCP, {who} to {address}: {answer}")

    def test_every_resolver_of_everybody(self):
        for address in (PEER4, PEER6, self.also4, self.also6):
            for uid in (0, 1000):
                self.asks(address, CAPTURED_DNS, uid=uid, gid=uid)
            self.asks(address, CAPTURED_DNS, uid=1337, gid=0)
        self.assertEqual(self.pod.ask("10.77.0.200", DNS)["port"], CAPTURED_DNS)  # where nobody is

    def test_the_proxy_itself(self):
        for address in (PEER4, PEER6):
            self.asks(address, DNS, **PROXY)

    def test_a_resolver_of_the_pod_itself(self):
        for address in ("127.0.0.1", "::1"):
            self.asks(address, DNS)

    def test_what_is_excluded(self):
        for address in (PEER4, PEER6):
            self.asks(address, DNS, uid=1500, gid=1500)
        for address in ("10.77.0.65", "fd77::41", "10.78.0.1", "fd78::1"):
            self.asks(address, DNS)

    def test_other_ports_of_udp_are_not_captured(self):
        for address in (PEER4, PEER6):
            self.assertEqual(self.pod.ask(address, 5353).get("failed"), "Connection refused")

    def test_one_source_port_for_app_and_proxy(self):
        """In this order and the other; the kernel remembers the first of them meanwhile."""
        for ours, theirs in ((POD4, PEER4), (POD6, PEER6)):
            for port, askers in ((20001, ((APP, CAPTURED_DNS), (PROXY, DNS))), (20002, ((PROXY, DNS), (APP, CAPTURED_DNS)))):
                for who, at in askers + askers:
                    answer = self.pod.ask(theirs, DNS, source=ours, source_port=port, **who)
                    self.assertEqual(answer.get("port"), at, f"UDP, {who} from {port}: {answer}")
                    if at == DNS:
                        self.assertEqual(answer["from"], [ours, port])
                    answer = self.pod.dial(theirs, DNS, source=ours, source_port=port + 10, **who)
                    self.assertEqual(answer.get("port"), at, f"TCP, {who} from {port}: {answer}")

    def test_one_source_port_for_two_resolvers(self):
        for ours, first, second in ((POD4, PEER4, self.also4), (POD6, PEER6, self.also6)):
            answers = self.pod.ask(first, DNS, source=ours, source_port=20030, more=(second, first))
            self.assertEqual([answer.get("port") for answer in answers], [CAPTURED_DNS] * 3, answers)


class DnsWithoutZones(Pod):
    """The clash that the zones are for: without their rules the proxy's own query is taken for the app's."""
    capture = cni.spec(dns=True)

    def test_the_proxy_asks_itself(self):
        self.pod.serve(udp=[("127.0.0.1", CAPTURED_DNS), ("::1", CAPTURED_DNS)], **PROXY)
        self.peer.serve(udp=[(PEER4, DNS), (PEER6, DNS)])
        self.pod.nft("flush", "chain", "inet", "fairlead", "dns_zone")
        for ours, theirs in ((POD4, PEER4), (POD6, PEER6)):
            for who in (APP, PROXY):
                answer = self.pod.ask(theirs, DNS, source=ours, source_port=20001, **who)
                self.assertEqual(answer.get("port"), CAPTURED_DNS, f"{who}: {answer}")


class DnsExcluded(Pod):
    capture = cni.spec(dns=True, outbound_excludePorts=["53"])

    def test_the_port_is_excluded(self):
        self.peer.serve(DNS, udp=[(PEER4, DNS), (PEER6, DNS)])
        for address in (PEER4, PEER6):
            self.assertEqual(self.pod.ask(address, DNS)["port"], DNS)
            self.from_pod(address, DNS, DNS)
            self.from_pod(address, 8080, OUTBOUND)


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

    def test_uids_inside(self):
        capture = cni.spec(outbound_excludeUIDs=["1500"], dns=True, dropInvalid=True)
        plugin.succeed("ADD", self.pod.path, cni.config(capture))
        plugin.succeed("CHECK", self.pod.path, cni.config(capture))
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
