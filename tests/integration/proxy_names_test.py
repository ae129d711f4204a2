#!/usr/bin/env python3
"""Clusters of names (STRICT_DNS, LOGICAL_DNS) with a DNS server of our own, in a network namespace of the test's own:
first answers, TTLs, changed and rotated answers, both families, search domains, names that are gone, silent servers, and a
resolv.conf that changes.

    proxy_names_test.py PROGRAM
"""
import atexit
import contextlib
import ctypes
import http.client
import json
import os
import pathlib
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import threading

from waiting import PATIENCE, eventually, free_port

SKIPPED = 77
PROGRAM = os.path.abspath(sys.argv[1])
FOLDER = pathlib.Path(tempfile.mkdtemp(prefix="fl-names-"))
TYPE = "type.googleapis.com/envoy.extensions."
processes = []


def clean_up():
    for process in processes:
        if process.poll() is None:
            process.kill()
            process.wait()
    shutil.rmtree(FOLDER, ignore_errors=True)


def own_network():
    if os.geteuid() != 0 or ctypes.CDLL(None).unshare(0x40000000) != 0:
        print("skipped: a network namespace of our own needs root")
        sys.exit(SKIPPED)
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)


class Dns:
    """Answers from `names`: {name: (ttl, [addresses])}; unknown names are NXDOMAIN, None is silence."""

    def __init__(self, address):
        self.names, self.asked, self.turn = {}, [], 0
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.bind((address, 53))
        threading.Thread(target=self.loop, daemon=True).start()

    def loop(self):
        while True:
            data, peer = self.sock.recvfrom(512)
            labels, at = [], 12
            while data[at]:
                labels.append(data[at + 1:at + 1 + data[at]].decode().lower())
                at += 1 + data[at]
            kind, = struct.unpack("!H", data[at + 1:at + 3])
            name, question = ".".join(labels), data[12:at + 5]
            self.asked.append(name)
            known = self.names.get(name, ())
            if known is None:
                continue
            ttl, addresses = known or (0, [])
            family = {1: socket.AF_INET, 28: socket.AF_INET6}.get(kind)
            found = [socket.inet_pton(family, a) for a in addresses if (":" in a) == (kind == 28)] if family else []
            self.turn += 1
            found = found[self.turn % len(found):] + found[:self.turn % len(found)] if found else []
            answer = b"".join(struct.pack("!HHHIH", 0xc00c, kind, 1, ttl, len(a)) + a for a in found)
            flags = 0x8180 if known else 0x8183
            self.sock.sendto(data[:2] + struct.pack("!HHHHH", flags, 1, len(found), 0, 0) + question + answer, peer)


class Server:
    """Tells who it is, then echoes."""

    def __init__(self, address, port, word):
        self.listener = socket.create_server((address, port), family=socket.AF_INET6 if ":" in address else socket.AF_INET)
        self.word = word
        threading.Thread(target=self.loop, daemon=True).start()

    def loop(self):
        while True:
            sock, _ = self.listener.accept()
            threading.Thread(target=self.one, args=(sock,), daemon=True).start()

    def one(self, sock):
        with contextlib.suppress(OSError), sock:
            sock.sendall(self.word)
            while data := sock.recv(100):
                sock.sendall(data)


class Proxy:
    def __init__(self, resolv, upstream, host, kind="STRICT_DNS", **cluster):
        self.port, self.admin = free_port(), free_port()
        address = lambda name, port: {"socket_address": {"address": name, "port_value": port}}
        tcp = {"name": "tcp", "typed_config": {"@type": TYPE + "filters.network.tcp_proxy.v3.TcpProxy", "stat_prefix": "t",
                                               "cluster": "up"}}
        path = FOLDER / "proxy.json"
        path.write_text(json.dumps({
            "node": {"id": "p", "cluster": "p"}, "admin": {"address": address("127.0.0.1", self.admin)},
            "static_resources": {
                "listeners": [{"name": "l", "address": address("127.0.0.1", self.port), "filter_chains": [{"filters": [tcp]}]}],
                "clusters": [{"name": "up", "type": kind, "dns_refresh_rate": "0.2s", **cluster, "load_assignment": {
                    "cluster_name": "up", "endpoints": [{"lb_endpoints": [
                        {"endpoint": {"address": address(host, upstream)}}]}]}}]}}))
        self.log = FOLDER / "proxy.err"
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen([PROGRAM, "-c", path, "--concurrency", "1"], stderr=log, stdin=subprocess.DEVNULL,
                                            env={**os.environ, "FAIRLEAD_RESOLV_CONF": str(resolv)})
        processes.append(self.process)
        eventually(self.is_ready, "the proxy is ready")

    def is_ready(self):
        assert self.process.poll() is None, self.log.read_text()
        try:
            connection = http.client.HTTPConnection("127.0.0.1", self.admin, timeout=PATIENCE)
            connection.request("GET", "/ready")
            return connection.getresponse().status == 200
        except OSError:
            return False

    def dial(self):
        sock, word = socket.socket(), b""
        sock.settimeout(PATIENCE)
        with contextlib.suppress(ConnectionResetError):
            sock.connect(("127.0.0.1", self.port))
            word = sock.recv(100)
        return sock, word

    def reaches(self):
        sock, word = self.dial()
        sock.close()
        return word

    def clusters(self):
        connection = http.client.HTTPConnection("127.0.0.1", self.admin, timeout=PATIENCE)
        connection.request("GET", "/clusters")
        return connection.getresponse().read().decode()

    def stop(self):
        self.process.terminate()
        assert self.process.wait(PATIENCE) == 0, self.log.read_text()


def main():
    atexit.register(clean_up)
    own_network()
    dns, other = Dns("127.0.0.53"), Dns("127.0.0.54")
    resolv = FOLDER / "resolv.conf"
    resolv.write_text("nameserver 127.0.0.53\nsearch demo.test\noptions ndots:2\n")
    port = 9000
    for address, word in (("127.0.0.11", b"one"), ("127.0.0.12", b"two"), ("127.0.0.13", b"three"), ("::1", b"six")):
        Server(address, port, word)

    # the proxy is ready before its name is known, and serves once it is; the short name is found by the search domain
    dns.names["web.demo.test"] = None
    proxy = Proxy(resolv, port, "web")
    assert proxy.reaches() == b""
    eventually(lambda: dns.asked, "the name is asked for")
    dns.names["web.demo.test"] = (0, ["127.0.0.11", "127.0.0.12"])
    eventually(lambda: proxy.reaches() == b"one", "the first address")
    eventually(lambda: proxy.reaches() == b"two", "the second address")
    page = proxy.clusters()
    assert "up::type::STRICT_DNS\n" in page and f"up::127.0.0.12:{port}::hostname::" in page, page

    # another answer: connections to what is gone stay, new ones go where it leads
    kept, word = proxy.dial()
    dns.names["web.demo.test"] = (0, ["127.0.0.13"])
    eventually(lambda: all(proxy.reaches() == b"three" for _ in range(4)), "only the new address")
    kept.sendall(b"still there")
    assert word in (b"one", b"two") and kept.recv(100) == b"still there"
    kept.close()

    # gone, and silent: the last addresses stay
    del dns.names["web.demo.test"]
    before = len(dns.asked)
    eventually(lambda: len(dns.asked) > before + 8, "asked again, several times")
    assert proxy.reaches() == b"three"

    # another resolv.conf
    other.names["web.other.test"] = (0, ["127.0.0.12"])
    (FOLDER / "new").write_text("nameserver 127.0.0.54\nsearch other.test\noptions ndots:2\n")
    os.rename(FOLDER / "new", resolv)
    eventually(lambda: proxy.reaches() == b"two", "the other server's answer")
    proxy.stop()

    # families
    resolv.write_text("nameserver 127.0.0.53\n")
    dns.names["both.test"] = (0, ["127.0.0.11", "::1"])
    dns.names["four.test"] = (0, ["127.0.0.11"])
    dns.names["slow.test"] = (0, ["127.0.0.11", "2001:db8::1"])  # whose IPv6 says nothing
    dns.names["far.test"] = (0, ["127.0.0.11", "fd00::1"])  # … has no route
    subprocess.run(["ip", "-6", "route", "add", "2001:db8::/64", "dev", "lo"], check=True)
    Server("127.0.0.11", port + 1, b"one")
    proxy = Proxy(resolv, port + 1, "both.test", dns_lookup_family="ALL")  # … refuses
    eventually(lambda: proxy.reaches() == b"one", "the address that does not refuse")
    proxy.stop()
    for name, family, words in (("both.test", "AUTO", {b"six"}), ("both.test", "V4_ONLY", {b"one"}),
                                ("both.test", "V6_ONLY", {b"six"}), ("both.test", "V4_PREFERRED", {b"one"}),
                                ("both.test", "ALL", {b"six"}), ("slow.test", "ALL", {b"one"}), ("far.test", "ALL", {b"one"}),
                                ("four.test", "ALL", {b"one"}), ("four.test", "AUTO", {b"one"})):
        proxy = Proxy(resolv, port, name, dns_lookup_family=family)
        eventually(proxy.reaches, f"{name} by {family}")
        seen = {proxy.reaches() for _ in range(8)}
        assert seen == words, (name, family, seen)
        proxy.stop()

    # a long TTL is kept to; a rotated answer moves no logical host
    dns.names["long.test"] = (3600, ["127.0.0.11"])
    proxy = Proxy(resolv, port, "long.test", respect_dns_ttl=True)
    eventually(lambda: proxy.reaches() == b"one", "the long one")
    asked = dns.asked.count("long.test")
    dns.names["turn.test"] = (0, ["127.0.0.11", "127.0.0.12"])
    logical = Proxy(resolv, port, "turn.test", kind="LOGICAL_DNS")
    first = eventually(logical.reaches, "the logical host")
    before = dns.asked.count("turn.test")
    eventually(lambda: dns.asked.count("turn.test") > before + 10, "asked several times")
    assert {logical.reaches() for _ in range(6)} == {first}
    assert dns.asked.count("long.test") == asked
    logical.stop()
    proxy.stop()


main()
