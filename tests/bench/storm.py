#!/usr/bin/env python3
"""What a storm of TLS handshakes does to requests over connections that are open, and how many of it come to nothing.

    storm.py <fairlead-proxy> [--count 1000] [--rate 400]

Two pods with a sidecar of one worker each, HTTP/1.1 requests at a fixed rate over ten kept connections through both; a
latency counts from when its request was due. Three runs: nothing else ("calm"); --count connections of opaque bytes at
once through both, each an mTLS connection of its own ("upstream"); --count TLS clients at once straight to the server's
sidecar ("downstream"). A line of JSON each: p50, p99 and the worst in ms of the requests that were due during the storm, how
many of the storm were served within 10 s, and when half and all of them were. Proxies, server and requests come before
everything else on the machine (SCHED_FIFO), the storm's clients do not. Needs root.
"""
import argparse
import json
import os
import pathlib
import select
import socket
import ssl
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "integration"))
import proxy_support as support  # noqa: E402: its options are the command line's first words
from proxy_support import CLIENT_ID, GOLDEN, SERVER_ID, Proxy, inside, make_ca, make_identity  # noqa: E402

KEPT, SECONDS = 10, 10
REQUEST = b"GET / HTTP/1.1\r\nHost: server\r\n\r\n"
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def child(work):
    """`work` in a process of its own; returns what tells when it has ended, and reads its result."""
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.write(write, json.dumps(work()).encode())
        os._exit(0)
    os.close(write)

    def result():
        with os.fdopen(read, "rb") as pipe:
            text = pipe.read()
        os.waitpid(pid, 0)
        return json.loads(text)
    return result


def come_first(pid, rank):
    """Before everything else on this machine, which may be busy with other things."""
    for thread in os.listdir(f"/proc/{pid}/task"):
        os.sched_setscheduler(int(thread), os.SCHED_FIFO, os.sched_param(rank))


def serve(port, answer):
    """All connections in one thread: `answer` makes of what came what goes back."""
    come_first(os.getpid(), 2)
    with inside("b"):
        listener = socket.create_server(("", port), backlog=4096)
    listener.setblocking(False)
    poll, socks = select.epoll(), {}
    poll.register(listener, select.EPOLLIN)
    while True:
        for fd, _ in poll.poll():
            if fd == listener.fileno():
                try:
                    sock = listener.accept()[0]
                except OSError:
                    continue
                socks[sock.fileno()] = sock
                poll.register(sock, select.EPOLLIN)
                continue
            try:
                got = socks[fd].recv(65536)
                if got:
                    socks[fd].sendall(answer(got))
                    continue
            except OSError:
                pass
            poll.unregister(fd)
            socks.pop(fd).close()


def requests(socks, rate, seconds):
    """When requests were due, at this rate, and their latencies in ms; -1: no answer."""
    come_first(os.getpid(), 2)
    poll, by_fd = select.epoll(), {sock.fileno(): sock for sock in socks}
    for fd in by_fd:
        poll.register(fd, select.EPOLLIN)
    begin, sent, idle, waiting, took = time.monotonic(), 0, list(by_fd), {}, []
    while True:
        now = time.monotonic()
        if now - begin > seconds and (not waiting or now - begin > seconds + 10):
            return took + [(due, -1) for due in waiting.values()]
        while idle and begin + sent / rate <= now and begin + sent / rate < begin + seconds:
            fd = idle.pop()
            by_fd[fd].sendall(REQUEST)
            waiting[fd] = begin + sent / rate
            sent += 1
        due = begin + sent / rate
        for fd, _ in poll.poll(0.2 if not idle else max(0.0002, min(0.2, due - time.monotonic()))):
            if by_fd[fd].recv(65536).endswith(b"ok"):
                due = waiting.pop(fd)
                took.append((due, (time.monotonic() - due) * 1000))
                idle.append(fd)


def dial(to, port, count, as_proxy):
    socks = []
    with inside("a", as_proxy):
        for _ in range(count):
            sock = socket.socket()
            sock.setblocking(False)
            sock.connect_ex((to, port))
            socks.append(sock)
    return socks


def opaque(count):
    """When it began, and when each of as many connections had its echo."""
    begin, poll, done = time.monotonic(), select.epoll(), []
    socks = {sock.fileno(): sock for sock in dial(support.ADDRESS["b", 4], 9000, count, False)}
    for fd, sock in socks.items():
        poll.register(fd, select.EPOLLOUT)
    while len(done) < count and (left := begin + SECONDS - time.monotonic()) > 0:
        for fd, events in poll.poll(left):
            try:
                if events & select.EPOLLOUT:
                    socks[fd].send(b"\0are you there")
                    poll.modify(fd, select.EPOLLIN)
                    continue
                if socks[fd].recv(100):
                    done.append(time.monotonic())
            except OSError:
                pass
            poll.unregister(fd)
    return begin, done


def handshakes(count):
    """When it began, and when each of as many TLS connections had the server's preface: after the server was satisfied."""
    context = support.tls_client("client")
    begin, poll, done, ends = time.monotonic(), select.epoll(), [], {}
    for sock in dial(support.ADDRESS["b", 4], 8080, count, True):
        into, out = ssl.MemoryBIO(), ssl.MemoryBIO()
        ends[sock.fileno()] = [sock, context.wrap_bio(into, out), into, out, False]
        poll.register(sock, select.EPOLLOUT)
    while len(done) < count and (left := begin + SECONDS - time.monotonic()) > 0:
        for fd, events in poll.poll(left):
            sock, session, into, out, opened = ends[fd]
            try:
                if events & select.EPOLLIN:
                    got = sock.recv(65536)
                    if not got:
                        raise OSError
                    into.write(got)
                else:
                    poll.modify(fd, select.EPOLLIN)
                if not opened:
                    session.do_handshake()
                    ends[fd][4] = True
                    session.write(b"FLP\x01\0\0")
                if session.read(100):
                    done.append(time.monotonic())
                    poll.unregister(fd)
            except ssl.SSLWantReadError:
                pass
            except OSError:
                poll.unregister(fd)
            if out.pending:
                sock.send(out.read())
    return begin, done


def measure(name, storm, options, socks):
    seconds = 5
    load = child(lambda: requests(socks, options.rate, seconds))
    time.sleep(0.5)
    begin, done = child(lambda: storm(options.count))() if storm else (0, [])
    took = [one for due, one in load() if begin <= due <= (done or [due])[-1]]
    failed, took = took.count(-1), sorted(one for one in took if one >= 0)
    line = {"run": name, "requests": len(took), "unanswered": failed, "p50": round(took[len(took) // 2], 2),
            "p99": round(took[len(took) * 99 // 100], 2), "worst": round(took[-1], 2)}
    if storm:
        line.update({"storm": options.count, "served": len(done), "half_s": round(done[len(done) // 2] - begin, 2),
                     "all_s": round(done[-1] - begin, 2)})
    print(json.dumps(line), flush=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("proxy")
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--rate", type=float, default=400)
    options = parser.parse_args()
    support.PROGRAM = os.path.abspath(options.proxy)
    support.skip_unless_possible()
    support.make_pods()
    make_ca("ca")
    make_identity("client", CLIENT_ID)
    make_identity("server", SERVER_ID)
    for port, answer in ((8080, lambda got: ANSWER * got.count(b"\r\n\r\n")), (9000, lambda got: got)):
        pid = os.fork()
        if pid == 0:
            serve(port, answer)
        support.atexit.register(os.kill, pid, 9)
    quiet = ["-l", "info", "--concurrency", "1"]
    b = Proxy("b", (GOLDEN / "server-strict.yaml").read_text(), "server", options=quiet)
    a = Proxy("a", support.client_config(), "client", options=quiet)
    for proxy in (a, b):
        come_first(proxy.process.pid, 1)
    socks = [support.dial("a", "b", 8080) for _ in range(KEPT)]
    for sock in socks:
        sock.sendall(REQUEST)
        sock.recv(1000)
    measure("calm", None, options, socks)
    measure("upstream", opaque, options, socks)
    measure("downstream", handshakes, options, socks)
    os._exit(support.clean_up() or 0)


if __name__ == "__main__":
    main()
