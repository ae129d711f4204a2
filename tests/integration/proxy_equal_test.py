"""What client and server see through two sidecars that share an HTTP/2 connection is what they see without a mesh, byte by
byte, but for the list of docs/http.md: raw requests and answers of all kinds, asked directly inside the server's pod and
through the mesh.

    proxy_equal_test.py PROXY --shared
"""
import contextlib
import os
import random
import re
import signal
import threading

import proxy_support as s
from proxy_support import Origin, Proxy, Reader, eventually

ours = re.compile(rb"^(x-request-id|x-forwarded-[a-z-]+|x-envoy-[a-z-]+):.*\r\n", re.I | re.M)  # what the proxies add
received, answers = [], {}  # heads and bodies at the server; its answer by path


def origin(sock):
    """Keeps what came as it came, and answers what the test has laid down for the path."""
    reader = Reader(sock)
    while True:
        head = reader.until(b"\r\n\r\n")
        fields = {line.split(b":", 1)[0].lower().decode(): line.split(b":", 1)[1].strip().decode("latin-1")
                  for line in head.split(b"\r\n")[1:] if b":" in line}
        body = reader.body(fields)
        received.append((ours.sub(b"", head), bytes(body), fields.get("trailers", "")))
        name = re.search(rb"/(\w+)[ ?]", head.split(b"\r\n")[0])[1].decode()
        answer = answers[name]
        sock.sendall(answer)
        if b"\r\n\r\n" in answer and is_until_close(answer):
            return


def is_until_close(answer):
    final = [head for head in re.split(rb"(?=HTTP/1\.)", answer) if head and not head.startswith(b"HTTP/1.1 1")][-1]
    head = final.split(b"\r\n\r\n")[0].lower()
    return b"content-length" not in head and b"chunked" not in head and b" 204 " not in head and b" 304 " not in head


def exchange(request, head_only, **how):
    """(what the server got, what the client got) as raw as it can be told."""
    received.clear()
    sock = s.dial(*how.pop("where"), 8080, **how)
    sock.sendall(request)
    reader = Reader(sock)
    got = b""
    while True:
        head = reader.until(b"\r\n\r\n")
        got += head
        if not head.startswith(b"HTTP/1.1 1"):
            break
    fields = {line.split(b":", 1)[0].lower().decode(): line.split(b":", 1)[1].strip().decode()
              for line in head.split(b"\r\n")[1:] if b":" in line}
    bare = head_only or b" 204 " in head.split(b"\r\n")[0] or b" 304 " in head.split(b"\r\n")[0]
    body = b"" if bare else reader.body(fields)
    sock.close()
    return received[-1], (ours.sub(b"", got), bytes(body), fields.get("trailers", ""))


@contextlib.contextmanager
def mesh():
    b = Proxy("b", (s.GOLDEN / "server-strict.yaml").read_text(), "server")
    a = Proxy("a", s.client_config(), "client")
    try:
        yield a, b
    finally:
        for proxy in (a, b):
            proxy.process.send_signal(signal.SIGTERM)
        for proxy in (a, b):
            proxy.ended()


def compare(name, request, answer):
    answers[name] = answer
    head_only = request.startswith(b"HEAD")
    direct = exchange(request, head_only, where=("b", "127.0.0.1"), as_proxy=True)
    meshed = exchange(request, head_only, where=("a", "b"))
    for what, without, with_mesh in zip(("request", "answer"), direct, meshed):
        for part, one, other in zip(("head", "body", "trailers"), without, with_mesh):
            assert one == other, f"{name}: {what}'s {part}\nwithout: {one[:600]}\nwith:    {other[:600]}"


# -- tests ------------------------------------------------------------------------------------------------------------

REQUESTS = {
    "curl": b"GET /curl HTTP/1.1\r\nHost: server\r\nUser-Agent: curl/7.88.1\r\nAccept: */*\r\n\r\n",
    "go": b"POST /go HTTP/1.1\r\nHost: server\r\nUser-Agent: Go-http-client/1.1\r\nContent-Length: 4\r\nAccept-Encoding: gzip\r\n\r\nbody",
    "lower": b"GET /lower HTTP/1.1\r\nhost: server\r\nx-a: 1\r\nx-a: 2\r\nX-A: 3\r\n\r\n",
    "mixed": b"GET /mixed HTTP/1.1\r\nX-B3-TraceId: 1\r\nhOsT: server\r\nDNT: 1\r\nx_y: z\r\nEmpty: \r\n\r\n",
    "absolute": b"GET http://server/absolute?q=%20 HTTP/1.1\r\nHost: server\r\n\r\n",
    "old": b"GET /old HTTP/1.0\r\nHost: server\r\nConnection: keep-alive\r\n\r\n",
    "head": b"HEAD /head HTTP/1.1\r\nHost: server\r\n\r\n",
    "chunked": b"PUT /chunked HTTP/1.1\r\nHost: server\r\nTransfer-Encoding: chunked\r\nX-After: 1\r\n\r\n5\r\nhello\r\n0\r\nX-Sum: 1\r\n\r\n",
    "method": b"BREW /method HTTP/1.1\r\nHost: server:8080\r\nContent-Length: 0\r\n\r\n",
    "declined": b"GET /declined HTTP/1.1\r\nHost: server\r\nUpgrade: SPDY/3.1\r\nconnection: upgrade\r\n\r\n",
    "private": b"GET /private HTTP/1.1\r\nHost: server\r\nAccept: a\r\n\r\n",
}
ANSWERS = [
    b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nDate: today\r\n\r\nok",
    b"HTTP/1.1 200 Alright then\r\ncontent-length: 2\r\nETag: \"x\"\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\n\r\nok",
    b"HTTP/1.1 404 Not Found\r\nServer: nginx\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 204 No Content\r\nX-A: b\r\n\r\n",
    b"HTTP/1.1 304 Not Modified\r\nEtag: e\r\n\r\n",
    b"HTTP/1.1 500 \r\nContent-Length: 1\r\n\r\n!",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Type: text/plain\r\n\r\n3\r\none\r\n3\r\ntwo\r\n0\r\nX-Trailer: t\r\n\r\n",
    b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
]


def written_requests_and_answers():
    with mesh() as (a, _b):
        for name, request in REQUESTS.items():
            for answer in ANSWERS:
                if name == "old" and (b"chunked" in answer or b" 103 " in answer):
                    continue  # an HTTP/1.0 client cannot be told these: docs/http.md
                if name == "old":
                    continue
                if name == "head":
                    answer = answer.split(b"\r\n\r\n")[0] + b"\r\n\r\n" if b" 103 " not in answer else answer[:-2]
                    if b"chunked" in answer:
                        continue
                compare(name, request, answer)
        assert a.metric("istio_requests_total", response_code="200") > 0


def generated_requests_and_answers():
    draw = random.Random(7)
    names = ["Accept", "accept", "User-Agent", "X-Request-Tag", "x-b3-sampled", "X-B3-SpanId", "WWW-Thing", "If-None-Match", "a_b"]
    with mesh():
        for number in range(120):
            name = f"generated{number}"
            fields = [f"{draw.choice(names)}: {draw.choice(['', 'v', 'a, b', 'x' * 300])}" for _ in range(draw.randrange(8))]
            fields.insert(draw.randrange(len(fields) + 1), draw.choice(["Host", "host", "HOST"]) + ": server")
            body = draw.choice([b"", b"0123456789" * draw.randrange(1, 2000)])
            if body:
                fields.append(f"Content-Length: {len(body)}")
            request = f"{'POST' if body else 'GET'} /{name} HTTP/1.1\r\n".encode() + "".join(f + "\r\n" for f in fields).encode()
            back = [f"{draw.choice(names)}: {draw.choice(['', 'v', 'a, b'])}" for _ in range(draw.randrange(6))]
            size = draw.choice([0, 1, 5000, 100000])
            reason = draw.choice(["OK", "Okay", "", "Very good, 100%"])
            answer = f"HTTP/1.1 200 {reason}\r\n".encode() + "".join(f + "\r\n" for f in back).encode()
            answer += f"Content-Length: {size}\r\n\r\n".encode() + b"z" * size
            compare(name, request + b"\r\n" + body, answer)


def the_private_field_of_an_application_is_not_ours():
    with mesh():
        answers["private"] = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nFairlead-HTTP: 0l,z,rForged\r\n\r\n"
        request = b"GET /private HTTP/1.1\r\nHost: server\r\nFairlead-Http: 0l,h-\r\nfairlead-http: 1t,c\r\nAccept: a\r\n\r\n"
        seen, got = exchange(request, False, where=("a", "b"))
        assert seen[0] == REQUESTS["private"], seen
        assert got[0] == b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", got


def many_clients_share_one_connection():
    with mesh() as (a, b):
        answers["many"] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
        request = b"GET /many HTTP/1.1\r\nHost: server\r\n\r\n"
        socks = [s.dial("a", "b", 8080) for _ in range(50)]
        for sock in socks:
            sock.sendall(request)
        for sock in socks:
            assert Reader(sock).until(b"\r\n\r\nok").startswith(b"HTTP/1.1 200 OK")
        connections = len(s.run("ip", "netns", "exec", s.NAME["b"], "ss", "-Htn", "state", "established", "sport", "=", ":15006").splitlines())
        assert connections == 1, connections
        for sock in socks:
            sock.close()


if __name__ == "__main__":
    s.skip_unless_possible()
    s.make_pods()
    s.make_ca("ca")
    s.make_identity("client", s.CLIENT_ID)
    s.make_identity("server", s.SERVER_ID)
    Origin(8080, origin)
    chosen = os.environ.get("ONLY", "").split()
    tests = [written_requests_and_answers, generated_requests_and_answers, the_private_field_of_an_application_is_not_ours,
             many_clients_share_one_connection]
    s.run_tests([test for test in tests if not chosen or test.__name__ in chosen])
