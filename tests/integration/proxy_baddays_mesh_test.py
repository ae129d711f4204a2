#!/usr/bin/env python3
"""Hostile members of the mesh: a client and a server with certificates that are right, who speak ALPN fairlead-http/1 and lie
in the preface, in the private field that puts messages together again, and in HTTP/2. Good ones beside them are served.

    client ─TLS─► 8007 ─► fairlead-proxy ─► 9001       client ─► 8008 ─► fairlead-proxy ─TLS─► 9008
    good client ─► 8009 ─► fairlead-proxy ─TLS─► 8010 ─► fairlead-proxy ─► 9003

    proxy_baddays_mesh_test.py PROGRAM [test…]
"""
import atexit
import contextlib
import shutil
import socket
import ssl
import struct
import threading

import baddays_support as s
import proxy_support as pods
from baddays_support import (ACK, BAD1, CALM, CANCEL, DATA, END_HEADERS, END_STREAM, H2, HEADERS, PING, PROTOCOL, RST, Reader,
                             asks, block, counted, dial, eventually, frame, literal, read_all, settings)

IN, OUT, PAIR, PAIR_IN = 7, 8, 9, 10
PARSE, REFUSED = "fairlead_http_parse_errors_total", "fairlead_connections_refused_total"
ME = "spiffe://cluster.local/ns/demo/sa/me"
HELLO = b"FLP\1\0\0"
GARBAGE = (  # values of the private field that are none, of a request
    "", "x", "2t", "11t", "1", "t", "1T", "1x", "1t ", " 1t", "1t,", "1t,,", "1t,q", "1t;c", "1tc", "1l,h", "1l,hx", "1l,e", "1l,t",
    "1l,u", "1l,h0,", "1l,h9999", "1t,c,h0", "1t,n", "1t,n0", "1t,n0x", "1t,nx1", "1t,n999x1", "1t,n0xg", "1t,n0x" + "f" * 17,
    "1t,z", "1t,rOK", "1t,a1", "1t,A,e0", "1t,n0x1,t0", "1t,h-1", "1t,-", "\xff", "1t,\xff", "1t,h0\xff", "1l" + ",e0" * 200,
    "1" + "t" * 1023, "1t" + ",n0x1" * 2000)
GARBAGE_ANSWERS = ("", "x", "2t", "1", "1t,", "1t,q", "1t,a", "1t,A", "1t,e", "1t,n99x1", "1t,r\x80", "1t,r%0d%0aevil:%201", "1t,r%00",
                   "1t,r%", "1t,r%4", "1t,r%zz", "1l" + ",e0" * 200)


# -- the members ------------------------------------------------------------------------------------------------------

def meshed(which=IN, preface=HELLO, polite=True):
    """A client's HTTP/2 behind TLS and both prefaces."""
    sock = pods.tls_client("member", "fairlead-http/1").wrap_socket(dial(which))
    assert sock.selected_alpn_protocol() == "fairlead-http/1"
    sock.sendall(preface)
    peer = H2(sock, polite=polite)
    head = peer.reader.exactly(6)
    assert head[:4] == HELLO[:4]
    peer.reader.exactly(struct.unpack("!H", head[4:])[0])
    return peer


def server_context():
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pods.FOLDER / "member" / "cert-chain.pem", pods.FOLDER / "member" / "key.pem")
    context.set_alpn_protocols(["fairlead-http/1"])
    return context


@contextlib.contextmanager
def meshed_server(answer, preface=HELLO):
    """answer(peer, number): to each request, in whatever way. In the end its connections are gone at the proxy too."""
    context, here, lock = server_context(), set(), threading.Lock()

    def serve(raw):
        raw = Raw(raw)
        with lock:
            here.add(raw)
        try:
            with contextlib.suppress(ssl.SSLError), context.wrap_socket(raw.sock, server_side=True) as raw.sock:
                one_connection(raw.sock, answer, preface)
        finally:
            with lock:
                here.discard(raw)
    with s.Server(OUT, serve):
        yield
        with lock:
            everybody = list(here)
        for raw in everybody:
            with contextlib.suppress(OSError):
                raw.sock.shutdown(socket.SHUT_WR)
        eventually(lambda: not here, "the proxy has let go")


class Raw:
    """A connection as it is now: TCP's, then TLS's."""

    def __init__(self, sock):
        self.sock = sock


def one_connection(sock, answer, preface):
    sock.sendall(preface)
    reader = Reader(sock)
    reader.exactly(struct.unpack("!H", reader.exactly(6)[4:])[0])
    peer = H2(Replay(sock, reader.rest), server=True)
    while True:
        kind, flags, number, _ = peer.next()
        if kind in (DATA, HEADERS) and flags & END_STREAM:
            answer(peer, number)


class Replay:
    """A socket with what was read too far in front."""

    def __init__(self, sock, rest):
        self.sock, self.rest = sock, bytes(rest)

    def recv(self, size):
        if self.rest:
            part, self.rest = self.rest, b""
            return part
        return self.sock.recv(size)

    def __getattr__(self, name):
        return getattr(self.sock, name)


seen = []  # the requests that came to the application, as its bytes say them: (head, body)


def serve_application(sock):
    reader = Reader(sock)
    while True:
        head = reader.until(b"\r\n\r\n").decode("latin-1")
        lines = head.split("\r\n")
        fields = {line.split(":", 1)[0].lower(): line.split(":", 1)[1].strip() for line in lines[1:] if ":" in line}
        seen.append((head, reader.body(fields)))
        sock.sendall(s.OK)


# -- a hostile client -------------------------------------------------------------------------------------------------

def prefaces_that_are_none():
    wrong = (b"FLQ\1\0\0", b"FLP\2\0\0", b"FLP\0\0\0", b"FLP\1\xff\xff" + b"x" * 65535, b"FLP\1\4\1" + b"\0" * 1025, b"FLP\1\0\1\1",
             b"FLP\1\0\5\1\0\3ab", b"FLP\1\0\x08\1\0\1a\1\0\1b", b"FLP\1\0\4\1\0\1\n", b"FLP\1\0\4\1\0\1\xff",
             b"FLP\1\0\x81\1\0\xfe" + b"a" * 126, s.MAGIC + settings(), b"GET / HTTP/1.1\r\nHost: web\r\n\r\n", b"\0" * 6, b"FFFFFF")
    for preface in wrong:
        with counted(s.the_proxy(), REFUSED, reason="bad_preface"):
            with pods.tls_client("member", "fairlead-http/1").wrap_socket(dial(IN)) as sock, contextlib.suppress(OSError):
                sock.sendall(preface)
                read_all(sock)


def values_that_are_none():
    proxy = s.the_proxy()
    peer = meshed()
    for value in GARBAGE:
        with counted(proxy, PARSE, side="downstream"):
            before = len(seen)
            one = peer.request("/garbage", ("fairlead-http", value))
            stream = peer.over(one)
            if stream.reset == -1 or peer.goaway is not None:
                peer = meshed()
            assert stream.status in (400, 431) or stream.reset in (PROTOCOL, -1), (value[:40], stream.status, stream.reset)
        assert len(seen) == before, (value[:40], seen[before:])
        assert peer.over(peer.request("/good", ("fairlead-http", "1t"))).status == 200, value[:40]


def values_that_lie():
    """What they say is of the grammar, and is not so: whatever arrives is one request, and nothing of it is smuggled."""
    behind, first = b"0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n", len(seen)
    peer = meshed()
    for value in ("1l,e0", "1l,e0,e0", "1l,e0,e1,h0", "1l,h0,h0", "1l,h-,h0", "1l,h-,h-", "1l,t0", "1l,t0,t0", "1l,u0", "1l,u0,u0", "0l,e0",
                  "0t,e0,u0,t0,c", "1t,c,c,c", "1t,a,a,A", "1t,A,a", "1l,h999", "1t,n0x1,n0x1,n0xffff", "0l,u0", "1l,e999", "1l,u0,c"):
        for fields, body in (((), None), ((("content-length", str(len(behind))),), behind), ((), behind),
                             ((("te", "trailers"),), b"0\r\n\r\n")):
            before = len(seen)
            one = peer.request("/lie", ("fairlead-http", value), *fields, method="GET" if body is None else "POST", body=body)
            stream = peer.over(one)
            if stream.reset == -1:
                peer = meshed()
            assert stream.reset is not None or stream.status in (200, 400, 503), (value, stream.status)
            new = seen[before:]
            assert len(new) <= 1, (value, fields, new)
            for head, got in new:
                names = [line.split(":")[0].lower() for line in head.split("\r\n")[1:]]
                assert names.count("host") <= 1 and names.count("transfer-encoding") <= 1, (value, head)
                assert not ("content-length" in names and "transfer-encoding" in names), (value, head)
                assert names.count("upgrade") == 0, (value, head)
                assert got == (body or b""), (value, head, got)
    assert len(seen) > first + 20 and not [head for head, _ in seen if head.startswith("GET /smuggled")], seen


def values_in_trailers():
    first = len(seen)
    peer = meshed()
    for value, wrong in (*((value, 1) for value in GARBAGE if value != "t"), ("t,n0x1", 0), ("l", 0), ("t", 0)):
        before = s.the_proxy().metric(PARSE, side="downstream")
        one = peer.request("/t", ("fairlead-http", "1l"), method="POST", body=b"abc", end=False)
        peer.send(frame(HEADERS, END_HEADERS | END_STREAM, one, block(("x", "y"), ("fairlead-http", value))))
        stream = peer.over(one)
        assert stream.status in (200, 400, 431, 503) or stream.reset is not None, (value[:40], stream.status)
        eventually(lambda: s.the_proxy().metric(PARSE, side="downstream") >= before + wrong, f"{value[:40]} is counted")
        if stream.reset == -1 or peer.goaway is not None:
            peer = meshed()
    assert peer.over(peer.request("/good", ("fairlead-http", "1t"))).status == 200
    assert len(seen) > first and "fairlead" not in str(seen).lower(), seen


def floods_over_tls():
    ask = frame(HEADERS, END_HEADERS | END_STREAM, 1, block(*asks("/a/10")))
    floods = {
        "http2.reset_flood": lambda at: frame(HEADERS, END_HEADERS | END_STREAM, 2 * at + 1, block(*asks("/a/10"))) +
        frame(RST, 0, 2 * at + 1, struct.pack("!I", CANCEL)),
        "http2.settings_flood": lambda at: settings(window=65535 + at),
        "http2.ping_flood": lambda at: frame(PING, ACK, 0, b"12345678"),
        "http2.continuation_flood": lambda at: (ask[:4] + b"\1" + ask[5:] if at == 0 else b"") +
        frame(s.CONTINUATION, 0, 1, literal("a", "b")),
    }
    for word, make in floods.items():
        with counted(s.the_proxy(), PARSE, side="downstream", reason=word):
            peer = meshed(polite=False)
            with contextlib.suppress(OSError):
                for at in range(0, 60000, 50):
                    peer.send(*(make(one) for one in range(at, at + 50)))
            with contextlib.suppress(OSError):
                assert peer.to_end() in (CALM, None), word


# -- a hostile server -------------------------------------------------------------------------------------------------

def ask_out(path="/out"):
    with dial(OUT) as sock:
        sock.sendall(f"GET {path} HTTP/1.1\r\nHost: web\r\n\r\n".encode())
        return Reader(sock).answer()


def answers_that_are_none():
    proxy = s.the_proxy()
    for value in GARBAGE_ANSWERS:
        def answer(peer, number, value=value):
            peer.send(frame(HEADERS, END_HEADERS, number, block((":status", "200"), ("fairlead-http", value))),
                      frame(DATA, END_STREAM, number, b"ok"))
        with meshed_server(answer), counted(proxy, PARSE, side="upstream", reason="http2.restore"):
            status, fields, _ = ask_out()
        assert status in (502, 503) and "evil" not in fields, (value[:40], status, fields)
    with meshed_server(lambda peer, number: peer.answer(number, b"ok", ("fairlead-http", "1t"))):
        assert ask_out()[0] == 200


def answers_that_lie():
    served = 0
    for value in ("1l,e0", "1l,e0,e0", "1l,u0", "1l,u0,u0", "0l,c", "1t,z", "0t,z,z", "1t,c,c", "1t,h0", "1t,r", "1t,r%20%20"):
        for fields in ((), (("content-length", "2"),)):
            with meshed_server(lambda peer, number: peer.answer(number, b"ok", ("fairlead-http", value), *fields)), dial(OUT) as sock:
                sock.sendall(b"GET /lie HTTP/1.1\r\nHost: web\r\nConnection: close\r\n\r\n")
                got = read_all(sock)
            head, _, body = got.partition(b"\r\n\r\n")
            assert not (b"content-length" in head.lower() and b"transfer-encoding" in head.lower()), (value, fields, got)
            assert head.lower().count(b"transfer-encoding") <= 1 and b"fairlead-http" not in head.lower(), (value, got)
            assert b"\nupgrade:" not in head.lower(), (value, got)
            served += head[9:12] == b"200"
            assert body in (b"ok", b"2\r\nok\r\n0\r\n\r\n") or head[9:12] in (b"502", b"503"), (value, fields, got)
    assert served >= 6, served


def answers_that_say_that_nothing_was_seen():
    """The field of a sidecar whose app is away is for us alone, in whatever answer."""
    with meshed_server(lambda peer, number: peer.send(frame(HEADERS, END_HEADERS | END_STREAM, number, block(
            (":status", "503"), ("x-fairlead-unsent", "1"), ("x-fairlead-unsent", "2"), ("x-other", "here"))))):
        status, fields, _ = ask_out()
    assert status == 503 and "unsent" not in str(fields).lower() and "x-other" in str(fields).lower(), (status, fields)


def servers_with_a_bad_preface():
    for preface in (b"FLQ\1\0\0", b"FLP\1\xff\xff", b"FLP\1\0\1\1", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"):
        with meshed_server(lambda peer, number: peer.answer(number), preface):
            assert ask_out()[0] == 503, preface


# -- the configuration ------------------------------------------------------------------------------------------------

def common_tls():
    folder = pods.FOLDER / "member"
    return {"alpn_protocols": ["fairlead-http/1", "fairlead-tcp/1"],
            "tls_params": {"tls_minimum_protocol_version": "TLSv1_3", "tls_maximum_protocol_version": "TLSv1_3"},
            "tls_certificates": [{"certificate_chain": {"filename": str(folder / "cert-chain.pem")},
                                  "private_key": {"filename": str(folder / "key.pem")}}],
            "validation_context": {"trusted_ca": {"filename": str(folder / "root-cert.pem")}, "match_typed_subject_alt_names": [
                {"san_type": "URI", "matcher": {"exact": ME}}]}}


def transport(kind, **more):
    return {"name": "envoy.transport_sockets.tls", "typed_config": {
        "@type": f"{s.TYPE}extensions.transport_sockets.tls.v3.{kind}TlsContext", "common_tls_context": common_tls(), **more}}


def tls_listener(which, to):
    made = s.listener(to, {})
    made["filter_chains"][0]["transport_socket"] = transport("Downstream", require_client_certificate=True)
    return {**made, "name": f"l{which}", "address": s.address(8000 + which)}


def tls_cluster(which, port):
    made = s.cluster(which, transport_socket=transport("Upstream"))
    del made["typed_extension_protocol_options"]
    made["load_assignment"]["endpoints"][0]["lb_endpoints"][0]["endpoint"]["address"] = s.address(port)
    return made


def with_mesh(config):
    """And the application, in the namespace of the test."""
    s.Server(BAD1, serve_application)
    resources = config["static_resources"]
    resources["listeners"] += [tls_listener(IN, BAD1), s.listener(OUT, {}), tls_listener(PAIR_IN, s.GOOD1)]
    resources["clusters"] += [tls_cluster(OUT, 9000 + OUT), tls_cluster(PAIR, 8000 + PAIR_IN)]


if __name__ == "__main__":
    atexit.register(shutil.rmtree, pods.FOLDER, ignore_errors=True)
    pods.make_ca("ca")
    pods.make_identity("member", ME)
    s.OTHERS[PAIR] = PAIR
    s.main((prefaces_that_are_none, values_that_are_none, values_that_lie, values_in_trailers, floods_over_tls, answers_that_are_none,
            answers_that_lie, answers_that_say_that_nothing_was_seen, servers_with_a_bad_preface), change=with_mesh)
