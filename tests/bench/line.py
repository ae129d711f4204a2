#!/usr/bin/env python3
"""Small requests beside a bulk transfer over the same shared connection of two sidecars, on a line of limited speed.

    line.py <fairlead-proxy> [--mbit 100] [--seconds 4]

Two pods as in storm.py; the line between them lets so much through, both ways. Requests of HTTP/1.1 over a kept connection, one
after the other: alone, beside an endless download, beside an endless upload. Both requests are streams of one connection
between the sidecars. A line of JSON each: p50, p99 and the worst in ms, what the bulk made of the line in Mbit/s, and
CPU ms a GiB of it of the server's and the client's sidecar (--mbit 0: no limit). Needs root.
"""
import argparse
import json
import os
import pathlib
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "integration"))
sys.argv.append("--shared")
import proxy_support as support  # noqa: E402
from proxy_support import CLIENT_ID, GOLDEN, NAME, SERVER_ID, Origin, Proxy, Reader, make_ca, make_identity, run  # noqa: E402

REQUEST = b"GET / HTTP/1.1\r\nHost: server\r\n\r\n"
ENDLESS = 1 << 40
PIECE = bytes(65536)


def serve(sock):
    reader = Reader(sock)
    while True:
        line, fields = reader.head()
        if line.startswith("POST"):
            while sock.recv(1 << 20):
                pass
            return
        if "/bulk" in line:
            sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % ENDLESS)
            while True:
                sock.sendall(PIECE)
        sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")


class Bulk(threading.Thread):
    def __init__(self, upload):
        super().__init__(daemon=True)
        self.sock, self.upload, self.bytes = support.dial("a", "b", 8080), upload, 0
        self.sock.settimeout(None)
        self.start()

    def run(self):
        try:
            if not self.upload:
                self.sock.sendall(b"GET /bulk HTTP/1.1\r\nHost: server\r\n\r\n")
                while got := len(self.sock.recv(1 << 20)):
                    self.bytes += got
            self.sock.sendall(b"POST / HTTP/1.1\r\nHost: server\r\nContent-Length: %d\r\n\r\n" % ENDLESS)
            while True:
                self.bytes += self.sock.send(PIECE)
        except OSError:
            pass


def cpu_ms():
    """Of both proxies."""
    fields = [pathlib.Path(f"/proc/{proxy.process.pid}/stat").read_text().split() for proxy in PROXIES]
    return [(int(one[13]) + int(one[14])) * 1000 / os.sysconf("SC_CLK_TCK") for one in fields]


def measure(name, bulk, seconds):
    if bulk:
        time.sleep(1)  # it has filled what there is to fill
    used = cpu_ms()
    sock, took, before = support.dial("a", "b", 8080), [], bulk.bytes if bulk else 0
    begin = time.monotonic()
    while (sent := time.monotonic()) < begin + seconds:
        sock.sendall(REQUEST)
        answer = b""
        while not answer.endswith(b"ok"):
            answer += sock.recv(1000) or sys.exit("a request was not answered")
        took.append((time.monotonic() - sent) * 1000)
        time.sleep(0.005)
    took.sort()
    line = {"run": name, "requests": len(took), "p50": round(took[len(took) // 2], 2), "p99": round(took[len(took) * 99 // 100], 2),
            "worst": round(took[-1], 2)}
    if bulk:
        line["mbit"] = round((bulk.bytes - before) * 8 / 1e6 / (time.monotonic() - begin), 1)
        line["cpu_ms_gib_b_a"] = [round((now - then) / ((bulk.bytes - before) / 2**30)) for now, then in zip(cpu_ms(), used)]
        bulk.sock.close()
    print(json.dumps(line), flush=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("proxy")
    parser.add_argument("--mbit", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=4)
    parser.add_argument("--shared", action="store_true", help=argparse.SUPPRESS)  # proxy_support reads it
    options = parser.parse_args()
    support.PROGRAM = os.path.abspath(options.proxy)
    support.skip_unless_possible()
    support.make_pods()
    for role in "ab" if options.mbit else "":
        run("ip", "netns", "exec", NAME[role], "tc", "qdisc", "add", "dev", "m0", "root", "tbf", "rate", f"{options.mbit}mbit", "burst",
            "64k", "latency", "3ms")
    make_ca("ca")
    make_identity("client", CLIENT_ID)
    make_identity("server", SERVER_ID)
    Origin(8080, serve)
    global PROXIES
    quiet = ["-l", "info", "--concurrency", "1"]
    PROXIES = [Proxy("b", (GOLDEN / "server-strict.yaml").read_text(), "server", options=quiet),
               Proxy("a", support.client_config(), "client", options=quiet)]
    measure("alone", None, options.seconds)
    measure("download", Bulk(False), options.seconds)
    measure("upload", Bulk(True), options.seconds)
    os._exit(support.clean_up() or 0)


if __name__ == "__main__":
    main()
