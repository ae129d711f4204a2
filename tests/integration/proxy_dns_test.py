"""The DNS port: what the pod asks is answered as its servers do, whatever resolver asks, over real capture rules.

usage: proxy_dns_test.py PATH-OF-fairlead-proxy PATH-OF-fairlead-cni FOLDER [unittest arguments]

FOLDER keeps the programs that are built for the test.
"""
import os
import pathlib
import shutil
import socket
import struct
import subprocess
import sys
import time
import unittest

import cni_support as cni
import dns_support as dns
import xds_go
from dns_support import (A, AAAA, CNAME, NOERROR, NXDOMAIN, PEER4, PEER6, PTR, REFUSED, SECOND4, SERVFAIL, SRV, TXT, UNKNOWN, query,
                         record)
from waiting import eventually

FOUR, SIX = socket.inet_aton("10.1.2.3"), socket.inet_pton(socket.AF_INET6, "fd00::1")
WEB = "web.shop.svc.cluster.local"


class Base(unittest.TestCase):
    resolv = f"search shop.svc.cluster.local svc.cluster.local cluster.local\nnameserver {PEER4}\noptions ndots:5\n"

    @classmethod
    def setUpClass(cls):
        cls.pod = dns.Pod(program, plugin, cls.resolv)
        cls.server = dns.Server(cls.pod.peer)
        cls.fill(cls.server)

    @classmethod
    def tearDownClass(cls):
        cls.pod.remove()
        cls.server.stop()

    @staticmethod
    def fill(server):
        server.put(WEB, A, record(A, 300, FOUR))
        server.put(WEB, AAAA, record(AAAA, 300, SIX))
        server.put("four.test", A, record(A, 300, FOUR))
        server.put("alias.test", A, record(CNAME, 60, dns.name_bytes("z") [:-1] + b"\xc0\x0c"), record(A, 50, FOUR, b"\xc0\x28"))
        server.put("big.test", A, *(record(A, 300, bytes([10, 9, i // 256, i % 256])) for i in range(400)))
        server.put("_http._tcp.test", SRV, record(SRV, 30, struct.pack(">3H", 1, 2, 80) + dns.name_bytes(WEB)))
        server.put("text.test", TXT, record(TXT, 30, b"\x05hello"))
        server.put("3.2.1.10.in-addr.arpa", PTR, record(PTR, 30, dns.name_bytes(WEB)))
        server.put("odd.test", UNKNOWN, record(UNKNOWN, 30, bytes(range(200))))


class Messages(Base):
    """Byte for byte."""

    def test_every_type_by_both_transports_and_families(self):
        for name, kind in ((WEB, A), (WEB, AAAA), ("_http._tcp.test", SRV), ("text.test", TXT), ("3.2.1.10.in-addr.arpa", PTR),
                           ("odd.test", UNKNOWN), ("alias.test", A), ("nothing.test", A)):
            for ident, (ask, address) in enumerate(((self.pod.ask, PEER4), (self.pod.ask, PEER6), (self.pod.ask_tcp, PEER4),
                                                    (self.pod.ask_tcp, PEER6))):
                packet = query(name, kind, ident=ident)
                records = self.server.zone.get((name, kind))
                expected = dns.answer(packet, records) if records else dns.answer(packet, authority=[dns.SOA_RECORD], rcode=NXDOMAIN)
                got = ask(packet, address)
                self.assertEqual(got.packet, expected, f"{name} {kind} {ask} {address}")
            self.assertEqual(self.server.count(name, kind), 1, name)
        self.assertEqual({asked[3] for asked in self.server.asked}, {dns.POD4})  # not captured again

    def test_any_server_that_is_asked(self):
        """What was meant for another server is answered by the pod's own."""
        self.assertEqual(self.pod.ask(query("four.test"), "192.0.2.1").data, [FOUR])
        self.assertEqual(self.pod.ask_tcp(query("four.test"), "192.0.2.1").data, [FOUR])

    def test_ttls_are_counted_down_and_end(self):
        self.server.put("short.test", A, record(A, 3, FOUR))
        self.assertEqual(self.pod.ask(query("short.test")).ttls, [3])
        seen = set()
        eventually(lambda: seen.update(self.pod.ask(query("short.test")).ttls) or self.server.count("short.test") == 2, "asked again")
        self.assertLessEqual({1, 2, 3}, seen)

    def test_denials_are_kept(self):
        for _ in range(3):
            got = self.pod.ask(query("missing.test"))
            self.assertEqual((got.rcode, got.authority), (NXDOMAIN, 1))
        self.assertEqual(self.server.count("missing.test"), 1)
        for _ in range(3):  # no such type
            self.assertEqual(self.pod.ask(query("four.test", AAAA)).rcode, NOERROR)
        self.assertEqual(self.server.count("four.test", AAAA), 1)

    def test_every_client_gets_its_spelling(self):
        self.server.put("spelled.test", A, record(A, 300, FOUR))
        for name in ("SPELLED.test", "sPeLlEd.TeSt", "spelled.test"):
            packet = query(name)
            self.assertEqual(self.pod.ask(packet).packet, dns.answer(packet, [record(A, 300, FOUR)]))
        self.assertEqual(self.server.count("spelled.test"), 1)

    def test_large_answers(self):
        got = self.pod.ask(query("big.test"))
        self.assertTrue(got.truncated)
        self.assertLessEqual(len(got.packet), 512)
        self.assertEqual(got.count, (512 - 12 - 14) // 16)  # an old musl uses what there is
        whole = self.pod.ask_tcp(query("big.test"))
        self.assertEqual((whole.count, whole.truncated), (400, False))
        self.assertEqual(self.server.count("big.test", transport="tcp"), 1)
        again = self.pod.ask(query("big.test"))  # known now, and cut here
        self.assertEqual(again.packet, got.packet)
        self.assertEqual(self.server.count("big.test", transport="udp"), 1)
        self.assertEqual(self.pod.ask_tcp(query("big.test")).count, 400)
        self.assertEqual(self.server.count("big.test"), 2)

    def test_edns_sizes(self):
        self.server.put("medium.test", A, *(record(A, 300, bytes([10, 9, 0, i])) for i in range(60)))
        big = self.pod.ask(query("medium.test", edns=1232))
        self.assertEqual((big.count, big.truncated, big.additional), (60, False, 1))
        small = self.pod.ask(query("medium.test", edns=512))
        self.assertTrue(small.truncated)
        self.assertEqual(small.additional, 1)
        self.assertLessEqual(len(small.packet), 512)
        self.assertEqual(self.server.count("medium.test"), 1)

    def test_options_are_between_two_ends(self):
        self.server.put("cookie.test", A, record(A, 300, FOUR))
        for _ in range(2):
            self.assertEqual(self.pod.ask(query("cookie.test", edns=1232, options=b"\0\x0a\0\x08abcdefgh")).data, [FOUR])
        self.assertEqual(self.server.count("cookie.test"), 2)

    def test_questions_are_shared(self):
        def late():  # those that come behind the answer have it from the cache
            return sum(self.pod.metric("fairlead_dns_queries_total", result=result) for result in ("shared", "cache"))

        self.server.put("slow.test", A, record(A, 300, FOUR))
        waiting, before = [], late()
        self.server.hook = lambda server, packet, send: waiting.append((packet, send)) or True
        sockets = [self.pod.socket() for _ in range(50)]
        try:
            for ident, sock in enumerate(sockets):
                sock.connect((PEER4, 53))
                sock.send(query("slow.test", ident=ident))
            eventually(lambda: self.pod.metric("fairlead_dns_questions") == 1 and waiting, "it is asked")
            self.assertEqual(len(waiting), 1)
            for packet, send in waiting:
                send(dns.answer(packet, [record(A, 300, FOUR)]))
            for ident, sock in enumerate(sockets):
                got = dns.Answer(sock.recv(65535))
                self.assertEqual((got.id, got.data), (ident, [FOUR]))
        finally:
            self.server.hook = None
            for sock in sockets:
                sock.close()
        self.assertEqual(self.server.count("slow.test"), 1)
        self.assertEqual(late() - before, 49)
        self.assertGreater(self.pod.metric("fairlead_dns_queries_total", result="shared"), 0)

    def test_pipelined_by_tcp(self):
        for i in range(40):
            self.server.put(f"p{i}.test", A, record(A, 300, bytes([10, 0, 0, i])))
        with self.pod.connect() as sock:
            for i in range(40):
                packet = query(f"p{i}.test", ident=i)
                sock.sendall(struct.pack(">H", len(packet)) + packet)
            sock.shutdown(socket.SHUT_WR)
            data = b""
            while piece := sock.recv(65535):
                data += piece
        answers = {}
        while data:
            size = struct.unpack_from(">H", data)[0]
            got = dns.Answer(data[2:2 + size])
            answers[got.id] = got.data[0][3]
            data = data[2 + size:]
        self.assertEqual(answers, {i: i for i in range(40)})

    def test_zone_transfers_are_refused(self):
        self.assertEqual(self.pod.ask_tcp(query("test", 252)).rcode, REFUSED)

    def test_both_kinds_of_page(self):
        self.pod.ask(query("four.test"))
        self.assertGreater(self.pod.metric("fairlead_dns_cache_entries"), 0)
        self.assertGreater(self.pod.metric("fairlead_dns_cache_bytes"), 0)
        self.assertIn("fairlead_dns_queries_total", self.pod.admin("/stats/prometheus"))


PYTHON = """
import socket, sys
for name in sys.argv[1:]:
    try:
        found = sorted({entry[4][0] for entry in socket.getaddrinfo(name, 80)})
    except socket.gaierror as error:
        found = [{socket.EAI_NONAME: "NONAME", socket.EAI_AGAIN: "AGAIN"}.get(error.errno, str(error))]
    print(name, len(found), *found[:2])
"""
C = r"""
#include <arpa/inet.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>
int main(int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *list = NULL;
        int result = getaddrinfo(argv[i], "80", &hints, &list), count = 0, four = 0, six = 0;
        for (struct addrinfo *one = list; one != NULL; one = one->ai_next, count++)
            *(one->ai_family == AF_INET ? &four : &six) = 1;
        printf("%s %d %d %d %d\n", argv[i], result == EAI_NONAME || result == EAI_NODATA ? -1 : result, count, four, six);
    }
}
"""
GO = """package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
)

func main() {
	for _, name := range os.Args[1:] {
		found, err := net.DefaultResolver.LookupHost(context.Background(), name)
		var failed *net.DNSError
		if errors.As(err, &failed) {
			fmt.Println(name, 0, failed.IsNotFound, failed.IsTemporary)
			continue
		}
		fmt.Println(name, len(found))
	}
}
"""


class Resolvers(Base):
    """Those of applications, with search domains and both families."""

    def test_glibc(self):
        self.assertEqual(self.pod.run("python3", "-c", PYTHON, "web", "web.shop", "web.shop.svc", WEB + ".", "four.test", "big.test", "no.where"),
                         "web 2 10.1.2.3 fd00::1\nweb.shop 2 10.1.2.3 fd00::1\nweb.shop.svc 2 10.1.2.3 fd00::1\n"
                         f"{WEB}. 2 10.1.2.3 fd00::1\nfour.test 1 10.1.2.3\nbig.test 400 10.9.0.0 10.9.0.1\nno.where 1 NONAME\n")
        self.assertIn("fd00::1", self.pod.run("getent", "ahosts", "web"))
        self.assertIn("10.1.2.3", self.pod.run("getent", "ahostsv4", "web"))
        self.assertIn(WEB, self.pod.run("getent", "hosts", "10.1.2.3"))

    def test_glibc_with_edns_over_ipv6_and_by_tcp_alone(self):
        for number, text in enumerate((f"nameserver {PEER6}\noptions edns0 trust-ad single-request\n", f"nameserver {PEER4}\noptions use-vc\n")):
            path = self.pod.folder / f"resolv-{number}"
            path.write_text(text)
            self.assertEqual(self.pod.run("python3", "-c", PYTHON, WEB, "big.test", resolv=path),
                             f"{WEB} 2 10.1.2.3 fd00::1\nbig.test 400 10.9.0.0 10.9.0.1\n")

    def test_musl(self):
        compiler = shutil.which("musl-gcc")
        if compiler is None:
            self.skipTest("musl-gcc is not installed")
        source, target = self.pod.folder / "look.c", self.pod.folder / "look"
        source.write_text(C)
        subprocess.run([compiler, "-static", "-O1", "-o", target, source], check=True)
        lines = self.pod.run(target, "web", "web.shop", WEB, "four.test", "no.where", "big.test").splitlines()
        self.assertEqual(lines[:5], ["web 0 2 1 1", "web.shop 0 2 1 1", f"{WEB} 0 2 1 1", "four.test 0 1 1 0", "no.where -1 0 0 0"])
        self.assertRegex(lines[5], r"^big.test 0 [1-9]\d+ 1 0$")  # how many it takes hangs on its version

    def test_go(self):
        try:
            go = xds_go.find_go()
        except xds_go.Missing as reason:
            self.skipTest(str(reason))
        keep.mkdir(parents=True, exist_ok=True)
        source, target = keep / "look.go", keep / "look"
        if not target.exists() or source.read_text() != GO:
            source.write_text(GO)
            subprocess.run([go, "build", "-o", target, source], check=True,
                           env={**os.environ, "GOTOOLCHAIN": "local", "CGO_ENABLED": "0", "GOFLAGS": "-mod=mod", "GO111MODULE": "off"})
        there = self.pod.folder / "look-go"
        shutil.copy(target, there)
        lines = self.pod.run(there, "web", "web.shop", WEB, "four.test", "big.test", "no.where", environment={"GODEBUG": "netdns=go"})
        self.assertEqual(lines, f"web 2\nweb.shop 2\n{WEB} 2\nfour.test 1\nbig.test 400\nno.where 0 true false\n")


class Servers(Base):
    resolv = f"nameserver {SECOND4}\nnameserver {PEER4}\n"

    def test_a_dead_server_is_waited_for_once(self):
        """Nobody is at the first address; the peer answers no ICMP for a while, as a lost node would not."""
        self.pod.peer.nft("add table ip quiet; add chain ip quiet in { type filter hook input priority 0; }; "
                          f"add rule ip quiet in ip daddr {SECOND4} drop")
        try:
            begin = time.monotonic()
            self.assertEqual(self.pod.ask(query("four.test")).data, [FOUR])
            self.assertGreater(time.monotonic() - begin, 0.9)
            for i in range(5):
                self.server.put(f"after{i}.test", A, record(A, 300, FOUR))
                self.assertEqual(self.pod.ask(query(f"after{i}.test")).data, [FOUR])
            self.assertEqual(self.pod.metric("fairlead_dns_upstream_queries_total", result="timeout"), 1)
        finally:
            self.pod.peer.nft("delete", "table", "ip", "quiet")

    def test_one_that_refuses_is_passed_over(self):
        second = dns.Server(self.pod.peer, SECOND4)
        try:
            for rcode in (SERVFAIL, REFUSED):
                second.hook = lambda server, packet, send, rcode=rcode: send(dns.answer(packet, rcode=rcode)) or True
                name = f"refused{rcode}.test"
                self.server.put(name, A, record(A, 300, FOUR))
                self.assertEqual(self.pod.ask(query(name)).data, [FOUR])
            self.server.hook = second.hook
            self.assertEqual(self.pod.ask(query("both.test")).rcode, REFUSED)  # all say so
        finally:
            self.server.hook = None
            second.stop()

    def test_unreachable_and_back(self):
        self.server.stop()
        try:
            got = self.pod.ask(query("back.test"))
            self.assertEqual(got.rcode, SERVFAIL)
        finally:
            self.server.start()
        self.server.put("back.test", A, record(A, 300, FOUR))
        self.assertEqual(self.pod.ask(query("back.test")).data, [FOUR])
        self.assertEqual(self.pod.ask_tcp(query("back.test")).data, [FOUR])

    def test_known_names_need_no_server(self):
        self.server.put("known.test", A, record(A, 300, FOUR))
        self.assertEqual(self.pod.ask(query("known.test")).data, [FOUR])
        self.server.stop()
        try:
            self.assertEqual(self.pod.ask(query("known.test")).data, [FOUR])
        finally:
            self.server.start()

    def test_other_servers_in_the_file(self):
        second = dns.Server(self.pod.peer, "10.77.0.1" if self.server.address != PEER4 else "fd77::1")
        second.put("four.test", A, record(A, 300, b"\x0a\x05\x05\x05"))
        try:
            self.assertEqual(self.pod.ask(query("four.test")).data, [FOUR])
            self.pod.write_resolv(f"nameserver {second.address}\n")
            eventually(lambda: self.pod.ask(query("four.test")).data == [b"\x0a\x05\x05\x05"], "the other server's answer")
            self.pod.write_resolv("")  # half written: the servers stay
            self.assertEqual(self.pod.ask(query("four.test")).data, [b"\x0a\x05\x05\x05"])
        finally:
            self.pod.write_resolv(self.resolv)
            second.stop()
        eventually(lambda: self.pod.ask(query("four.test")).data == [FOUR], "the first again")


class Bounds(Base):
    def test_ten_thousand_names(self):
        self.server.hook = lambda server, packet, send: send(dns.answer(packet, [record(A, 3600, FOUR)])) or True
        before = None
        with self.pod.socket() as sock:
            sock.connect((PEER4, 53))
            for i in range(10000):
                sock.send(query(f"name-{i}.of-a-usual-length.shop.svc.cluster.local", ident=i))
                self.assertEqual(struct.unpack_from(">H", sock.recv(65535))[0], i)
                if i == 3000:
                    before = self.pod.private_kib()
        self.server.hook = None
        self.assertEqual(self.pod.metric("fairlead_dns_cache_entries"), 2048)
        self.assertLess(self.pod.metric("fairlead_dns_cache_bytes"), 1 << 20)
        if b"__asan_init" not in program.read_bytes():  # that keeps what was freed
            self.assertLess(self.pod.private_kib() - before, 512)


class WithoutControlPlane(unittest.TestCase):
    """A sidecar by its environment, whose control plane is nowhere: not ready, but names are answered."""

    def test_it(self):
        environment = {"POD_NAME": "web", "POD_NAMESPACE": "shop", "SERVICE_ACCOUNT": "web", "POD_IPS": dns.POD4,
                       "FAIRLEAD_CONTROL_ADDRESS": f"{PEER4}:15012", "FAIRLEAD_ROOT_FILE": "/nowhere"}
        pod = dns.Pod(program, plugin, environment=environment, config="")
        server = dns.Server(pod.peer)
        try:
            Base.fill(server)
            self.assertEqual(pod.ask(query("four.test")).data, [FOUR])
            self.assertIn(" 503 ", pod.admin("/ready").split("\r\n")[0])
        finally:
            pod.remove()
            server.stop()


if __name__ == "__main__":
    program, cni_program, keep = (pathlib.Path(sys.argv.pop(1)).resolve() for _ in range(3))
    cni.skip_unless_possible()
    plugin = cni.Plugin(cni_program)
    unittest.main()
