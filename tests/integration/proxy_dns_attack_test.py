"""The DNS port under attack: forged answers, broken packets, floods, slow clients, and who may not reach it.

usage: proxy_dns_attack_test.py PATH-OF-fairlead-proxy PATH-OF-fairlead-cni [unittest arguments]
"""
import contextlib
import pathlib
import random
import socket
import struct
import sys
import time
import unittest

import cni_support as cni
import dns_support as dns
from dns_support import A, FORMERR, NOTIMP, PEER4, POD4, POD6, SERVFAIL, query, record
from waiting import PATIENCE, eventually

FOUR, EVIL = socket.inet_aton("10.1.2.3"), socket.inet_aton("6.6.6.6")


class Base(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.pod = dns.Pod(program, plugin)
        cls.server = dns.Server(cls.pod.peer)
        cls.server.put("four.test", A, record(A, 300, FOUR))

    @classmethod
    def tearDownClass(cls):
        cls.pod.remove()
        cls.server.stop()

    def tearDown(self):
        self.server.hook = None
        self.alive()

    def alive(self):
        name = f"alive{random.getrandbits(60)}.test"
        self.server.put(name, A, record(A, 300, FOUR))
        self.assertEqual(self.pod.ask(query(name)).data, [FOUR])
        self.assertEqual(self.pod.ask_tcp(query(name)).data, [FOUR])


class Forgery(Base):
    def ask_with(self, name, forge):
        """What the pod gets where the server sends `forge(packet)` before the real answer."""
        def hook(server, packet, send):
            for forged in forge(packet):
                send(forged)
            send(dns.answer(packet, [record(A, 300, FOUR)]))
            return True
        self.server.hook = hook
        before = self.pod.metric("fairlead_dns_foreign_answers_total")
        self.assertEqual(self.pod.ask(query(name)).data, [FOUR])
        self.assertEqual(self.pod.ask(query(name)).data, [FOUR])  # and so it is kept
        return self.pod.metric("fairlead_dns_foreign_answers_total") - before

    def test_other_ids(self):
        def forge(packet):
            ident = struct.unpack_from(">H", packet)[0]
            return [struct.pack(">H", ident ^ (1 << bit)) + dns.answer(packet, [record(A, 300, EVIL)])[2:] for bit in range(7)]
        self.assertEqual(self.ask_with("ids.test", forge), 7)

    def test_other_questions(self):
        def forge(packet):
            return [dns.answer(packet[:2] + query(name, kind)[2:], [record(A, 300, EVIL)])
                    for name, kind in (("evil.test", A), ("questions.test", dns.AAAA), ("", A))] + \
                   [packet, packet[:2] + b"\x85\x80" + packet[4:6] + bytes(6), packet[:11], b"\0"]
        self.assertEqual(self.ask_with("questions.test", forge), 7)

    def test_other_addresses_and_ports_are_not_heard(self):
        with dns.inside(self.pod.peer):
            others = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2)]
        others[0].bind((PEER4, 5353))
        others[1].bind((dns.SECOND4, 53))
        seen = []
        plain = self.server.one

        def one(packet, transport, peer, send):
            if dns.question(packet)[0] == "addresses.test":
                seen.append(peer)
                for other in others:
                    with contextlib.suppress(OSError):
                        other.sendto(dns.answer(packet, [record(A, 300, EVIL)]), peer)
            plain(packet, transport, peer, send)
        self.server.one = one
        before = self.pod.metric("fairlead_dns_queries_total", result="failed")
        try:
            self.server.put("addresses.test", A, record(A, 300, FOUR))
            self.assertEqual(self.pod.ask(query("addresses.test")).data, [FOUR])
            self.assertEqual(len(seen), 1)
        finally:
            del self.server.one
            for other in others:
                other.close()
        self.assertEqual(self.pod.metric("fairlead_dns_queries_total", result="failed"), before)

    def test_a_spray_ends_the_attempt(self):
        """Eight wrong ones: asked again, from another port with another id."""
        asked = []

        def hook(_server, packet, send):
            asked.append(struct.unpack_from(">H", packet)[0])
            if len(asked) == 1:
                for _ in range(20):
                    send(struct.pack(">H", asked[0] ^ 0x5555) + dns.answer(packet, [record(A, 300, EVIL)])[2:])
            else:
                send(dns.answer(packet, [record(A, 300, FOUR)]))
            return True
        self.server.hook = hook
        self.assertEqual(self.pod.ask(query("spray.test")).data, [FOUR])
        self.assertEqual(len(asked), 2)
        self.assertEqual(self.pod.metric("fairlead_dns_upstream_queries_total", result="attacked"), 1)

    def test_ports_and_ids_cannot_be_guessed(self):
        ports, ids = set(), set()

        def one(packet, transport, peer, send, plain=self.server.one):
            ports.add(peer[1])
            ids.add(struct.unpack_from(">H", packet)[0])
            plain(packet, transport, peer, send)
        self.server.one = one
        try:
            for i in range(200):
                self.pod.ask(query(f"guess{i}.test", ident=i))
        finally:
            del self.server.one
        self.assertGreater(len(ports), 180)
        self.assertGreater(len(ids), 180)
        self.assertGreater(max(ids) - min(ids), 30000)
        ordered = sorted(ports)
        self.assertGreater(ordered[-1] - ordered[0], 10000)

    def test_broken_answers_of_the_server_itself(self):
        """Loops of compression pointers, lengths beyond the end: never handed on; SERVFAIL where there is nothing better."""
        for number, tail in enumerate((b"\xc0" + bytes([12 + 18]) + bytes(10), b"\xc0\xff" + bytes(10), b"\x40" + bytes(20),
                                       b"\xc0\x0c\0\1\0\1\0\0\0\1\xff\xff", b"\xc0\x0c\0\1")):
            def hook(_server, packet, send, tail=tail):
                send(packet[:2] + struct.pack(">5H", 0x8580, 1, 1, 0, 0) + packet[12:dns.question_end(packet)] + tail)
                return True
            self.server.hook = hook
            self.assertEqual(self.pod.ask(query(f"broken{number}.test")).rcode, SERVFAIL)
        self.assertGreaterEqual(self.pod.metric("fairlead_dns_upstream_queries_total", result="broken"), 5)


class BadClients(Base):
    def test_broken_queries(self):
        random.seed(15053)
        with self.pod.socket() as sock:
            sock.connect((PEER4, 53))
            for _ in range(3000):
                packet = bytearray(query("four.test", edns=1232, ident=random.getrandbits(16)))
                for _ in range(random.randrange(1, 6)):
                    packet[random.randrange(len(packet))] = random.getrandbits(8)
                sock.send(packet[:random.randrange(len(packet) + 1)])
            sock.settimeout(0.2)
            with contextlib.suppress(TimeoutError, BlockingIOError):
                while True:
                    sock.recv(65535)
        self.assertEqual(self.pod.ask(query("four.test")[:20]).rcode, FORMERR)
        self.assertEqual(self.pod.ask(query("four.test", flags=0x2900)).rcode, NOTIMP)

    def test_a_flood_of_datagrams(self):
        """Names that are never answered, from many sockets: bounded, and known names go on being answered."""
        self.assertEqual(self.pod.ask(query("four.test")).data, [FOUR])
        before = self.pod.private_kib()
        self.server.hook = lambda server, packet, send: dns.question(packet)[0].startswith("lost")
        sockets = [self.pod.socket() for _ in range(20)]
        for sock in sockets:
            sock.connect((PEER4, 53))
        for i in range(10000):
            with contextlib.suppress(OSError):
                sockets[i % 20].send(query(f"lost-{i}.test", ident=i & 0xffff))
        begin = time.monotonic()
        self.assertEqual(self.pod.ask(query("four.test")).data, [FOUR])
        self.assertLess(time.monotonic() - begin, 10)
        self.assertLessEqual(self.pod.metric("fairlead_dns_questions"), 1024)
        eventually(lambda: self.pod.metric("fairlead_dns_questions") == 0, "all are given up")
        self.assertGreater(self.pod.metric("fairlead_dns_queries_total", result="overload") +
                           self.pod.metric("fairlead_dns_queries_total", result="failed"), 1000)
        if not sanitized:
            self.assertLess(self.pod.private_kib() - before, 8192)
        for sock in sockets:
            sock.close()

    def test_many_that_wait_for_one_answer(self):
        held = []
        self.server.hook = lambda server, packet, send: held.append((packet, send)) or True
        with self.pod.socket() as sock:
            sock.connect((PEER4, 53))
            for i in range(6000):
                sock.send(query("crowd.test", ident=i))
                if i % 100 == 0:
                    time.sleep(0.001)
            eventually(lambda: held, "it is asked")
        self.server.hook = None
        for packet, send in held:
            send(dns.answer(packet, [record(A, 300, FOUR)]))
        eventually(lambda: self.pod.metric("fairlead_dns_questions") == 0, "answered")

    def test_slow_clients_by_tcp(self):
        """A byte a second of a query, more connections than there may be: others are served, the slow ones end."""
        packet = query("four.test")
        slow = [self.pod.connect() for _ in range(100)]
        begin = time.monotonic()
        try:
            for sock in slow:
                with contextlib.suppress(OSError):
                    sock.send(struct.pack(">H", len(packet)) + packet[:3])
            self.assertEqual(self.pod.ask_tcp(packet).data, [FOUR])
            self.assertLessEqual(self.pod.metric("fairlead_dns_connections"), 64)
            at = 3
            while self.pod.metric("fairlead_dns_connections") > 0:
                self.assertLess(time.monotonic() - begin, PATIENCE)
                for sock in slow:
                    with contextlib.suppress(OSError):
                        sock.send(packet[at:at + 1])
                at = min(at + 1, len(packet) - 2)
                time.sleep(0.5)
        finally:
            for sock in slow:
                sock.close()

    def test_clients_that_do_not_read(self):
        self.server.put("big.test", A, *(record(A, 300, bytes([10, 9, i // 256, i % 256])) for i in range(3000)))
        packet = query("big.test")
        self.assertEqual(self.pod.ask_tcp(packet).count, 3000)
        before = self.pod.private_kib()
        deaf = []
        try:
            for _ in range(30):
                sock = self.pod.connect()
                deaf.append(sock)
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                sock.setblocking(False)
                with contextlib.suppress(OSError):  # full, or closed already
                    for _ in range(2000):
                        sock.send(struct.pack(">H", len(packet)) + packet)
            self.assertEqual(self.pod.ask_tcp(packet).count, 3000)
            if not sanitized:
                self.assertLess(self.pod.private_kib() - before, 6144)
            eventually(lambda: self.pod.metric("fairlead_dns_connections") == 0, "they are closed")
        finally:
            for sock in deaf:
                sock.close()

    def test_odd_connections(self):
        packet = query("four.test")
        for data in (b"\0\0", b"\xff\xff" + packet, b"\0\x0b" + packet, struct.pack(">H", len(packet)) + packet[:2] + b"\x81" + packet[3:]):
            with self.pod.connect() as sock:
                sock.sendall(data)
                with contextlib.suppress(ConnectionResetError):
                    self.assertEqual(sock.recv(100), b"")  # closed
        with self.pod.connect() as sock:  # byte by byte is fine
            for byte in struct.pack(">H", len(packet)) + packet:
                sock.send(bytes([byte]))
            self.assertEqual(dns.Answer(dns.receive_tcp(sock)).data, [FOUR])
        held = []
        self.server.hook = lambda server, packet, send: held.append((packet, send)) or True
        with self.pod.connect() as sock:  # gone before its answer
            lost = query("gone.test")
            sock.sendall(struct.pack(">H", len(lost)) + lost)
            eventually(lambda: held, "it is asked")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        eventually(lambda: self.pod.metric("fairlead_dns_queries_total", result="gone") == 1, "it is gone")
        for one, send in held:
            with contextlib.suppress(OSError):
                send(dns.answer(one, [record(A, 300, FOUR)]))

    def test_nobody_outside_reaches_it(self):
        for address in (POD4, POD6):
            family = socket.AF_INET6 if ":" in address else socket.AF_INET
            with dns.inside(self.pod.peer):
                sock, stream = socket.socket(family, socket.SOCK_DGRAM), socket.socket(family, socket.SOCK_STREAM)
            with sock, stream:
                sock.settimeout(0.3)
                stream.settimeout(PATIENCE)
                sock.connect((address, dns.PORT))
                with self.assertRaises(OSError):
                    sock.send(query("four.test"))
                    sock.recv(65535)
                with self.assertRaises(OSError):
                    stream.connect((address, dns.PORT))


class UnderSlowServers(Base):
    def test_a_server_that_sends_byte_by_byte(self):
        """By TCP: a whole answer a byte at a time is taken; half of one is given up in time."""
        def connection(client, _peer):
            with contextlib.suppress(OSError, EOFError), client:
                packet = dns.receive_tcp(client)
                data = dns.answer(packet, [record(A, 300, FOUR)])
                data = struct.pack(">H", len(data)) + data
                for byte in data if dns.question(packet)[0] == "bytes.test" else data[:10]:
                    client.send(bytes([byte]))
                    time.sleep(0.002)
                client.recv(1)
        self.server.serve_connection = connection
        try:
            self.assertEqual(self.pod.ask_tcp(query("bytes.test")).data, [FOUR])
            self.assertEqual(self.pod.ask_tcp(query("half.test")).rcode, SERVFAIL)
        finally:
            del self.server.serve_connection


if __name__ == "__main__":
    program, cni_program = (pathlib.Path(sys.argv.pop(1)).resolve() for _ in range(2))
    cni.skip_unless_possible()
    sanitized = b"__asan_init" in program.read_bytes()
    plugin = cni.Plugin(cni_program)
    unittest.main()
