"""The bench for packets: a pod and its peer joined by a veth pair, the plugin with one back end, and what a test asks of
that back end beside the plugin. iptables comes in its two implementations.
"""
import os
import re
import sys
import unittest

import cni_support as cni

POD4, PEER4, POD6, PEER6 = "10.77.0.2", "10.77.0.1", "fd77::2", "fd77::1"
PROXY, APP = {"uid": 1337, "gid": 1337}, {"uid": 1000, "gid": 1000}
OUTBOUND, INBOUND, PROBE = 15001, 15006, 15002
PORTS = (80, 443, 3306, 8080, 9000, 15020, 15021)
plugin = backend = None  # chosen by main


class Nftables:
    name = "nftables"

    @staticmethod
    def listing(pod):
        return pod.table()

    @staticmethod
    def chain(pod, name):
        return pod.nft("list", "chain", "inet", "fairlead", name)

    @staticmethod
    def empty(pod, name):
        pod.nft("flush", "chain", "inet", "fairlead", name)

    @staticmethod
    def leaves_ipv6_alone(_, chain):
        return chain.index("meta nfproto ipv6 accept") < chain.index("drop comment")

    def __init__(self):
        self.tools = None


class Iptables:
    """Of one implementation; the plugin finds no other on its host."""
    name = "iptables"
    tables = {"prerouting": "nat", "output": "nat", "drop_invalid": "mangle", "dns_zone": "raw"}

    def __init__(self, variant):
        self.variant = variant
        self.tools = cni.Toolbox(variant)

    def run(self, pod, program, *arguments):
        return cni.run("nsenter", f"--net={pod.path}", f"{program}-{self.variant}{arguments[0]}", *arguments[1:])

    def listing(self, pod):
        """Without counters and dates."""
        lines = self.run(pod, "iptables", "-save") + self.run(pod, "ip6tables", "-save")
        return re.sub(r"\[\d+:\d+\]|^#.*$", "", lines, flags=re.M)

    def chain(self, pod, name):
        return self.run(pod, "iptables", "", "-t", self.tables[name], "-S", f"FAIRLEAD_{name.upper()}")

    def leaves_ipv6_alone(self, pod, _):
        return "FAIRLEAD" not in self.run(pod, "ip6tables", "-save")

    def empty(self, pod, name):
        for program in ("iptables", "ip6tables"):
            self.run(pod, program, "", "-t", self.tables[name], "-F", f"FAIRLEAD_{name.upper()}")


BACKENDS = {"nftables": Nftables, "iptables-legacy": lambda: Iptables("legacy"), "iptables-nft": lambda: Iptables("nft")}


def config(capture):
    return cni.config(capture, backend=backend.name)


class Pod(unittest.TestCase):
    """A pod programmed by self.capture; the tests of the sub-classes dial."""
    capture = None

    @classmethod
    def setUpClass(cls):
        cls.pod, cls.peer = cni.Namespace("pod"), cni.Namespace("peer")
        cni.connect_pair(cls.pod, cls.peer, 77)
        plugin.succeed("ADD", cls.pod.path, config(cls.capture))
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


def main():
    global plugin, backend
    plugin = cni.Plugin(os.path.abspath(sys.argv.pop(1)))
    chosen = sys.argv.pop(1)
    cni.skip_unless_possible()
    if chosen != "nftables" and not os.path.exists(f"/usr/sbin/x{chosen[2:]}-multi"):
        print(f"skipped: {chosen} is not installed")
        sys.exit(cni.SKIPPED)
    backend = BACKENDS[chosen]()
    plugin.tools = backend.tools
    unittest.main(module="__main__")
