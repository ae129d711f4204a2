#!/usr/bin/env python3
"""Hostile servers of HTTP/1 and HTTP/2: they end, reset and stall at every byte of an answer, say too much, too large, too
late, in every frame and state. Clients get a whole answer or none; a flag and a counter say why.

    proxy_baddays_servers_test.py PROGRAM [test…]
"""
import contextlib
import struct
import threading
import time

import baddays_support as s
from baddays_support import (ACK, BAD1, BAD2, CANCEL, CONTINUATION, DATA, END_HEADERS, END_STREAM, GOAWAY, H2,
                             HEADERS, PADDED, PING, PUSH, REFUSED, RST, SETTINGS, WINDOW, Reader, block, counted,
                             dial, eventually, frame, literal, read_all, reset, settings)

PARSE = "fairlead_http_parse_errors_total"


def ask1(which, path="/x", timeout=s.PATIENCE):
    """(status, body) or None where the answer is not whole: over HTTP/1."""
    with dial(which, timeout=timeout) as sock:
        sock.sendall(f"GET {path} HTTP/1.1\r\nHost: web\r\n\r\n".encode())
        try:
            status, _, body = Reader(sock).answer()
            return status, body
        except (EOFError, ConnectionError):
            return None


def ask2(which, path="/x"):
    with dial(which) as sock:
        peer = H2(sock)
        stream = peer.over(peer.request(path))
        return (stream.status, stream.body) if stream.ended else None


# -- at every byte ----------------------------------------------------------------------------------------------------

LENGTH = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\nX-A: b\r\n\r\n0123456789"
CHUNKED = b"HTTP/1.1 103 E\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\n0123\r\n6\r\n456789\r\n0\r\nt: u\r\n\r\n"


def cut_at_every_byte(which, answer, serve):
    """serve(sock, data, how): answers with the data and ends."""
    proxy = s.the_proxy()
    now = [b"", None]
    server = s.Server(which, lambda sock: serve(sock, *now))
    for how in (reset, lambda sock: sock.close(), lambda sock: (sock.shutdown(1), read_all(sock))):
        for at in range(len(answer) + 1):
            now[:] = [answer[:at], how]
            for ask in (ask1, ask2) if at % 3 == 0 or at > len(answer) - 5 else (ask1,):
                got = ask(which)
                if at == len(answer):
                    assert got == (200, b"0123456789") or how is reset, (at, got)
                else:
                    assert got is None or got[0] in (502, 503) or got == (200, b"0123456789"), (at, answer[:at][-30:], got)
                assert proxy.process.poll() is None, at
    server.close()
    assert not server.errors, server.errors[0]


def serve_prefix1(sock, data, how):
    Reader(sock).head()
    sock.sendall(data)
    how(sock)


def serve_prefix2(sock, data, how):
    """The answer's bytes follow the request."""
    reader = Reader(sock)
    reader.exactly(len(s.MAGIC))
    while True:
        head = reader.exactly(9)
        reader.exactly(struct.unpack("!I", b"\0" + head[:3])[0])
        if head[3] == HEADERS:
            break
    sock.sendall(data)
    how(sock)


def http1_servers_that_end_at_every_byte():
    with counted(s.the_proxy(), "istio_requests_total", 10, response_flags="UC"):
        cut_at_every_byte(BAD1, LENGTH, serve_prefix1)
        cut_at_every_byte(BAD1, CHUNKED, serve_prefix1)


def http2_servers_that_end_at_every_byte():
    answer = (settings(window=70000) + frame(SETTINGS, ACK) + frame(HEADERS, END_HEADERS, 1, block((":status", "103"))) +
              frame(HEADERS, 0, 1, block((":status", "200"))[:5]) + frame(CONTINUATION, END_HEADERS, 1, block((":status", "200"))[5:]) +
              frame(DATA, PADDED, 1, b"\2" + b"0123\0\0") + frame(DATA, 0, 1, b"456789") +
              frame(HEADERS, END_HEADERS | END_STREAM, 1, block(("t", "u"))))
    with counted(s.the_proxy(), "istio_requests_total", 10, response_code="503"):
        cut_at_every_byte(BAD2, answer, serve_prefix2)


def answers_until_close_are_whole_by_a_fin_alone():
    for how, wanted in ((lambda sock: sock.close(), (200, b"")), (reset, None)):
        server = s.Server(BAD1, lambda sock, how=how: (Reader(sock).head(), sock.sendall(b"HTTP/1.0 200 OK\r\n\r\nabc"), time.sleep(0.05), how(sock)))
        got = ask2(BAD1)
        assert (got == (200, b"abc")) if wanted else got is None, got
        server.close()


# -- wrong answers ----------------------------------------------------------------------------------------------------

EVIL = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nEVIL"
ANSWERS1 = {
    "content_length_and_transfer_encoding": b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nEVIL\r\n0\r\n\r\n",
    "content_length_differs": b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\nEVIL",
    "head_too_large": b"HTTP/1.1 200 OK\r\nX: " + b"a" * 70000 + b"\r\n\r\n",
    "too_many_fields": b"HTTP/1.1 200 OK\r\n" + b"X: a\r\n" * 300 + b"Content-Length: 4\r\n\r\nEVIL",
    "interim_flood": b"HTTP/1.1 103 E\r\n\r\n" * 1000 + EVIL,
    "upgrade_unasked": b"HTTP/1.1 101 X\r\nUpgrade: h2c\r\nConnection: upgrade\r\n\r\n" + EVIL,
    "version_syntax": b"HTP/1.1 200 OK\r\n\r\n",
    "line_end": b"HTTP/1.1 200 OK\r\nX: a\rSet-Cookie: evil\r\nContent-Length: 0\r\n\r\n",
    "space_before_colon": b"HTTP/1.1 200 OK\r\nX y: a\r\nContent-Length: 0\r\n\r\n",
}


def wrong_answers_of_http1():
    proxy = s.the_proxy()
    for word, answer in ANSWERS1.items():
        server = s.Server(BAD1, lambda sock, answer=answer: (Reader(sock).head(), sock.sendall(answer), read_all(sock)))
        for ask in (ask1, ask2):
            before, flags = proxy.metric(PARSE, side="upstream"), proxy.flags("UPE", "502")
            got = ask(BAD1)
            assert got is not None and got[0] == 502 and b"EVIL" not in got[1], (word, got)
            assert proxy.metric(PARSE, side="upstream") == before + 1, word
            assert proxy.flags("UPE", "502") == flags + 1, word
        server.close()
        assert proxy.errors(word, "upstream") >= 1, (word, [line for line in proxy.admin("/stats/prometheus")[1].splitlines()
                                                            if PARSE in line])


def serve_frames(*frames, grace=True):
    """An HTTP/2 server that answers the first request with these bytes, and reads on."""
    def serve(sock):
        peer = H2(sock, server=True)
        while True:
            kind, _, number, _ = peer.next()
            if kind == HEADERS:
                break
        with contextlib.suppress(ConnectionError):
            peer.send(*frames)
        with contextlib.suppress(EOFError, ConnectionError):
            while grace and peer.next()[0] != HEADERS:
                pass
            peer.send(frame(GOAWAY, 0, 0, struct.pack("!II", 1, 0)))  # another request: not here
    return serve


GOOD_HEAD = frame(HEADERS, END_HEADERS, 1, block((":status", "200")))
ANSWERS2 = {  # an answer that must not look whole
    "no status": frame(HEADERS, END_HEADERS | END_STREAM, 1, block(("x", "y"))),
    "two statuses": frame(HEADERS, END_HEADERS | END_STREAM, 1, block((":status", "200"), (":status", "200"))),
    "status of letters": frame(HEADERS, END_HEADERS | END_STREAM, 1, block((":status", "2x0"))),
    "status 101": frame(HEADERS, END_HEADERS | END_STREAM, 1, block((":status", "101"))),
    "status 099": frame(HEADERS, END_HEADERS | END_STREAM, 1, block((":status", "099"))),
    "interim that ends": frame(HEADERS, END_HEADERS | END_STREAM, 1, block((":status", "103"))),
    "path": frame(HEADERS, END_HEADERS | END_STREAM, 1, block((":status", "200"), (":path", "/"))),
    "connection": frame(HEADERS, END_HEADERS | END_STREAM, 1, block((":status", "200"), ("connection", "close"))),
    "coding": frame(HEADERS, END_HEADERS | END_STREAM, 1, block((":status", "200"), ("transfer-encoding", "chunked"))),
    "line in value": frame(HEADERS, END_HEADERS | END_STREAM, 1, block((":status", "200"), ("x", "1\r\nset-cookie: evil"))),
    "upper case": frame(HEADERS, END_HEADERS | END_STREAM, 1, block((":status", "200"), ("X-Y", "1"))),
    "shorter": frame(HEADERS, END_HEADERS, 1, block((":status", "200"), ("content-length", "5"))) + frame(DATA, END_STREAM, 1, b"abcd"),
    "longer": frame(HEADERS, END_HEADERS, 1, block((":status", "200"), ("content-length", "3"))) + frame(DATA, END_STREAM, 1, b"abcd"),
    "data first": frame(DATA, END_STREAM, 1, b"abcd"),
    "trailers with status": GOOD_HEAD + frame(HEADERS, END_HEADERS | END_STREAM, 1, block((":status", "200"))),
    "trailers without end": GOOD_HEAD + frame(HEADERS, END_HEADERS, 1, block(("t", "u"))) + frame(DATA, END_STREAM, 1, b"EVIL"),
    "interim flood": frame(HEADERS, END_HEADERS, 1, block((":status", "103"))) * 5000,
    "push": frame(PUSH, END_HEADERS, 1, b"\0\0\0\2" + block(*s.asks("/evil"))),
    "stream of its own": frame(HEADERS, END_HEADERS | END_STREAM, 2, block((":status", "200"))),
    "answer to nobody": frame(HEADERS, END_HEADERS | END_STREAM, 99, block((":status", "200"))),
    "bad compression": frame(HEADERS, END_HEADERS | END_STREAM, 1, b"\xff\xff\xff\xff\xff\xff"),
    "large frame": frame(DATA, 0, 1, b"x" * 20000),
    "settings flood": settings(window=65535) * 5000,
    "ping flood": frame(PING, 0, 0, b"12345678") * 20000,
    "empty flood": GOOD_HEAD + frame(DATA, 0, 1) * 5000,
    "continuation flood": frame(HEADERS, 0, 1, block((":status", "200"))) + frame(CONTINUATION, 0, 1, literal("a", "b")) * 5000,
    "window of zero": frame(WINDOW, 0, 0, b"\0\0\0\0"),
    "window too large": frame(WINDOW, 0, 0, b"\x7f\xff\xff\xff") * 3,
    "bad initial window": frame(SETTINGS, 0, 0, b"\0\4\xff\xff\xff\xff"),
    "bad frame size": frame(SETTINGS, 0, 0, b"\0\5\0\0\0\1"),
    "goaway of nobody": frame(GOAWAY, 0, 0, b"\0\0\0\0\0\0\0\0"),
    "refused": frame(RST, 0, 1, struct.pack("!I", REFUSED)),
    "cancelled": frame(RST, 0, 1, struct.pack("!I", CANCEL)),
    "http/1.1 required": frame(RST, 0, 1, struct.pack("!I", 13)),
    "unknown code": frame(RST, 0, 1, b"\xff\xff\xff\xff"),
    "head too large": frame(HEADERS, END_HEADERS | END_STREAM, 1, block((":status", "200")) + b"\x40" + literal("x", "a" * 3900)[1:] + b"\xbe" * 5000),
    "too many fields": frame(HEADERS, END_HEADERS | END_STREAM, 1, block((":status", "200"), *(("x", "y"),) * 300)),
    "HTTP/1": s.OK,
    "rubbish": b"\0\1\2\3" * 5000,
}


def wrong_answers_of_http2():
    proxy = s.the_proxy()
    for what, answer in ANSWERS2.items():
        server = s.Server(BAD2, serve_frames(answer))
        for ask in (ask1, ask2):
            codes = proxy.metric("istio_requests_total", response_flags="-", response_code="200")
            got = ask(BAD2)
            assert got is None or got[0] in (502, 503), (what, got)
            assert proxy.process.poll() is None, what
            flags = sum(proxy.flags(flag) for flag in ("UPE", "UR", "UC", "UF", "URX"))
            assert flags > 0 and codes <= proxy.metric("istio_requests_total", response_flags="-", response_code="200"), what
        server.close()
        assert not server.errors, (what, server.errors[0])
    eventually(lambda: proxy.open("upstream") <= 4, "all connections are gone")
    for word in ("http2.message", "http2.content_length", "http2.interim_flood", "http2.compression", "http2.settings_flood",
                 "http2.ping_flood", "http2.empty_data_flood", "http2.continuation_flood", "http2.flow_control",
                 "http2.settings", "http2.head_too_large"):
        assert proxy.errors(word, "upstream") >= 1, word


def every_frame_of_a_server_in_every_state():
    proxy = s.the_proxy()
    befores = {"asked": b"", "answered": GOOD_HEAD, "ended": GOOD_HEAD + frame(DATA, END_STREAM, 1, b"ok"),
               "block": frame(HEADERS, 0, 1, block((":status", "200")))[:-2]}
    payloads = (b"", b"\0\0\0\1", b"\0" * 8, block((":status", "200")), b"\xff" * 9, b"\0\4\xff\xff\xff\xff", b"\0\0\0\0\1")
    for name, before in befores.items():
        for kind in (*range(10), 0x20):
            for number in (0, 1, 2, 3):
                frames = [frame(kind, flags, number, payload) for payload in payloads for flags in (0, 0xff)]
                server = s.Server(BAD2, serve_frames(before, *frames, grace=False))
                got = ask2(BAD2)
                assert got is None or got[0] in (200, 502, 503), (name, kind, number, got)
                server.close()
        assert proxy.process.poll() is None, name


def many_streams_of_a_connection_that_breaks():
    """50 requests share a connection; the server answers one and breaks: the others hear of it, once each."""
    proxy = s.the_proxy()

    def serve(sock):
        peer, asked = H2(sock, server=True), []
        while len(asked) < 50:
            kind, _, number, _ = peer.next()
            if kind == HEADERS:
                asked.append(number)
        peer.answer(asked[7])
        peer.send(b"\0\0\0\0\0")
        reset(sock)
    server = s.Server(BAD2, serve)
    with dial(BAD2) as sock:
        peer = H2(sock)
        numbers = [peer.request("/x", method="POST", body=b"x") for _ in range(50)]
        got = [peer.over(one) for one in numbers]
        assert sum(stream.status == 200 for stream in got) <= 1
        assert all(stream.status in (200, 503) for stream in got), [stream.status for stream in got]
    server.close()
    eventually(lambda: proxy.flags("UC", "503") + proxy.flags("UR", "503") >= 49, "each has its flag")


def answers_before_the_upload_was_taken():
    """The server gives no window, answers and says GOAWAY: what is left of the upload goes with the connection."""
    uploaded = threading.Event()

    def serve(sock):
        peer = H2(sock, server=True, hello=settings(), taking=False)
        while len(peer.stream(1).body) < 65535:
            peer.next()
        uploaded.wait(s.PATIENCE)
        time.sleep(0.1)  # the proxy has the rest by then, or this is another case
        peer.send(frame(HEADERS, END_HEADERS | END_STREAM, 1, block((":status", "200"), ("content-length", "0"))),
                  frame(GOAWAY, 0, 0, struct.pack("!II", 1, 0)))
        peer.to_end()
    for _ in range(5):
        with s.Server(BAD2, serve), dial(BAD2) as sock:
            uploaded.clear()
            peer = H2(sock)
            while not peer.settings:
                peer.next()
            one = peer.request("/x", method="POST", end=False)
            peer.upload(one, b"x" * 100000)
            uploaded.set()
            assert peer.over(one).status == 200
    eventually(lambda: s.the_proxy().open("upstream") <= 4, "their connections end")


def a_server_that_reads_late_gives_its_windows_at_once():
    """It has not run for a while: then 3,000 small frames are there, and it says two WINDOW_UPDATEs for each of them."""
    asked = threading.Event()

    def serve(sock):
        peer, count = H2(sock, server=True, taking=False), 0
        while not peer.stream(1).ended:
            kind, _, number, _ = peer.next()
            count += kind == DATA
            if kind == HEADERS:
                asked.set()
        assert count >= 3000, count
        peer.send(*(frame(WINDOW, 0, one, struct.pack("!I", 10)) for _ in range(count) for one in (0, number)))
        peer.answer(1)
        peer.to_end()
    with s.Server(BAD2, serve), dial(BAD2) as sock:
        peer = H2(sock)
        one = peer.request("/x", method="POST", end=False)
        assert asked.wait(s.PATIENCE)
        for at in range(30):
            peer.send(*(frame(DATA, END_STREAM if (at, last) == (29, 99) else 0, one, b"0123456789") for last in range(100)))
        stream = peer.over(one)
        assert (stream.status, stream.body) == (200, b"ok"), (stream.status, stream.body)


def servers_that_never_answer():
    """Half-open: nothing comes any more. The stream's idle time is 2 s here."""
    proxy = s.the_proxy()
    def stall2(sock):
        peer = H2(sock, server=True, polite=False)
        peer.send(b"\0\0\4")
        peer.to_end()
    for which, serve in ((BAD1, lambda sock: read_all(sock)), (BAD2, stall2),
                         (BAD1, lambda sock: (Reader(sock).head(), sock.sendall(LENGTH[:-3]), read_all(sock)))):
        server = s.Server(which, serve)
        before = proxy.flags("SI")
        for ask in (ask1, ask2):
            got = ask(which)
            assert got is None or got[0] == 504, got
        assert proxy.flags("SI") == before + 2
        server.close()


if __name__ == "__main__":
    s.main((http1_servers_that_end_at_every_byte, http2_servers_that_end_at_every_byte,
            answers_until_close_are_whole_by_a_fin_alone, wrong_answers_of_http1, wrong_answers_of_http2,
            every_frame_of_a_server_in_every_state, many_streams_of_a_connection_that_breaks,
            answers_before_the_upload_was_taken, a_server_that_reads_late_gives_its_windows_at_once,
            servers_that_never_answer),
           hcm={"stream_idle_timeout": "2s"})
