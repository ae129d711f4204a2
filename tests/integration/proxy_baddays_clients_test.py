#!/usr/bin/env python3
"""Hostile clients of HTTP/1 and HTTP/2: floods, bombs, every frame in every state, resets at every byte, smuggling. Good
clients beside them are served all the time, and a counter or a flag has each attack's name.

    proxy_baddays_clients_test.py PROGRAM [test…]
"""
import contextlib
import struct
import threading

import baddays_support as s
from baddays_support import (ACK, BAD1, CALM, CANCEL, COMPRESSION, CONTINUATION, DATA, END_HEADERS, END_STREAM, FLOW,
                             GOOD1, GOOD2, H2, HAS_PRIORITY, HEADERS, MAGIC, PADDED, PING, PRIORITY,
                             PROTOCOL, RST, WINDOW, Reader, asks, block, counted, dial, eventually, frame, literal,
                             read_all, reset, settings, text_of)

PARSE = "fairlead_http_parse_errors_total"
ASK = frame(HEADERS, END_HEADERS | END_STREAM, 1, block(*asks("/a/10")))
OPEN = frame(HEADERS, END_HEADERS, 1, block(*asks("/a/10", method="POST")))


# -- floods -----------------------------------------------------------------------------------------------------------

def endless(make, most=60000):
    """Sends make(0), make(1), … until the proxy hangs up; the GOAWAY's code."""
    with dial(GOOD1) as sock:
        peer = H2(sock, polite=False)
        try:
            for at in range(0, most, 50):
                peer.send(*(make(one) for one in range(at, at + 50)))
        except ConnectionError:
            pass
        return peer.to_end()


FLOODS = {
    "http2.reset_flood": lambda at: frame(HEADERS, END_HEADERS | END_STREAM, 2 * at + 1, block(*asks("/a/10"))) +
    frame(RST, 0, 2 * at + 1, struct.pack("!I", CANCEL)),
    "http2.settings_flood": lambda at: settings(window=65535 + at),
    "http2.ping_flood": lambda at: frame(PING, ACK, 0, b"12345678"),
    "http2.priority_flood": lambda at: frame(PRIORITY, 0, 2 * at + 1, b"\0\0\0\0\1"),
    "http2.window_update_flood": lambda at: frame(WINDOW, 0, 0, struct.pack("!I", 1)),
    "http2.empty_data_flood": lambda at: (OPEN if at == 0 else b"") + frame(DATA, 0, 1),
    "http2.continuation_flood": lambda at: (frame(HEADERS, 0, 1, block(*asks("/a/10"))) if at == 0 else b"") +
    frame(CONTINUATION, 0, 1, literal("a", "b")),
}


def floods_end_the_connection():
    for word, make in FLOODS.items():
        with counted(s.the_proxy(), PARSE, side="downstream", reason=word):
            code = endless(make)
            assert code in (CALM, None), (word, code)  # none: a reset came first, for bytes were on their way


def faults_of_ours_are_counted_as_resets():
    """MadeYouReset: the client's faults make the proxy reset."""
    def make(at):
        return frame(HEADERS, END_HEADERS, 2 * at + 1, block(*asks("/a/10"))) + frame(WINDOW, 0, 2 * at + 1, b"\0\0\0\0")
    with counted(s.the_proxy(), PARSE, side="downstream", reason="http2.reset_flood"):
        endless(make)


def pings_to_a_client_that_does_not_read():
    with dial(GOOD1, receive=4096) as sock, counted(s.the_proxy(), PARSE, side="downstream", reason="http2.ping_flood"):
        peer = H2(sock, polite=False)
        with contextlib.suppress(ConnectionError):
            for _ in range(20000):
                peer.send(frame(PING, 0, 0, b"12345678") * 20)
        peer.to_end()


def header_bombs():
    proxy = s.the_proxy()
    big = literal("x-big", "a" * 3900)
    indexed = b"\x40" + big[1:]  # into the table, then named again and again
    with counted(proxy, PARSE, side="downstream", reason="http2.head_too_large"), dial(GOOD1) as sock:
        peer = H2(sock)
        peer.send(frame(HEADERS, END_HEADERS | END_STREAM, 1, block(*asks("/a/10")) + indexed + b"\xbe" * 10000))
        stream = peer.over(1)
        assert stream.status == 431 or peer.goaway == CALM, (stream.status, stream.reset, peer.goaway)
    with counted(proxy, PARSE, side="downstream", reason="http2.compression"), dial(GOOD1) as sock:
        peer = H2(sock)
        peer.send(frame(HEADERS, END_HEADERS | END_STREAM, 1, b"\xff\xff\xff\xff\xff\xff\xff\xff"))
        assert peer.to_end() == COMPRESSION
    with counted(proxy, PARSE, side="downstream", reason="http2.head_too_large"), dial(GOOD1) as sock:
        peer = H2(sock)
        peer.last = 1
        peer.send(frame(HEADERS, END_HEADERS | END_STREAM, 1, block(*asks("/a/10"), *(("x", "y"),) * 200)))
        assert peer.over(1).status == 431
        assert peer.over(peer.request("/b/10")).body == text_of("b/10")  # the table is right still
    with counted(proxy, PARSE, side="downstream", reason="too_many_fields"), dial(GOOD1) as sock:
        sock.sendall(b"GET / HTTP/1.1\r\nHost: web\r\n" + b"x: y\r\n" * 200 + b"\r\n")
        assert Reader(sock).answer()[0] == 431
    with counted(proxy, PARSE, side="downstream", reason="head_too_large"), dial(GOOD1) as sock:
        sock.sendall(b"GET / HTTP/1.1\r\nHost: web\r\nx: " + b"y" * 70000)
        assert Reader(sock).answer()[0] == 431


def more_streams_than_allowed():
    with counted(s.the_proxy(), PARSE, 50, side="downstream", reason="http2.too_many_streams"), dial(GOOD1) as sock:
        peer = H2(sock)
        numbers = [peer.request("/a/10", method="POST", end=False) for _ in range(150)]
        assert [peer.over(one).reset for one in numbers[100:]] == [s.REFUSED] * 50
        peer.send(*(frame(DATA, END_STREAM, one, b"x") for one in numbers[:100]))
        assert [peer.over(one).body for one in numbers[:100]] == [b"x"] * 100


def uploads_beyond_what_was_said():
    proxy = s.the_proxy()
    for body, end in ((b"abcdef", True), (b"ab", True), (b"abcdef", False)):
        with counted(proxy, PARSE, side="downstream", reason="http2.content_length"), dial(GOOD1) as sock:
            peer = H2(sock)
            one = peer.request("/a/10", ("content-length", "4"), method="POST", body=body, end=end)
            assert peer.over(one).reset == PROTOCOL
            assert peer.over(peer.request("/b/10")).status == 200
    server = s.Server(BAD1, lambda sock: threading.Event().wait(3))  # reads nothing
    with counted(proxy, PARSE, side="downstream", reason="http2.flow_control"), dial(BAD1) as sock:
        peer = H2(sock)
        one = peer.request("/a", method="POST", end=False)
        with contextlib.suppress(ConnectionError):
            for _ in range(60):  # 10 MiB, whatever the window
                peer.send(frame(DATA, 0, one, b"x" * 16384) * 10)
        assert peer.over(one).reset in (FLOW, -1)
    server.close()


# -- every frame in every state ---------------------------------------------------------------------------------------

STATES = {  # what brings stream 1 there
    "idle": b"",
    "open": OPEN,
    "half-closed": frame(HEADERS, END_HEADERS | END_STREAM, 1, block(*asks("/hold/1"))),
    "reset": OPEN + frame(RST, 0, 1, struct.pack("!I", CANCEL)),
    "block": frame(HEADERS, 0, 1, block(*asks("/a/10"))[:10]),
}
PAYLOADS = {
    "empty": b"", "five": b"\0\0\0\0\1", "four": b"\0\0\0\1", "zeros": b"\0" * 8, "block": block(*asks("/a/10")),
    "itself": b"\0\0\0\1\1", "padding": b"\xff" * 9, "six": b"\0\4\xff\xff\xff\xff", "large": b"x" * 16385,
}


def every_frame_in_every_state():
    proxy = s.the_proxy()
    for name, before in STATES.items():
        for kind in (*range(10), 0x10, 0xee):
            for number in (0, 1, 2, 0x80000001 & 0xffffffff):
                with dial(GOOD1) as sock:
                    sock.sendall(MAGIC + settings() + before)
                    for payload in PAYLOADS.values():
                        for flags in (0, 0xff, END_STREAM | END_HEADERS):
                            with contextlib.suppress(ConnectionError):
                                sock.sendall(frame(kind, flags, number, payload))
                    with contextlib.suppress(OSError):
                        sock.shutdown(1)
                    read_all(sock)
        assert proxy.process.poll() is None, name


def each_frame_alone_in_every_state():
    """As above, but a connection for each, pipelined: what is answered is a GOAWAY, a reset or the request's own answer."""
    for name, before in STATES.items():
        for kind in range(10):
            for number in (0, 1, 3):
                for payload in PAYLOADS.values():
                    with dial(GOOD1) as sock:
                        with contextlib.suppress(ConnectionError):
                            sock.sendall(MAGIC + settings() + before + frame(kind, END_HEADERS, number, payload))
                            reset(sock) if kind % 2 else sock.shutdown(1)
                        if kind % 2 == 0:
                            read_all(sock)
    eventually(lambda: s.the_proxy().open("downstream") <= 4, "all are gone")


# -- at every byte ----------------------------------------------------------------------------------------------------

H1_REQUEST = (b"POST /a/10 HTTP/1.1\r\nHost: web\r\nTransfer-Encoding: chunked\r\nx: y\r\n\r\n4\r\nabcd\r\n3;e=1\r\nefg\r\n0\r\n"
              b"t: u\r\n\r\n")
H2_REQUEST = (MAGIC + settings(window=100) + frame(HEADERS, END_HEADERS | HAS_PRIORITY, 1, b"\0\0\0\0\1" +
                                                   block(*asks("/a/10", ("te", "trailers"), method="POST"))) +
              frame(DATA, PADDED, 1, b"\2abcd\0\0") + frame(DATA, 0, 1, b"efg") +
              frame(HEADERS, END_HEADERS | END_STREAM, 1, block(("t", "u"))))


def clients_that_leave_at_every_byte():
    proxy = s.the_proxy()
    for request in (H1_REQUEST, H2_REQUEST):
        for which in (GOOD1, GOOD2):
            for leave in (reset, lambda sock: (sock.shutdown(1), read_all(sock), sock.close())):
                for at in range(1, len(request) + 1):
                    sock = dial(which)
                    sock.sendall(request[:at])
                    with contextlib.suppress(OSError):
                        leave(sock)
    assert proxy.flags("DC") > 0
    eventually(lambda: proxy.open("downstream") <= 4, "all are gone")


def requests_byte_by_byte():
    for which in (GOOD1, GOOD2):
        with dial(which) as sock:
            for at in range(len(H1_REQUEST)):
                sock.sendall(H1_REQUEST[at:at + 1])
            assert Reader(sock).answer()[2] == b"abcdefg"
        with dial(which) as sock:
            peer = H2(sock, hello=b"")
            for at in range(len(MAGIC), len(H2_REQUEST)):
                sock.sendall(H2_REQUEST[at:at + 1])
            assert peer.over(1).body == b"abcdefg"


# -- smuggling --------------------------------------------------------------------------------------------------------

BAD_REQUESTS = {  # fields that make a request of HTTP/2 malformed
    "coding": asks("/", ("transfer-encoding", "chunked")),
    "connection": asks("/", ("connection", "close")),
    "keep-alive": asks("/", ("keep-alive", "x")),
    "proxy-connection": asks("/", ("proxy-connection", "x")),
    "upgrade": asks("/", ("upgrade", "h2c"), ("http2-settings", "AAMAAABkAARAAAAAAAIAAAAA")),
    "te": asks("/", ("te", "gzip")),
    "upper case": asks("/", ("X-Upper", "1")),
    "space in name": asks("/", ("x y", "1")),
    "colon in name": asks("/", ("x:y", "1")),
    "line in name": asks("/", ("x\r\nevil: 1\r\n", "1")),
    "empty name": asks("/", ("", "1")),
    "line in value": asks("/", ("x", "1\r\nevil: 1")),
    "bare line feed": asks("/", ("x", "1\nevil: 1")),
    "null in value": asks("/", ("x", "1\0")),
    "space before value": asks("/", ("x", " 1")),
    "tab after value": asks("/", ("x", "1\t")),
    "line in path": asks("/ HTTP/1.1\r\nevil: 1\r\n\r\nGET /smuggled"),
    "space in path": asks("/a b"),
    "empty path": asks(""),
    "no slash": asks("a"),
    "null in path": asks("/\0"),
    "line in method": asks("/", method="GET / HTTP/1.1\r\nevil: 1\r\n\r\nGET"),
    "space in method": asks("/", method="GET /x"),
    "empty method": asks("/", method=""),
    "line in authority": asks("/", authority="web\r\nevil: 1"),
    "space in authority": asks("/", authority="web evil"),
    "user in authority": asks("/", authority="user@web"),
    "path in authority": asks("/", authority="web/evil"),
    "two hosts": asks("/", ("host", "evil")),
    "two host fields": asks("/", ("host", "web"), ("host", "evil")),
    "two lengths": asks("/", ("content-length", "0"), ("content-length", "1")),
    "length with sign": asks("/", ("content-length", "+0")),
    "length list": asks("/", ("content-length", "0, 0")),
    "no method": asks("/")[1:],
    "no path": (*asks("/")[:2], asks("/")[3]),
    "two paths": (*asks("/"), (":path", "/evil")),
    "pseudo-field behind": (("x", "1"), *asks("/")),
    "unknown pseudo-field": (*asks("/"), (":evil", "1")),
    "status": (*asks("/"), (":status", "200")),
    "scheme of lines": ((":method", "GET"), (":scheme", "http\r\nx"), (":path", "/"), (":authority", "web")),
    "connect with path": asks("/", method="CONNECT"),
    "connect without authority": ((":method", "CONNECT"),),
    "protocol without connect": (*asks("/"), (":protocol", "websocket")),
    "connect to a line": ((":method", "CONNECT"), (":authority", "web:80\r\nevil: 1")),
    "connect to a path": ((":method", "CONNECT"), (":authority", "web:80/evil")),
}


def keep_heads(seen):
    def serve(sock):
        reader = Reader(sock)
        while True:
            line, fields = reader.head()
            seen.append((line, fields))
            reader.body(fields)
            sock.sendall(s.OK)
    return serve


def malformed_requests_of_http2_never_leave():
    proxy, seen = s.the_proxy(), []
    server = s.Server(BAD1, keep_heads(seen))
    for what, fields in BAD_REQUESTS.items():
        with dial(BAD1) as sock:
            peer = H2(sock)
            before = len(seen), proxy.metric(PARSE)
            peer.last = 1
            peer.send(frame(HEADERS, END_HEADERS | END_STREAM, 1, block(*fields)))
            stream = peer.over(1)
            assert stream.reset == PROTOCOL or stream.status == 400, (what, stream.status, stream.reset, seen[before[0]:])
            assert len(seen) == before[0], (what, seen[before[0]:])
            if stream.reset:
                assert proxy.metric(PARSE) > before[1], what
            assert peer.over(peer.request("/next")).status == 200, what
    server.close()


def framing_never_comes_by_trailers():
    seen = []
    server = s.Server(BAD1, keep_heads(seen))
    for fields in ((("content-length", "4"),), (("transfer-encoding", "chunked"),), (("host", "evil"),), ((":path", "/evil"),),
                   (("x", "1\r\nevil: 1"),), (("connection", "x"),), (("authorization", "x"),)):
        with dial(BAD1) as sock:
            peer = H2(sock)
            one = peer.request("/t", ("te", "trailers"), method="POST", body=b"abc", end=False)
            peer.send(frame(HEADERS, END_HEADERS | END_STREAM, one, block(*fields)))
            stream = peer.over(one)
            assert stream.reset == PROTOCOL or stream.status in (200, 400, 503), (fields, stream.status, stream.reset)
            assert peer.over(peer.request("/next")).status == 200, fields
    assert not [one for one in seen if "evil" in str(one)], seen
    server.close()


def fields_between_sidecars_never_come_from_outside():
    seen = []
    server = s.Server(BAD1, keep_heads(seen))
    names = ("fairlead-http", "fairlead-http-trailers", "Fairlead-HTTP", "fairlead-http1", "fairlead-peer")
    for name in names:
        with dial(BAD1) as sock:
            sock.sendall(f"GET / HTTP/1.1\r\nHost: web\r\n{name}: 1.0;h=evil;f=c\r\nConnection: close\r\n\r\n".encode())
            assert Reader(sock).answer()[0] == 200
        with dial(BAD1) as sock:
            peer = H2(sock)
            assert peer.over(peer.request("/", (name.lower(), "1.0;h=evil"))).status == 200
    for line, fields in seen:
        assert line == "GET / HTTP/1.1" and fields["host"] == "web", (line, fields)
    server.close()


def upgrades_that_are_none():
    """h2c by Upgrade is not spoken: the server is asked in HTTP/1 and the field is not passed on as an offer of ours."""
    seen = []
    server = s.Server(BAD1, keep_heads(seen))
    with dial(BAD1) as sock:
        sock.sendall(b"GET /u HTTP/1.1\r\nHost: web\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n"
                     b"HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n\r\nGET /behind HTTP/1.1\r\nHost: web\r\n\r\n")
        reader = Reader(sock)
        assert reader.answer()[0] == 200
    assert [line for line, _ in seen if "behind" in line] == [], seen
    assert "h2c" not in str(seen), seen
    server.close()


def slow_heads():
    """Slowloris; its time is a second here."""
    proxy = s.the_proxy()
    with counted(proxy, "istio_requests_total", 2, response_code="408", response_flags="DPE"):
        held = [dial(GOOD1) for _ in range(40)]
        for at, sock in enumerate(held):
            sock.sendall((b"GET / HTTP/1.1\r\nHo", b"PRI * HTT", b"G", MAGIC + settings() + ASK[:12])[at % 4])
        for at, sock in enumerate(held):
            got = read_all(sock)
            assert (b" 408 " in got) if at % 4 in (0, 2) else True, (at, got)
            sock.close()
    eventually(lambda: proxy.open("downstream") <= 4, "all are gone")


if __name__ == "__main__":
    s.main((floods_end_the_connection, faults_of_ours_are_counted_as_resets, pings_to_a_client_that_does_not_read, header_bombs,
            more_streams_than_allowed, uploads_beyond_what_was_said, every_frame_in_every_state,
            each_frame_alone_in_every_state, clients_that_leave_at_every_byte, requests_byte_by_byte,
            malformed_requests_of_http2_never_leave, framing_never_comes_by_trailers,
            fields_between_sidecars_never_come_from_outside, upgrades_that_are_none, slow_heads),
           hcm={"request_headers_timeout": "1s"})
