#!/usr/bin/env python3
"""Memory of two real sidecars: xDS and identity from fairlead-control, capture, inbound and outbound listeners, mutual TLS between.
Needs root. KiB, private dirty and resident, of the client's and the server's sidecar:

    idle                    some seconds after the start, nothing asked
    served                  10 s after ten requests
    burst, after            at the top of a burst of BURST connections (5,000) with a request each, and 10 s after its end

    sidecar.py [fairlead-proxy fairlead-control] [--burst N] [--maps]      (default: build/release/bin; --maps: what is private, by mapping)
"""
import pathlib
import re
import resource
import select
import socket
import sys
import threading
import time

TOP = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(TOP / "tests/integration"))
BURST = int(sys.argv[sys.argv.index("--burst") + 1]) if "--burst" in sys.argv else 5000
MAPS = "--maps" in sys.argv
GIVEN = [word for word in sys.argv[1:] if word.rpartition("/")[2] in ("fairlead-proxy", "fairlead-control")]
sys.argv[1:] = GIVEN or [str(TOP / "build/release/bin" / name) for name in ("fairlead-proxy", "fairlead-control")]

import mesh_support as mesh  # noqa: E402: it reads the arguments
import proxy_support as support  # noqa: E402

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def serve(listener):
    poll, socks = select.epoll(), {listener.fileno(): listener}
    poll.register(listener, select.EPOLLIN)
    while True:
        for fd, _ in poll.poll():
            if fd == listener.fileno():
                sock, _ = listener.accept()
                socks[sock.fileno()] = sock
                poll.register(sock, select.EPOLLIN)
                continue
            try:
                data = socks[fd].recv(4096)
            except ConnectionError:
                data = b""
            if data:
                socks[fd].sendall(ANSWER * data.count(b"\r\n\r\n"))
            else:
                poll.unregister(fd)
                socks.pop(fd).close()


def memory(proxy):
    text = pathlib.Path(f"/proc/{proxy.process.pid}/smaps_rollup").read_text()
    return [int(re.search(rf"^{field}:\s+(\d+)", text, re.M)[1]) for field in ("Private_Dirty", "Rss")]


def tell(what, proxies, idle=None):
    seen = [memory(proxy) for proxy in proxies]
    print(f"{what:22}" + "; ".join(f"{role}: {one[0]:6} private{f' ({one[0] / idle[i][0]:.2f})' if idle else ''}, {one[1]:6} resident"
                                   for i, (role, one) in enumerate(zip(("client", "server"), seen))), flush=True)
    if MAPS:
        for proxy in proxies:
            maps(proxy)
    return seen


def maps(proxy):
    total, name = {}, ""
    for line in pathlib.Path(f"/proc/{proxy.process.pid}/smaps").read_text().splitlines():
        if re.match(r"[0-9a-f]+-", line):
            words = line.split()
            name = (pathlib.Path(words[5]).name if len(words) > 5 else f"anonymous {words[0]}") + " " + words[1]
        elif line.startswith("Private_Dirty"):
            total[name] = total.get(name, 0) + int(line.split()[1])
    print("   ", ", ".join(f"{name}: {size}" for name, size in sorted(total.items(), key=lambda one: -one[1]) if size >= 8))


def answered(sock):
    data = b""
    while len(data) < len(ANSWER):
        piece = sock.recv(4096)
        assert piece
        data += piece
    return sock


def main():
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    mesh.skip_unless_possible()
    mesh.make_pods()
    control = mesh.Control()
    control.start()
    with support.inside("b"):
        listener = socket.create_server(("0.0.0.0", 8080), backlog=4096)
    threading.Thread(target=serve, args=(listener,), daemon=True).start()
    server, client = mesh.sidecar("b"), mesh.sidecar("a")
    proxies = client, server
    time.sleep(8)
    idle = tell("idle", proxies)
    for _ in range(10):
        assert mesh.status() == 200
    time.sleep(10)
    tell("served", proxies, idle)
    socks = []
    for _ in range(BURST):
        sock = support.dial("a", mesh.SERVICE, 80)
        sock.sendall(support.get("/", host="server.demo").encode())
        socks.append(sock)
    for sock in socks:
        answered(sock)
    tell(f"{BURST} connections", proxies, idle)
    for sock in socks:
        sock.close()
    time.sleep(10)
    tell("10 s after their end", proxies, idle)


import atexit  # noqa: E402
atexit.register(support.clean_up)
main()
