#!/usr/bin/env python3
"""Descriptors run out: connections that are held take all there are. Those who are served go on being served, nothing
spins, a counter says what happened, and afterwards all is as before.

    proxy_baddays_descriptors_test.py PROGRAM [test…]
"""
import contextlib
import os
import pathlib

import baddays_support as s
from baddays_support import BAD1, GOOD1, GOOD2, H2, OK, Reader, dial, eventually, read_all, text_of

FILES = 120


def descriptors():
    return len(os.listdir(f"/proc/{s.the_proxy().process.pid}/fd"))


def cpu():
    fields = pathlib.Path(f"/proc/{s.the_proxy().process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def serve(sock):
    reader = Reader(sock)
    while True:
        reader.head()
        sock.sendall(OK)


def too_many_connections():
    proxy, before = s.the_proxy(), descriptors()
    with s.Server(BAD1, serve), dial(GOOD2) as sock:
        peer = H2(sock)
        assert peer.over(peer.request("/a/100")).status == 200
        held = []
        for _ in range(3 * FILES):
            with contextlib.suppress(ConnectionError):  # it is one too many
                held.append(dial(GOOD1))
        eventually(lambda: proxy.metric("fairlead_connections_refused_total", reason="limit") > 0, "it is counted")
        for at in range(20):  # whoever is there is served
            assert peer.over(peer.request(f"/b{at}/1000")).body == text_of(f"b{at}/1000"), at
        used = cpu()
        for _ in range(10):
            peer.over(peer.request("/c/10"))
        assert cpu() - used < 5
        for one in held:
            one.close()
    eventually(lambda: descriptors() <= before + 4, "they come back")
    for which in (GOOD1, GOOD2):
        with dial(which) as sock:
            sock.sendall(b"GET /a/10 HTTP/1.1\r\nHost: web\r\n\r\n")
            assert Reader(sock).answer()[2] == text_of("a/10")


def no_descriptor_for_an_upstream():
    """Requests that each want a connection to their server: 503 with a flag where there is none, and never a hang."""
    proxy = s.the_proxy()
    server = s.Server(BAD1, lambda sock: (Reader(sock).head(), read_all(sock)))
    with server, contextlib.ExitStack() as stack:
        peers = [H2(stack.enter_context(dial(BAD1))) for _ in range(2)]
        numbers = [(peer, peer.request("/x")) for peer in peers for _ in range(100)]
        eventually(lambda: proxy.flags("UF", "503") + proxy.flags("UO", "503") + proxy.flags("UH", "503") > 0 or
                   descriptors() < FILES - 10, "some fail")
        server.close()
        del numbers
    eventually(lambda: proxy.open("upstream") <= 4, "all are gone")


if __name__ == "__main__":
    s.main((too_many_connections, no_descriptor_for_an_upstream), others=False, files=FILES)
