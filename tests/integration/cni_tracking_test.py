"""fairlead-cni and connection tracking, with real packets: DNS in a zone of its own, invalid packets, rules that are
replaced while connections live, rules of others in the same tables. The tests are the same for every back end.

usage: cni_tracking_test.py PATH-OF-fairlead-cni nftables|iptables-legacy|iptables-nft [unittest arguments]
"""
import os
import re
import selectors
import signal
import socket
import struct
import unittest

import cni_bench as bench
import cni_support as cni
from cni_bench import APP, INBOUND, OUTBOUND, PEER4, PEER6, POD4, POD6, PROXY

DNS, CAPTURED_DNS = 53, 15053


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


class Again(unittest.TestCase):
    """ADD once more, on a pod that is at work."""

    def setUp(self):
        self.pod, self.peer = cni.Namespace("pod"), cni.Namespace("peer")
        self.addCleanup(self.pod.remove)
        self.addCleanup(self.peer.remove)
        cni.connect_pair(self.pod, self.peer, 77)

    def test_connections_live_on(self):
        first, other = cni.spec(dns=True), cni.spec(inbound_excludePorts=["8080"], inbound_includePorts=["1-9000"])
        bench.plugin.succeed("ADD", self.pod.path, bench.config(first))
        self.pod.start(echo)
        self.pod.serve(8080)

        ready, go = os.pipe(), os.pipe()
        child = os.fork()
        if child == 0:
            try:
                cni.enter(self.peer.path)
                connections = [Established(address) for address in (POD4, POD6)]
                while True:
                    alive = all(connection.echoes() for connection in connections)
                    os.write(ready[1], b"1" if alive else b"0")
                    os.read(go[0], 1)
            finally:
                os._exit(1)
        try:
            for spec in (first, other, first, other):
                self.assertEqual(os.read(ready[0], 1), b"1")
                bench.plugin.succeed("ADD", self.pod.path, bench.config(spec))
                bench.plugin.succeed("CHECK", self.pod.path, bench.config(spec))
                os.write(go[1], b"1")
            self.assertEqual(os.read(ready[0], 1), b"1")
        finally:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
        for address in (POD4, POD6):  # new ones go by the new rules
            self.assertEqual(self.peer.dial(address, 8080)["port"], 8080)

    def test_rules_of_others_stay(self):
        """In the very tables and chains that capture uses, by all three tools."""
        for program in ("iptables-legacy", "ip6tables-legacy", "iptables-nft", "ip6tables-nft"):
            for rule in (("nat", "-A", "OUTPUT", "-p", "tcp", "--dport", "7777", "-j", "REDIRECT", "--to-ports", "7778"),
                         ("nat", "-N", "THEIRS"), ("nat", "-A", "PREROUTING", "-p", "tcp", "--dport", "7779", "-j", "THEIRS"),
                         ("mangle", "-A", "PREROUTING", "-m", "comment", "--comment", "to FAIRLEAD_OUTPUT it does not go"),
                         ("raw", "-A", "OUTPUT", "-p", "udp", "--dport", "7780", "-j", "NOTRACK")):
                cni.run("nsenter", f"--net={self.pod.path}", program, "-t", *rule)
        self.pod.nft("add", "table", "inet", "theirs")
        self.pod.nft("add", "chain", "inet", "theirs", "prerouting", "{ type nat hook prerouting priority dstnat; }")

        def others():
            return [re.sub(r"\[\d+:\d+\]|^#.*$", "", cni.run("nsenter", f"--net={self.pod.path}", program), flags=re.M)
                    for program in ("iptables-legacy-save", "ip6tables-legacy-save", "iptables-nft-save", "ip6tables-nft-save")
                    ] + [self.pod.nft("list", "table", "inet", "theirs")]
        before = others()
        for spec in (cni.spec(dns=True, dropInvalid=True), cni.spec(outbound_excludePorts=["7777"])):
            for _ in range(2):
                bench.plugin.succeed("ADD", self.pod.path, bench.config(spec))
                bench.plugin.succeed("CHECK", self.pod.path, bench.config(spec))
        self.assertEqual([without_ours(text) for text in others()], [without_ours(text) for text in before])
        self.pod.serve(7778, OUTBOUND)
        self.assertEqual(self.pod.dial(PEER4, 7777)["port"], 7778)  # what is not captured is theirs
        bench.plugin.succeed("DEL", self.pod.path, bench.config(cni.spec()))
        self.assertEqual(others(), before)


def without_ours(text):
    return [line for line in text.split("\n") if not re.search(r"^:FAIRLEAD_|^-A FAIRLEAD_|-j FAIRLEAD_\w+$", line)]


class Invalid(unittest.TestCase):
    def survives(self, capture, addresses):
        """Whether a connection lives on after a packet that connection tracking calls invalid."""
        pod, peer = cni.Namespace("pod"), cni.Namespace("peer")
        self.addCleanup(pod.remove)
        self.addCleanup(peer.remove)
        cni.connect_pair(pod, peer, 77)
        bench.plugin.succeed("ADD", pod.path, bench.config(capture))
        bench.plugin.succeed("CHECK", pod.path, bench.config(capture))
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
        bench.plugin.succeed("ADD", pod.path, bench.config(rules))
        chain = bench.backend.chain(pod, "drop_invalid")
        self.assertLess(chain.index("excluded interfaces"), re.search(r"\bdrop\b", chain, re.I).start())
        self.assertTrue(bench.backend.leaves_ipv6_alone(pod, chain))


class Dns(bench.Pod):
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


class DnsWithoutZones(bench.Pod):
    """The clash that the zones are for: without their rules the proxy's own query is taken for the app's."""
    capture = cni.spec(dns=True)

    def test_the_proxy_asks_itself(self):
        self.pod.serve(udp=[("127.0.0.1", CAPTURED_DNS), ("::1", CAPTURED_DNS)], **PROXY)
        self.peer.serve(udp=[(PEER4, DNS), (PEER6, DNS)])
        bench.backend.empty(self.pod, "dns_zone")
        for ours, theirs in ((POD4, PEER4), (POD6, PEER6)):
            for who in (APP, PROXY):
                answer = self.pod.ask(theirs, DNS, source=ours, source_port=20001, **who)
                self.assertEqual(answer.get("port"), CAPTURED_DNS, f"{who}: {answer}")


class DnsExcluded(bench.Pod):
    capture = cni.spec(dns=True, outbound_excludePorts=["53"])

    def test_the_port_is_excluded(self):
        self.peer.serve(DNS, udp=[(PEER4, DNS), (PEER6, DNS)])
        for address in (PEER4, PEER6):
            self.assertEqual(self.pod.ask(address, DNS)["port"], DNS)
            self.from_pod(address, DNS, DNS)
            self.from_pod(address, 8080, OUTBOUND)


if __name__ == "__main__":
    bench.main()
