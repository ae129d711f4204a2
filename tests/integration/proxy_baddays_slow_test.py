#!/usr/bin/env python3
"""Peers that are slow or silent: slow readers, windows of a byte, streams and connections that stall while others go on.
Memory is bounded, and what does not move ends by the stream's idle time (2 s here), flag SI.

    proxy_baddays_slow_test.py PROGRAM [test…]
"""
import contextlib
import struct
import threading
import time

import baddays_support as s
from baddays_support import (ACK, BAD1, BAD2, CANCEL, DATA, GOOD1, GOOD2, H2, SETTINGS, WINDOW, Reader, counted,
                             dial, eventually, frame, settings, text_of)

ROOM_KIB = 40 * 1024  # that a few hundred stalled messages may take, with AddressSanitizer's own


def window(stream, size):
    return frame(WINDOW, 0, stream, struct.pack("!I", size))


def gone(proxy):
    eventually(lambda: proxy.open("downstream") <= 1, "all are gone, but others' one", 10)


def large_answers_to_readers_of_nothing():
    """HTTP/1: 20 clients ask for 9 MB each and read nothing."""
    proxy = s.the_proxy()
    before = proxy.rss_kib()
    with counted(proxy, "istio_requests_total", 20, response_flags="SI"):
        held = [dial(which, receive=4096) for which in (GOOD1, GOOD2) for _ in range(10)]
        for sock in held:
            sock.sendall(b"GET /a/9000000 HTTP/1.1\r\nHost: web\r\nConnection: close\r\n\r\n")
        time.sleep(1)
        assert proxy.rss_kib() - before < ROOM_KIB, proxy.rss_kib() - before
    gone(proxy)
    for sock in held:
        sock.close()


def large_answers_without_window():
    """HTTP/2: 100 streams, no window; then one window for all, and then one of a byte each."""
    proxy = s.the_proxy()
    for which in (GOOD1, GOOD2):
        before = proxy.rss_kib()
        with counted(proxy, "istio_requests_total", 100, response_flags="SI"), dial(which) as sock:
            peer = H2(sock, hello=settings(window=0), taking=False)
            numbers = [peer.request("/a/2000000") for _ in range(100)]
            for one in numbers:
                while not peer.stream(one).fields:
                    peer.next()
            peer.send(*(window(one, 1) for one in numbers))
            assert proxy.rss_kib() - before < ROOM_KIB, proxy.rss_kib() - before
            assert all(peer.over(one).reset is not None for one in numbers)
            assert all(len(peer.stream(one).body) == 1 for one in numbers)
            peer.taking = True
            peer.send(settings(window=65535))  # the connection lives on
            peer.request("/b/10")
            assert peer.over(peer.last).body == text_of("b/10")


def small_answers_that_nobody_takes():
    """Whole in the proxy, and the server's part long done: they end by time all the same."""
    proxy = s.the_proxy()
    for which in (GOOD1, GOOD2):
        with counted(proxy, "fairlead_http_parse_errors_total", 50, reason="http2.unread"), dial(which) as sock:
            peer = H2(sock, hello=settings(window=0))
            numbers = [peer.request("/a/5000") for _ in range(50)]
            assert all(peer.over(one).reset is not None for one in numbers), "they ended"
            assert all(peer.stream(one).status == 200 for one in numbers)
    gone(proxy)


def small_answers_to_a_connection_that_does_not_read():
    """Each is small, all together are more than the socket takes."""
    proxy = s.the_proxy()
    for which in (GOOD1, GOOD2):
        one = dial(which, receive=4096)
        one.sendall(b"GET /a/60000 HTTP/1.1\r\nHost: web\r\n\r\n" * 100)
        two = dial(which, receive=4096)
        peer = H2(two, hello=settings(window=1 << 30) + window(0, 1 << 30), polite=False)
        with contextlib.suppress(ConnectionError):
            peer.send(frame(SETTINGS, ACK))
            for _ in range(90):
                peer.request("/a/60000")
        eventually(lambda: proxy.open("downstream") >= 2, "they are there")
        with counted(proxy, "fairlead_http_parse_errors_total", side="downstream", reason="send_timeout"):
            gone(proxy)
        one.close()
        two.close()


def slow_readers_that_move_get_all():
    """A little at a time, over longer than the idle time: it is no idling."""
    with dial(GOOD1, receive=4096) as sock:
        sock.sendall(b"GET /a/300000 HTTP/1.1\r\nHost: web\r\nConnection: close\r\n\r\n")
        data = b""
        while part := sock.recv(6000):
            data += part
            time.sleep(0.03 if len(data) < 150000 else 0)
        assert data.endswith(text_of("a/300000"))
    with dial(GOOD2) as sock:
        peer = H2(sock, hello=settings(window=4000), polite=False)
        peer.send(frame(SETTINGS, ACK))
        one = peer.request("/a/100000")
        stream = peer.stream(one)
        while not stream.ended and stream.reset is None:
            kind, _, _, payload = peer.next()
            if kind == DATA and payload:
                time.sleep(0.04)
                peer.send(window(0, len(payload)), window(one, len(payload)))
        assert stream.body == text_of("a/100000"), (len(stream.body), stream.reset)


def uploads_to_servers_that_do_not_read():
    """50 uploads for each version of client and server. The request is not whole: 408."""
    proxy = s.the_proxy()

    def no_window(sock):
        peer = H2(sock, server=True, hello=settings(window=0), polite=False)
        peer.send(frame(SETTINGS, ACK))
        peer.to_end()

    for which, serve in ((BAD1, lambda sock: threading.Event().wait(8)), (BAD2, no_window)):
        with s.Server(which, serve):
            before = proxy.rss_kib()
            with counted(proxy, "istio_requests_total", 100, response_flags="SI"), dial(which) as sock:
                peer = H2(sock)
                numbers = [peer.request("/a", method="POST", end=False) for _ in range(50)]
                held = [dial(which) for _ in numbers]
                for one, other in zip(numbers, held):
                    other.settimeout(0.01)
                    with contextlib.suppress(TimeoutError):
                        other.sendall(b"POST /a HTTP/1.1\r\nHost: web\r\nContent-Length: 10000000\r\n\r\n" + b"x" * 1000000)
                    peer.send(frame(DATA, 0, one, b"x" * 16384))
                assert proxy.rss_kib() - before < ROOM_KIB, proxy.rss_kib() - before
                assert all(peer.over(one).status == 408 for one in numbers), [peer.stream(one).status for one in numbers]
            for other in held:
                other.close()
    gone(proxy)


def a_byte_at_a_time_from_the_server_is_no_idling():
    def serve(sock):
        Reader(sock).head()
        sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 30\r\n\r\n")
        for _ in range(30):
            sock.sendall(b"x")
            time.sleep(0.1)
    with s.Server(BAD1, serve), dial(BAD1) as sock:
        peer = H2(sock)
        assert peer.over(peer.request("/")).body == b"x" * 30


def stalled_streams_do_not_hold_up_others():
    """100 streams of one client stall on the connection to a server, 100 others of another client go through it."""
    proxy = s.the_proxy()
    with dial(GOOD2) as one, dial(GOOD2) as two:
        stalled, moving = H2(one, hello=settings(window=0)), H2(two)
        numbers = [stalled.request("/a/400000") for _ in range(100)]
        for number in numbers:
            while not stalled.stream(number).fields:
                stalled.next()
        for at in range(30):
            assert moving.over(moving.request(f"/b{at}/3000")).body == text_of(f"b{at}/3000"), at
        stalled.send(window(0, 1 << 30), settings(window=1 << 20))
        for number in numbers:
            stream = stalled.over(number)  # late on a busy machine
            assert stream.body == text_of("a/400000") or stream.reset == CANCEL, (len(stream.body), stream.reset)
    assert proxy.errors("http2.flow_control") == 0


if __name__ == "__main__":
    s.main((large_answers_to_readers_of_nothing, large_answers_without_window, small_answers_that_nobody_takes,
            small_answers_to_a_connection_that_does_not_read, slow_readers_that_move_get_all,
            uploads_to_servers_that_do_not_read, a_byte_at_a_time_from_the_server_is_no_idling,
            stalled_streams_do_not_hold_up_others), hcm={"stream_idle_timeout": "2s"})
