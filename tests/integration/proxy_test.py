#!/usr/bin/env python3
"""fairlead-proxy between real processes: client ↔ proxy A ↔ mTLS ↔ proxy B ↔ server, in two network namespaces with
transparent capture; IPv4 and IPv6, HTTP and opaque TCP, STRICT and PERMISSIVE, and everything that peers do wrong.

    proxy_test.py PROGRAM
"""
import contextlib
import json
import os
import signal
import socket
import ssl
import subprocess
import threading
import time

import proxy_support as s
from proxy_support import Client, Origin, Proxy, Reader, dial, eventually, get, refused

seen = []  # request lines that reached the origin


def http_origin(sock):
    """Answers what the path asks for."""
    reader = Reader(sock)
    while True:
        line, fields = reader.head()
        method, path, _version = line.split(" ")
        seen.append(line)
        if fields.get("expect") == "100-continue":
            sock.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        if path == "/early":
            sock.sendall(b"HTTP/1.1 413 Too Large\r\nContent-Length: 5\r\nConnection: close\r\n\r\nlarge")
            return
        if path == "/ws":
            sock.sendall(b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n")
            while piece := reader.exactly(len(reader.rest)) or sock.recv(65536):
                sock.sendall(piece[::-1])
            return
        body = reader.body(fields)
        if path == "/chunked":
            sock.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: sum\r\n\r\n")
            for piece in (b"one ", b"two ", b"three"):
                sock.sendall(b"%x\r\n%s\r\n" % (len(piece), piece))
            sock.sendall(b"0\r\nsum: 42\r\n\r\n")
        elif path == "/until-close":
            sock.sendall(b"HTTP/1.0 200 OK\r\n\r\nto the end")
            return
        elif path == "/truncated":
            sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nnot all")
            return
        elif path == "/silence":
            time.sleep(s.PATIENCE)
        elif path.startswith("/big/"):
            size = int(path[5:])
            sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
            block = bytes(range(256)) * 256
            for at in range(0, size, len(block)):
                sock.sendall(block[:size - at])
        else:
            text = f"{method} {path} {len(body)} {fields.get('trailers', '')}".encode()
            sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(text))
            if method != "HEAD":
                sock.sendall(text)


def tcp_origin(sock):
    """Speaks first, then echoes until the end, then says so."""
    sock.sendall(b"220 hello\r\n")
    while piece := sock.recv(65536):
        sock.sendall(piece)
    sock.sendall(b"bye")


def foreign_tls_origin(sock):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(s.FOLDER / "foreign/cert-chain.pem", s.FOLDER / "foreign/key.pem")
    with context.wrap_socket(sock, server_side=True) as tls:
        tls.sendall(b"my own TLS")


@contextlib.contextmanager
def mesh(server="server-strict.yaml", family=4, client_text=None, server_text=None, identity="client", **options):
    """Both proxies, stopped (and checked to end well) afterwards."""
    b = Proxy("b", s.quick_heads(server_text or (s.GOLDEN / server).read_text()), "server", family)
    a = Proxy("a", s.quick_heads(client_text or s.client_config()), identity, family, **options)
    try:
        yield a, b
    finally:
        for proxy in (a, b):
            if proxy.process.poll() is None:
                proxy.process.send_signal(signal.SIGTERM)
        for proxy in (a, b):
            proxy.ended()


# -- what a mesh is for -----------------------------------------------------------------------------------------------

def http_over_mtls(family):
    with mesh(family=family) as (a, b):
        client = Client("a", "b", 8080, family=family)
        for number in range(3):
            status, _fields, body = client.ask(get(f"/{number}"))
            assert (status, body.strip()) == (200, f"GET /{number} 0".encode()), (status, body)
        both = {"source_principal": s.CLIENT_ID, "destination_principal": s.SERVER_ID, "response_code": "200"}
        for proxy, reporter in ((a, "source"), (b, "destination")):
            count = proxy.metric("istio_requests_total", reporter=reporter, **both)
            assert count == 3, (reporter, proxy.admin("/stats/prometheus")[1])
        assert b.metric("istio_requests_total", connection_security_policy="mutual_tls", source_workload="client") == 3
        assert a.metric("istio_requests_total", destination_workload="server") == 3
        eventually(lambda: len(b.access_log()) >= 3, "access log")
        assert any(s.CLIENT_ID in str(line) for line in b.access_log())


def http_over_mtls_ipv4():
    http_over_mtls(4)


def http_over_mtls_ipv6():
    http_over_mtls(6)


def the_app_sees_the_passthrough_address():
    peers.clear()
    with mesh():
        Client("a", "b", 8080).ask(get())
    assert peers == ["::ffff:127.0.0.6"], peers
    peers.clear()
    with mesh(family=6):
        Client("a", "b", 8080, family=6).ask(get())
    assert peers == ["::6"], peers


def bodies_and_framing():
    with mesh():
        client = Client("a", "b", 8080)
        status, fields, body = client.ask(get("/chunked"))
        assert (status, body, fields["trailers"]) == (200, b"one two three", "sum: 42\r\n"), (status, fields, body)
        chunks = "POST /in HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nWiki\r\n5;x=y\r\npedia\r\n0\r\nt: v\r\n\r\n"
        assert client.ask(chunks)[2] == b"POST /in 9 t: v\r\n"
        client.sock.sendall(b"HEAD /head HTTP/1.1\r\nHost: a\r\n\r\n")
        assert client.answer(head=True)[0] == 200
        client.sock.sendall(b"POST /wait HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n")
        assert client.answer()[0] == 100
        assert client.ask("abc")[2].startswith(b"POST /wait 3")
        client.sock.sendall((get("/1") + get("/2") + get("/3")).encode())  # pipelined
        for number in (1, 2, 3):
            assert client.answer()[2].startswith(f"GET /{number} ".encode())
        status, fields, body = client.ask(get("/until-close"))
        assert (status, body, fields["transfer-encoding"]) == (200, b"to the end", "chunked")
        assert client.ask(get("/after"))[0] == 200  # and the connection lives on


def old_and_closing_clients():
    with mesh():
        client = Client("a", "b", 8080)
        client.sock.sendall(b"GET /old HTTP/1.0\r\nHost: a\r\n\r\n")
        client.sock.shutdown(socket.SHUT_WR)
        assert client.to_end().endswith(b"GET /old 0 ")
        client = Client("a", "b", 8080)
        client.sock.sendall(get("/close", "Connection: close").encode())
        assert client.to_end().endswith(b"GET /close 0 ")


def large_bodies_with_slow_readers():
    size = 64 << 20
    with mesh() as (a, b):
        client = Client("a", "b", 8080)
        client.sock.sendall(get(f"/big/{size}").encode())
        time.sleep(0.5)  # the reader is slow: everything between is full now
        assert max(a.private_kib(), b.private_kib()) < s.SMALL, (a.private_kib(), b.private_kib())
        status, _fields, body = client.answer()
        assert status == 200 and len(body) == size and body[:512] == bytes(range(256)) * 2
        client.sock.sendall(f"POST /up HTTP/1.1\r\nHost: a\r\nContent-Length: {size}\r\n\r\n".encode())
        client.sock.sendall(body)
        assert client.answer()[2].startswith(f"POST /up {size}".encode())
        assert max(a.private_kib(), b.private_kib()) < s.SMALL, (a.private_kib(), b.private_kib())


def websockets():
    with mesh():
        client = Client("a", "b", 8080)
        client.sock.sendall(get("/ws", "Connection: Upgrade", "Upgrade: websocket").encode())
        assert client.answer()[0] == 101
        client.sock.sendall(b"\x00\x01abc")
        assert client.exactly(5) == b"cba\x01\x00"
        client.sock.shutdown(socket.SHUT_WR)
        assert client.to_end() == b""


def early_and_broken_answers():
    with mesh() as (a, _b):
        client = Client("a", "b", 8080)
        client.sock.sendall(b"POST /early HTTP/1.1\r\nHost: a\r\nContent-Length: 100000000\r\n\r\n")
        with contextlib.suppress(OSError):
            for _ in range(100):
                client.sock.sendall(b"x" * 10000)
        status, fields, body = client.answer()
        assert (status, body) == (413, b"large") and fields["connection"] == "close"
        client = Client("a", "b", 8080)
        client.sock.sendall(get("/truncated").encode())
        try:  # cut off, or refused before anything of it was passed on: never a truncated success
            assert client.answer()[0] == 503
        except (EOFError, ConnectionResetError):
            pass
        assert a.metric("istio_requests_total", response_flags="-", response_code="200") == 0


def no_server_is_503():
    with mesh() as (_a, b):
        b.stop()
        client = Client("a", "b", 8080)
        assert client.ask(get())[0] == 503


def tcp_over_mtls():
    with mesh() as (a, b):
        client = Reader(dial("a", "b", 9000))
        assert client.until(b"\r\n") == b"220 hello\r\n"  # the server speaks first
        client.sock.sendall(b"x" * 1000000)
        assert client.exactly(1000000) == b"x" * 1000000
        client.sock.shutdown(socket.SHUT_WR)  # half-close
        assert client.to_end() == b"bye"
        for proxy, reporter in ((a, "source"), (b, "destination")):
            labels = {"reporter": reporter, "source_principal": s.CLIENT_ID, "destination_principal": s.SERVER_ID}
            eventually(lambda p=proxy, l=labels: p.metric("istio_tcp_connections_closed_total", **l) == 1, "closed")
            assert proxy.metric("istio_tcp_received_bytes_total", **labels) == 1000000


def passthrough():
    """A destination that is not in the mesh: bytes as they are."""
    with mesh() as (a, b):
        b.stop()
        s.run("ip", "netns", "exec", s.NAME["b"], "nft", "delete", "table", "inet", "capture")
        try:
            client = Reader(dial("a", "b", 9001))
            assert client.until(b"\r\n") == b"220 hello\r\n"
            client.sock.close()
        finally:
            s.program_capture("b")
        eventually(lambda: a.metric("istio_tcp_connections_closed_total",
                                    destination_service_name="PassthroughCluster") == 1, "metric")


# -- who is let in ----------------------------------------------------------------------------------------------------

def strict_refuses_all_but_the_mesh():
    with mesh() as (_a, b):
        seen.clear()
        plain = dial("a", "b", 8080, as_proxy=True)
        plain.sendall(get("/plaintext").encode())
        answer = b""
        with contextlib.suppress(OSError):
            answer = plain.recv(1000)
        assert not answer.startswith(b"HTTP")
        for identity in (None, "foreign", "other-domain"):
            sock = dial("a", "b", 8080, as_proxy=True)
            with contextlib.suppress(OSError):
                tls = s.tls_client(identity).wrap_socket(sock)
                tls.sendall(b"FLP\x01\x00\x00" + get("/intruder").encode())
                assert tls.recv(100) == b"", identity
        for alpn in (None, "h2"):
            with contextlib.suppress(OSError):
                tls = s.tls_client("client", alpn).wrap_socket(dial("a", "b", 8080, as_proxy=True))
                tls.sendall(get("/wrong-alpn").encode())
                assert tls.recv(100) == b"", alpn
        for preface in (b"GET / HTTP/1.1\r\n\r\n", b"FLP\x02\x00\x00", b"FLP\x01\xff\xff", b"FLP\x01\x00\x03\x01\x00\x09"):
            with contextlib.suppress(OSError):
                tls = s.tls_client("client").wrap_socket(dial("a", "b", 8080, as_proxy=True))
                tls.sendall(preface + get("/bad-preface").encode())
                while piece := tls.recv(1000):
                    assert b"HTTP" not in piece
        assert seen == [], seen
        assert b.metric("fairlead_tls_handshake_failures_total", side="downstream") >= 5
        eventually(lambda: b.metric("fairlead_connections_refused_total", reason="bad_preface") == 4, "prefaces")
        assert Client("a", "b", 8080).ask(get())[0] == 200  # and the mesh still works


def intrude(identity, alpn="fairlead-tcp/1", trust=None):
    """A client of its own at the server's sidecar, until that ends it."""
    with contextlib.suppress(OSError):
        context = s.tls_client(identity, alpn)
        if trust:
            context.load_verify_locations(s.FOLDER / trust)
            context.verify_mode = ssl.CERT_REQUIRED
        context.wrap_socket(dial("a", "b", 8080, as_proxy=True)).recv(100)


def refused_callers_are_named():
    """By the counter, by a line at warning, and in the access log, all with the same reason."""
    failures = "fairlead_tls_handshake_failures_total"
    refusals = "fairlead_connections_refused_total"
    rows = (
        ("plaintext", refusals, lambda: refused("a", "b", 8080, as_proxy=True, say=get().encode()), "http request"),
        ("plaintext", refusals, lambda: refused("a", "b", 8080, as_proxy=True, say=b"\x00\x01\x02\x03\x04\x05"), ""),
        ("no_certificate", failures, lambda: intrude(None), "the peer shows no certificate"),
        ("untrusted", failures, lambda: intrude("foreign"), s.CLIENT_ID),
        ("expired", failures, lambda: intrude("late"), "expired"),
        ("identity", failures, lambda: intrude("other-domain"), "spiffe://elsewhere.example/ns/demo/sa/client"),
        ("alpn", failures, lambda: intrude("client", "h2"), "none of our ALPN protocols"),
        ("alpn", failures, lambda: intrude("client", None), "no ALPN protocol"),
        ("alert", failures, lambda: intrude("client", trust="foreign-ca.pem"), "unknown CA"),
    )
    with mesh() as (_a, b):
        for reason, metric, call, detail in rows:
            before, logged = b.metric(metric, reason=reason), len(b.access_log())
            total = b.metric(failures) + b.metric(refusals)
            call()
            line = b.wait_for("connection refused")
            assert line["level"] == "warning" and line["reason"] == reason, line
            assert detail in line["detail"] and line["peer"].startswith("10.88.0.2:"), line
            assert line["identity"] == (detail if reason == "identity" else ""), line
            assert line["destination"].endswith(":8080") and line["listener"], line
            eventually(lambda m=metric, r=reason, n=before: b.metric(m, reason=r) == n + 1, reason)
            assert b.metric(failures) + b.metric(refusals) == total + 1, reason
            eventually(lambda n=logged: len(b.access_log()) == n + 1, "a line in the access log")
            record = b.access_log()[-1]
            assert record["response_flags"] == "DPE" and "tls_version" not in record, record
            assert record["response_code_details"] == f"downstream_refused{{{reason}}}", record
        dial("a", "b", 8080, as_proxy=True).close()  # a probe that only connects
        eventually(lambda: b.metric(failures, reason="closed") == 1, "closed")
        assert b.wait_for("connection refused")["level"] == "debug"


def refused_callers_do_not_flood_the_log():
    with mesh() as (_a, b):
        began = time.monotonic()
        for _ in range(30):
            assert refused("a", "b", 8080, as_proxy=True, say=b"GET / HTTP/1.1\r\n\r\n")
        lines = []
        while not lines or lines[-1]["suppressed"] == 0:
            assert refused("a", "b", 8080, as_proxy=True, say=b"GET / HTTP/1.1\r\n\r\n")
            with contextlib.suppress(AssertionError):
                lines.append(b.wait_for("connection refused", 0.1))
            assert time.monotonic() - began < s.PATIENCE, lines
        assert 10 < len(lines) <= 11 + time.monotonic() - began, lines


def failed_upstreams_are_named():
    cluster = "outbound|8080||server.demo.svc.cluster.local"
    with mesh(client_text=s.client_config().replace("sa/server", "sa/somebody-else")) as (a, b):
        assert Client("a", "b", 8080).ask(get())[0] == 503
        line = a.wait_for("upstream connection failed")
        assert (line["level"], line["cluster"], line["reason"]) == ("warning", cluster, "identity"), line
        assert line["endpoint"] == "10.88.0.3:8080" and s.SERVER_ID in line["detail"], line
        assert a.metric("fairlead_tls_handshake_failures_total", side="upstream", reason="identity") == 1
        b.stop()
        assert Client("a", "b", 8080).ask(get())[0] == 503
        assert a.wait_for("upstream connection failed")["reason"] == "refused"
        assert refused("a", "b", 9000)
        assert "9000" in a.wait_for("upstream connection failed")["cluster"]
    with mesh(identity="other-domain") as (a, b):  # refused by the server, which a client of TLS 1.3 hears late
        assert Client("a", "b", 8080).ask(get())[0] == 503
        line = a.wait_for("upstream connection failed")
        assert (line["cluster"], line["reason"]) == (cluster, "alert"), line
        assert a.metric("fairlead_tls_handshake_failures_total", side="upstream", reason="alert") == 1
        assert b.wait_for("connection refused")["reason"] == "identity"


def debug_tells_a_connections_life():
    with mesh() as (a, _b):
        client = Client("a", "b", 8080)
        assert client.ask(get())[0] == 200
        line = a.wait_for("connection accepted")
        assert line["destination"] == "10.88.0.3:8080" and line["chain"] and line["transport"] == "plain", line
        chosen = a.wait_for("upstream chosen")
        assert chosen["connection"] == line["connection"] and chosen["endpoint"] == "10.88.0.3:8080", chosen
        assert (chosen["cluster"], chosen["from"]) == ("outbound|8080||server.demo.svc.cluster.local", "dial"), chosen
        client.sock.close()
        ended = a.wait_for("connection ended")
        assert (ended["connection"], ended["reason"]) == (line["connection"], "done"), ended
        client = Client("a", "b", 8080)
        client.sock.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n")
        assert client.answer()[0] == 400
        assert a.wait_for("connection ended")["reason"].startswith("http1.")


def the_client_checks_the_server():
    other = s.client_config().replace("sa/server", "sa/somebody-else")
    with mesh(client_text=other) as (a, _b):
        assert Client("a", "b", 8080).ask(get())[0] == 503
        assert a.metric("fairlead_tls_handshake_failures_total", side="upstream") >= 1
        assert refused("a", "b", 9000)


def permissive_takes_both():
    with mesh("server-permissive.yaml") as (_a, b):
        assert Client("a", "b", 8080).ask(get("/mesh"))[0] == 200
        plain = Client("a", "b", 8080, as_proxy=True)
        assert plain.ask(get("/plain"))[0] == 200
        assert b.metric("istio_requests_total", connection_security_policy="mutual_tls") == 1
        assert b.metric("istio_requests_total", connection_security_policy="none") == 1
        began = time.monotonic()
        first = Reader(dial("a", "b", 9000, as_proxy=True))  # nobody speaks: the deadline ends the watch
        assert first.until(b"\r\n") == b"220 hello\r\n"
        assert 0.25 < time.monotonic() - began < 5
        mesh_tcp = Reader(dial("a", "b", 9000))
        assert mesh_tcp.until(b"\r\n") == b"220 hello\r\n"
        tls = s.tls_client(None, "h2").wrap_socket(dial("a", "b", 9443, as_proxy=True))
        assert tls.recv(100) == b"my own TLS"  # passed untouched
        slow = dial("a", "b", 8080, as_proxy=True)
        for byte in get("/split").encode():
            slow.sendall(bytes([byte]))
        assert Reader(slow).until(b"\r\n").startswith(b"HTTP/1.1 200")


# -- bad peers --------------------------------------------------------------------------------------------------------

MALFORMED = {
    "both lengths": ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    "two lengths": ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd", 400),
    "signed length": ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +3\r\n\r\nabc", 400),
    "bad chunk size": ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 400),
    "chunk size overflow": ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff1\r\n", 400),
    "chunk without CRLF": ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\naX\r\n0\r\n\r\n", 400),
    "bare CR": ("GET / HTTP/1.1\r\nHost: a\r\nX: b\rc\r\n\r\n", 400),
    "bare LF": ("GET / HTTP/1.1\nHost: a\n\n", 400),
    "obs-fold": ("GET / HTTP/1.1\r\nHost: a\r\nX: b\r\n c\r\n\r\n", 400),
    "space before colon": ("GET / HTTP/1.1\r\nHost : a\r\n\r\n", 400),
    "NUL in a value": ("GET / HTTP/1.1\r\nHost: a\r\nX: b\0c\r\n\r\n", 400),
    "no Host": ("GET / HTTP/1.1\r\n\r\n", 400),
    "two Hosts": ("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
    "unknown coding": ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", 501),
    "coding in 1.0": ("POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
    "HTTP/2.0 by name": ("GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505),
    "no version": ("GET /\r\n\r\n", 400),
    "huge head": ("GET / HTTP/1.1\r\nHost: a\r\nX: " + "x" * 70000 + "\r\n\r\n", 431),
    "many fields": ("GET / HTTP/1.1\r\nHost: a\r\n" + "X: y\r\n" * 200 + "\r\n", 431),
}


def malformed_http_is_refused_at_both_ends():
    with mesh() as (a, b):
        for end in ("client's side", "server's side"):
            for name, (request, status) in MALFORMED.items():
                if end == "client's side":
                    sock = dial("a", "b", 8080)
                else:  # a peer with a good certificate and bad manners: B must not rely on A
                    sock = s.tls_client("client").wrap_socket(dial("a", "b", 8080, as_proxy=True))
                    sock.sendall(b"FLP\x01\x00\x00")
                reader = Reader(sock)
                with contextlib.suppress(OSError):
                    sock.sendall(request.encode("latin-1"))
                if end != "client's side":
                    head = reader.exactly(6)
                    reader.exactly(int.from_bytes(head[4:6], "big"))
                line, fields = reader.head()
                assert int(line.split()[1]) == status, (end, name, line)
                assert fields.get("connection") == "close", (end, name, fields)
                seen.clear()
        assert a.metric("fairlead_http_parse_errors_total", side="downstream") == len(MALFORMED)
        assert b.metric("fairlead_http_parse_errors_total", side="downstream") == len(MALFORMED)


def slow_heads_are_bounded():
    with mesh() as (a, _b):
        client = Client("a", "b", 8080)
        client.sock.sendall(b"GET / HTTP/1.1\r\nHo")
        assert client.answer()[0] == 408
        socks = [dial("a", "b", 8080) for _ in range(200)]
        for sock in socks:
            sock.sendall(b"GET / HTTP/1.1\r\nX: " + b"x" * 2000)
        assert a.private_kib() < 2 * s.SMALL
        assert Client("a", "b", 8080).ask(get())[0] == 200
        for sock in socks:
            assert sock.recv(100).startswith(b"HTTP/1.1 408")


def handshakes_that_never_end_are_bounded():
    text = (s.GOLDEN / "server-strict.yaml").read_text().replace(
        "      transport_socket:\n", "      transport_socket_connect_timeout: 1s\n      transport_socket:\n")
    with mesh(server_text=text) as (_a, b):
        assert refused("a", "b", 8080, as_proxy=True, say=b"\x16\x03\x01\x02\x00\x01")
        eventually(lambda: b.metric("fairlead_tls_handshake_failures_total", reason="timeout") == 1, "metric")


def out_of_descriptors_is_survived():
    with mesh(files=48) as (a, _b):
        keep = Client("a", "b", 8080)
        assert keep.ask(get())[0] == 200
        socks = []
        for _ in range(80):
            with contextlib.suppress(ConnectionResetError):  # refused so fast that connect(2) tells of it
                socks.append(dial("a", "b", 9000))
        assert keep.ask(get())[0] in (200, 503)
        for sock in socks:
            sock.close()

        def works():
            try:
                return Client("a", "b", 8080).ask(get())[0] == 200
            except (OSError, EOFError):
                return False
        eventually(works, "it serves again once descriptors are free")
        assert a.process.poll() is None


def loops_are_refused():
    with mesh() as (a, b):
        assert refused("a", "a", 15001, as_proxy=True)  # not redirected
        assert refused("a", "b", 15006, as_proxy=True)
        assert refused("a", "b", 15006)  # redirected, to one of our own ports
        assert refused("a", "a", 15001)
        assert a.metric("fairlead_connections_refused_total", reason="not_redirected") >= 1
        assert a.metric("fairlead_connections_refused_total", reason="loop") >= 2
        assert b.metric("fairlead_connections_refused_total", reason="not_redirected") >= 1
        assert Client("a", "b", 8080).ask(get())[0] == 200


# -- life -------------------------------------------------------------------------------------------------------------

def draining_loses_no_request():
    with mesh() as (a, _b):
        lost, done, stop = [], [0], threading.Event()

        def load():
            client = Client("a", "b", 8080)
            try:
                while not stop.is_set():
                    status, fields, _body = client.ask(get("/load"))
                    assert status == 200
                    done[0] += 1
                    if fields.get("connection") == "close":
                        return
            except Exception as error:  # noqa: BLE001
                lost.append(repr(error))
        threads = [threading.Thread(target=load) for _ in range(8)]
        for thread in threads:
            thread.start()
        eventually(lambda: done[0] > 100, "load")
        a.process.send_signal(signal.SIGTERM)
        a.ended()
        stop.set()
        for thread in threads:
            thread.join(s.PATIENCE)
        assert not lost, lost


def an_answer_under_way_outlives_sigterm():
    with mesh() as (a, _b):
        client = Client("a", "b", 8080)
        client.sock.sendall(get(f"/big/{32 << 20}").encode())
        client.more()
        a.process.send_signal(signal.SIGTERM)
        a.wait_for("draining")
        status, _fields, body = client.answer()
        assert status == 200 and len(body) == 32 << 20


def sighup_takes_a_new_configuration_or_keeps_the_old():
    with mesh() as (a, _b):
        client = Client("a", "b", 8080)
        assert client.ask(get())[0] == 200
        good = a.path.read_text()
        a.path.write_text(good.replace("cluster: PassthroughCluster", "cluster: Nowhere"))
        a.process.send_signal(signal.SIGHUP)
        reason = a.wait_for("configuration refused; the one before stays in force")["reason"]
        assert "Nowhere" in reason, reason
        assert client.ask(get())[0] == 200
        direct = 'direct_response: {status: 200, body: {inline_string: "from the new file"}}'
        a.path.write_text(good.replace('route: {cluster: "outbound|8080||server.demo.svc.cluster.local", timeout: 0s}',
                                       direct))
        a.process.send_signal(signal.SIGHUP)
        a.wait_for("configuration in force")
        status, fields, body = client.ask(get())  # the connection goes on, under the new file
        assert status == 200 and "connection" not in fields and body == b"from the new file"
        assert Client("a", "b", 8080).ask(get())[2] == b"from the new file"


def a_reload_has_the_next_version():
    with mesh() as (a, _b):
        for version in (2, 3):
            a.process.send_signal(signal.SIGHUP)
            assert a.wait_for("configuration in force")["version"] == version
            assert json.loads(a.admin("/server_info")[1])["config_version"] == version


def rotated_access_logs_are_reopened():
    folder = s.FOLDER / "logs"
    folder.mkdir()
    os.chown(folder, s.UID, s.GID)
    log, old = folder / "access.log", folder / "access.log.1"
    text = s.client_config().replace(
        "stream.v3.StdoutAccessLog}", f'file.v3.FileAccessLog, path: "{log}"}}')
    assert str(log) in text
    with mesh(client_text=text) as (a, _b):
        for number in (signal.SIGUSR1, signal.SIGHUP):
            assert Client("a", "b", 8080).ask(get("/before"))[0] == 200
            eventually(lambda: log.exists() and "/before" in log.read_text(), "a line")
            log.rename(old)
            a.process.send_signal(number)
            eventually(log.exists, "a new file")
            assert Client("a", "b", 8080).ask(get("/after"))[0] == 200
            eventually(lambda: "/after" in log.read_text(), "a line in the new file")
            assert "/after" not in old.read_text()
            log.unlink()
            a.process.send_signal(number)
            eventually(log.exists, "a new file")


def options_are_checked():
    for options, status, words in ((("--concurrency", "0"), 2, "from 1 to 64"), (("--concurrency", "65"), 2, "from 1 to 64"),
                                   (("--mode", "x"), 2, "--mode wants serve or validate: x"), ((), 1, "there is no -c FILE, so the environment is read: POD_NAME is not set"),
                                   (("--print-bootstrap",), 1, "POD_NAME is not set")):
        done = subprocess.run([s.PROGRAM, *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False, env={})
        assert done.returncode == status and words in done.stderr.decode(), done


def keys_are_nobodys_to_read():
    """Another process with the proxy's own uid and gid (which an app may get hold of by a setuid) sees nothing of it."""
    if s.SANITIZED:
        return  # LeakSanitizer has to trace its own process
    with mesh() as (a, _):
        for name in ("environ", "mem", "maps", "root/", "fd/0"):
            done = subprocess.run(["setpriv", "--reuid", str(s.UID), "--regid", str(s.GID), "--clear-groups", "--inh-caps=-all", "head", "-c", "1",
                                   f"/proc/{a.process.pid}/{name}"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False)
            assert done.returncode != 0 and b"Permission denied" in done.stderr, (name, done)


def replaced_certificates_are_used_without_a_word():
    with mesh() as (a, b):
        assert Client("a", "b", 8080).ask(get())[0] == 200
        s.make_identity("client", "spiffe://cluster.local/ns/demo/sa/renamed")
        try:
            a.wait_for("configuration in force")
            assert Client("a", "b", 8080).ask(get())[0] == 200
            renamed = "spiffe://cluster.local/ns/demo/sa/renamed"
            assert b.metric("istio_requests_total", source_principal=renamed) == 1
        finally:
            s.make_identity("client", s.CLIENT_ID)


def the_start_gate_waits_for_the_capture_rules():
    capture = ('{"version":1,"uid":1337,"gid":1337,"inbound":{"port":15006,"includePorts":["*"],"excludePorts":[]},'
               '"outbound":{"port":15001,"includeCIDRs":["*"],"excludeCIDRs":[],"includePorts":[],"excludePorts":[]}}')
    s.run("ip", "netns", "exec", s.NAME["a"], "nft", "delete", "table", "inet", "capture")
    try:
        a = Proxy("a", s.client_config(), "client", environment={"FAIRLEAD_CAPTURE": capture})
        reason = a.wait_for("start gate waits")["reason"]
        assert "/etc/cni/net.d" in reason and "fairlead-agent" in reason, reason
        assert a.admin("/healthz/started", 15021)[0] == 503
    finally:
        s.program_capture("a")
    a.wait_for("start gate open: the capture rules of this network namespace work")
    assert a.admin("/healthz/started", 15021)[0] == 200
    assert a.metric("fairlead_connections_refused_total") == 0
    a.stop()


def the_start_gate_waits_for_the_families_that_are_captured():
    spec = ('{"version":2,"uid":1337,"gid":1337,"ipv6":%s,"dropInvalid":true,"excludeInterfaces":[],'
            '"inbound":{"port":15006,"includePorts":["*"],"excludePorts":[]},"outbound":{"port":15001,"includeCIDRs":["*"],'
            '"excludeCIDRs":[],"includePorts":[],"excludePorts":[],"excludeUIDs":[]},"dns":{"enabled":false,"port":15053}}')
    s.run("ip", "netns", "exec", s.NAME["a"], "nft", "delete", "table", "inet", "capture")
    s.program_capture("a", probes=(4,))
    try:
        for capture in (spec % "true", '{"version":3}'):  # whoever does not know waits for all
            a = Proxy("a", s.client_config(), "client", environment={"FAIRLEAD_CAPTURE": capture})
            assert "::6" in a.wait_for("start gate waits")["reason"]
            a.stop()
        a = Proxy("a", s.client_config(), "client", environment={"FAIRLEAD_CAPTURE": spec % "false"})
        a.wait_for("start gate open: the capture rules of this network namespace work")
        a.stop()
    finally:
        s.run("ip", "netns", "exec", s.NAME["a"], "nft", "delete", "table", "inet", "capture")
        s.program_capture("a")


def several_workers():
    with mesh(options=("--concurrency", "3")) as (a, _b):
        clients = [Client("a", "b", 8080) for _ in range(30)]
        for client in clients:
            assert client.ask(get())[0] == 200
        assert a.metric("istio_requests_total") == 30


if __name__ == "__main__":
    s.skip_unless_possible()
    s.make_pods()
    s.make_ca("ca")
    s.make_ca("foreign-ca")
    s.make_identity("client", s.CLIENT_ID)
    s.make_identity("server", s.SERVER_ID)
    s.make_identity("foreign", s.CLIENT_ID, "foreign-ca")
    s.make_identity("late", s.CLIENT_ID, days=-1)
    s.make_identity("other-domain", "spiffe://elsewhere.example/ns/demo/sa/client")
    web = Origin(8080, http_origin)
    peers = web.peers
    Origin(9000, tcp_origin)
    Origin(9001, tcp_origin)
    Origin(9443, foreign_tls_origin)
    chosen = os.environ.get("ONLY", "").split()
    tests = [
        http_over_mtls_ipv4, http_over_mtls_ipv6, the_app_sees_the_passthrough_address, bodies_and_framing,
        old_and_closing_clients, large_bodies_with_slow_readers, websockets, early_and_broken_answers, no_server_is_503,
        tcp_over_mtls, passthrough, strict_refuses_all_but_the_mesh, refused_callers_are_named,
        refused_callers_do_not_flood_the_log, failed_upstreams_are_named, debug_tells_a_connections_life, the_client_checks_the_server, permissive_takes_both,
        malformed_http_is_refused_at_both_ends, slow_heads_are_bounded, handshakes_that_never_end_are_bounded,
        out_of_descriptors_is_survived, loops_are_refused, draining_loses_no_request,
        an_answer_under_way_outlives_sigterm, sighup_takes_a_new_configuration_or_keeps_the_old,
        a_reload_has_the_next_version, rotated_access_logs_are_reopened, options_are_checked,
        keys_are_nobodys_to_read, replaced_certificates_are_used_without_a_word, the_start_gate_waits_for_the_capture_rules,
        the_start_gate_waits_for_the_families_that_are_captured, several_workers,
    ]
    s.run_tests([test for test in tests if not chosen or test.__name__ in chosen])
