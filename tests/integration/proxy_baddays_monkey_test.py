#!/usr/bin/env python3
"""A monkey: random clients and servers of both versions, in random pieces, with resets, pauses, half-closes and rubbish,
while the configuration is read anew again and again. Good clients beside it always get the right bodies, and the proxy
ends well.

    proxy_baddays_monkey_test.py PROGRAM [SECONDS [SEED [WORKERS]]]
"""
import contextlib
import random
import signal
import struct
import sys
import threading
import time

import baddays_support as s
from baddays_support import (BAD1, BAD2, CANCEL, DATA, END_HEADERS, END_STREAM, GOAWAY, GOOD1, GOOD2, H2, HEADERS, PADDED, RST,
                             WINDOW, Reader, asks, block, dial, frame, read_all, reset, settings, text_of)

SECONDS, SEED, WORKERS = (int((sys.argv[at:] + [default])[0]) for at, default in ((2, "20"), (3, "0"), (4, "2")))
SEED = SEED or random.randrange(1, 1 << 30)
METHODS = ("GET", "POST", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH", "BREW")
over = threading.Event()
wrong = []
counts = {"right": 0, "other": 0}


def pieces(choose, sock, data):
    """The bytes in pieces, with pauses; False where it left in the middle."""
    at = 0
    while at < len(data):
        size = choose.choice((1, 2, 7, 100, 1460, 16384, len(data)))
        sock.sendall(data[at:at + size])
        at += size
        if choose.random() < 0.05:
            time.sleep(choose.random() * 0.02)
        if choose.random() < 0.02:
            leave(choose, sock)
            return False
    return True


def leave(choose, sock):
    how = choose.randrange(3)
    if how == 0:
        reset(sock)
    elif how == 1:
        sock.shutdown(1)
        sock.settimeout(0.2)
        with contextlib.suppress(TimeoutError):
            read_all(sock)
    sock.close()


def spoil(choose, data):
    """Sometimes a byte is another one."""
    if choose.random() < 0.1 and data:
        at = choose.randrange(len(data))
        return data[:at] + bytes((choose.randrange(256),)) + data[at + 1:]
    return data


def request1(choose, token, spoiled=True):
    method = choose.choice(METHODS)
    body = b"b" * choose.choice((0, 1, 100, 5000, 200000))
    head = f"{method} /{token}/{choose.choice((0, 1, 10, 3000, 100000))} HTTP/1.{choose.randrange(2)}\r\nHost: web\r\n"
    if choose.random() < 0.3:
        head += choose.choice(("Connection: close\r\n", "Expect: 100-continue\r\n", "Upgrade: websocket\r\nConnection: upgrade\r\n",
                               "TE: trailers\r\n", "Connection: keep-alive\r\n"))
    if body and choose.random() < 0.5 and "HTTP/1.1" in head:
        text = b"".join(b"%x\r\n%s\r\n" % (len(body[at:at + 1000]), body[at:at + 1000]) for at in range(0, len(body), 1000))
        data = head.encode() + b"Transfer-Encoding: chunked\r\n\r\n" + text + b"0\r\n\r\n"
    else:
        data = head.encode() + b"Content-Length: %d\r\n\r\n" % len(body) + body
    return spoil(choose, data) if spoiled else data


def client1(choose, which, token):
    with dial(which, receive=choose.choice((None, 4096)), timeout=choose.choice((0.05, 0.5, 2))) as sock:
        for turn in range(choose.randrange(1, 5)):
            if not pieces(choose, sock, request1(choose, f"{token}x{turn}")):
                return
            if choose.random() < 0.8:
                Reader(sock).answer()
        leave(choose, sock)


def client2(choose, which, token):
    with dial(which, receive=choose.choice((None, 4096)), timeout=choose.choice((0.05, 0.5, 2))) as sock:
        peer = H2(sock, hello=settings(window=choose.choice((0, 1, 1000, 65535, 1 << 20))), taking=choose.random() < 0.9)
        numbers = []
        for turn in range(choose.randrange(1, 30)):
            data, one = b"", 2 * turn + 1
            body = choose.choice((None, b"", b"b" * 10, b"b" * 16384))
            data += frame(HEADERS, END_HEADERS | (END_STREAM if body is None else 0), one,
                          block(*asks(f"/{token}x{turn}/{choose.choice((0, 10, 3000, 100000))}", method=choose.choice(METHODS))))
            if body is not None:
                data += frame(DATA, choose.choice((0, END_STREAM)), one, body)
            if choose.random() < 0.2:
                data += choose.choice((frame(RST, 0, one, struct.pack("!I", CANCEL)), frame(WINDOW, 0, one, struct.pack("!I", 7)),
                                       settings(window=choose.randrange(1 << 20)), frame(0x42, 7, one, b"x"),
                                       frame(GOAWAY, 0, 0, b"\0" * 8)))
            numbers.append(one)
            if not pieces(choose, sock, spoil(choose, data) if choose.random() < 0.1 else data):
                return
        for one in numbers:
            if choose.random() < 0.8:
                peer.over(one)
        leave(choose, sock)


def careful1(choose, which, token):
    """As odd as it may be, but right: its answers must be."""
    with dial(which) as sock:
        reader = Reader(sock)
        for turn in range(5):
            size = choose.choice((1, 10, 3000, 300000))
            post = choose.random() < 0.5
            body = bytes(choose.randrange(256) for _ in range(64)) * (size // 64 + 1)
            path = f"/{token}x{turn}/{size}"
            data = f"{'POST' if post else 'GET'} {path} HTTP/1.1\r\nHost: web\r\n".encode()
            data += b"Content-Length: %d\r\n\r\n" % len(body) + body if post else b"\r\n"
            for at in range(0, len(data), size := choose.choice((300, 5000, 100000))):
                sock.sendall(data[at:at + size])
            status, _, got = reader.answer()
            judge(status, got, body if post else text_of(path), (which, path, "HTTP/1"))


def careful2(choose, which, token):
    with dial(which) as sock:
        peer = H2(sock, hello=settings(window=choose.choice((1000, 65535, 1 << 20))))
        numbers = {}
        for turn in range(choose.randrange(1, 20)):
            path = f"/{token}x{turn}/{choose.choice((1, 10, 3000, 100000))}"
            numbers[peer.request(path)] = path
        for one, path in numbers.items():
            stream = peer.over(one)
            judge(stream.status, stream.body, text_of(path), (which, path, "HTTP/2", stream.reset))


def judge(status, got, wanted, what):
    if (status, got) == (200, wanted):
        counts["right"] += 1
    else:
        wrong.append((*what, status, len(got), len(wanted), got[:80]))


def serve1(sock):
    choose = random.Random()
    reader = Reader(sock)
    while True:
        reader.head()
        answer = choose.choice((
            s.OK, s.OK, s.OK + b"behind", s.OK[:-1], b"HTTP/1.1 204 N\r\n\r\n", b"HTTP/1.1 304 N\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nt: u\r\n\r\n", b"HTTP/1.0 200 OK\r\n\r\nabc",
            b"HTTP/1.1 100 C\r\n\r\n" + s.OK, b"HTTP/1.1 101 S\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\nbytes", b"\0\1",
            b"HTTP/1.1 200 OK\r\nContent-Length: 300000\r\n\r\n" + b"x" * 300000))
        if not pieces(choose, sock, spoil(choose, answer)):
            return
        if choose.random() < 0.3:
            leave(choose, sock)
            return


def serve2(sock):
    choose = random.Random()
    peer = H2(sock, server=True, hello=settings(window=choose.choice((0, 1, 65535, 1 << 20)), streams=choose.choice((1, 10, 100))))
    while True:
        kind, _, number, _ = peer.next()
        if kind != HEADERS:
            continue
        head = frame(HEADERS, END_HEADERS, number, block((":status", choose.choice(("200", "404", "103", "204")))))
        data = choose.choice((
            head + frame(DATA, END_STREAM, number, b"abc"), head + frame(DATA, PADDED | END_STREAM, number, b"\1abc\0"), head,
            frame(RST, 0, number, struct.pack("!I", choose.randrange(14))), frame(GOAWAY, 0, 0, struct.pack("!II", number, 0)),
            head + frame(DATA, 0, number, b"x" * 16384) * 3 + frame(HEADERS, END_HEADERS | END_STREAM, number, block(("t", "u"))),
            b""))
        if not pieces(choose, sock, spoil(choose, data)):
            return
        if choose.random() < 0.05:
            leave(choose, sock)
            return


def thread(number, kinds):
    choose, turn = random.Random(SEED * 1000 + number), 0
    while not over.is_set():
        kind, which = choose.choice(kinds)
        turn += 1
        try:
            kind(choose, which, f"m{number}t{turn}")
        except (OSError, EOFError, AssertionError, ValueError, IndexError) as error:
            counts["other"] += 1
            if kind in (careful1, careful2):
                wrong.append((kind.__name__, which, repr(error)))


def the_monkey():
    proxy, choose = s.the_proxy(), random.Random(SEED)
    print(f"seed {SEED}", flush=True)
    bad = [(kind, which) for kind in (client1, client2) for which in (BAD1, BAD2, GOOD1, GOOD2)]
    good = [(kind, which) for kind in (careful1, careful2) for which in s.OTHERS]
    with s.Server(BAD1, serve1) as one, s.Server(BAD2, serve2) as two:
        one.errors = two.errors = []  # what they do is not judged
        threads = [threading.Thread(target=thread, args=(number, bad if number < 8 else good), daemon=True) for number in range(12)]
        for one in threads:
            one.start()
        end = time.monotonic() + SECONDS
        while time.monotonic() < end and not wrong:
            time.sleep(choose.random() * 0.5)
            assert proxy.process.poll() is None, proxy.tail()
            if choose.random() < 0.3:  # what a listener or a cluster says changes
                for listener in proxy.config["static_resources"]["listeners"]:
                    listener["filter_chains"][0]["filters"][0]["typed_config"]["request_timeout"] = f"{choose.randrange(60, 90)}s"
                for cluster in proxy.config["static_resources"]["clusters"]:
                    cluster["connect_timeout"] = f"{choose.randrange(5, 9)}s"
                proxy.write()
            if choose.random() < 0.5:
                proxy.process.send_signal(signal.SIGHUP)
        over.set()
        for one in threads:
            one.join(s.PATIENCE)
    assert not wrong, wrong[:5]
    assert counts["right"] > 10, counts
    assert proxy.metric("fairlead_config_reloads_total", result="accepted") > 0
    print(counts, flush=True)


if __name__ == "__main__":
    del sys.argv[2:]
    s.main((the_monkey,), hcm={"stream_idle_timeout": "2s", "request_headers_timeout": "1s"}, workers=WORKERS)
