#!/usr/bin/env python3
"""What connections cost fairlead-proxy in memory, one proxy on loopback, private dirty KiB:

    idle                    after one request
    held                    with CONNECTIONS idle client connections (10,000) that have had one answer each
    burst, after            at the top of a burst of BURST connections (5,000), each with a request, and 10 s after its end

    memory.py [--tcp] [--connections N] [--burst N] [PROGRAM]     (--tcp: opaque; each connection has one upstream, too)

Descriptors: raises its own limit; needs 2 × CONNECTIONS (× 2 with --tcp).
"""
import argparse
import json
import os
import pathlib
import re
import resource
import socket
import subprocess
import tempfile
import threading
import time

TYPE = "type.googleapis.com/envoy.extensions.filters."
REQUEST = b"GET / HTTP/1.1\r\nHost: web\r\n\r\n"
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"


def serve(listener):
    import select
    poll, socks = select.epoll(), {listener.fileno(): listener}
    poll.register(listener, select.EPOLLIN)
    while True:
        for fd, _ in poll.poll():
            if fd == listener.fileno():
                sock, _ = listener.accept()
                socks[sock.fileno()] = sock
                poll.register(sock, select.EPOLLIN)
            elif data := socks[fd].recv(4096):
                socks[fd].sendall(ANSWER * data.count(b"\r\n\r\n"))
            else:
                poll.unregister(fd)
                socks.pop(fd).close()


def private(pid):
    text = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text()
    return int(re.search(r"Private_Dirty:\s+(\d+)", text)[1])


def answered(sock):
    data = b""
    while len(data) < len(ANSWER):
        piece = sock.recv(4096)
        assert piece
        data += piece
    return sock


def ask(address):
    sock = socket.create_connection(address, timeout=60)
    sock.sendall(REQUEST)
    return sock


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("program", nargs="?", default=str(pathlib.Path(__file__).resolve().parents[2] / "build/release/bin/fairlead-proxy"))
    options.add_argument("--tcp", action="store_true")
    options.add_argument("--connections", type=int, default=10000)
    options.add_argument("--burst", type=int, default=5000)
    given = options.parse_args()
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    listener = socket.create_server(("127.0.0.2", 0), backlog=4096)
    threading.Thread(target=serve, args=(listener,), daemon=True).start()
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    address = lambda host, number: {"socket_address": {"address": host, "port_value": number}}
    hcm = {"name": "hcm", "typed_config": {
        "@type": TYPE + "network.http_connection_manager.v3.HttpConnectionManager", "stat_prefix": "m", "route_config": {
            "virtual_hosts": [{"name": "v", "domains": ["*"], "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "c"}}]}]},
        "http_filters": [{"name": "r", "typed_config": {"@type": TYPE + "http.router.v3.Router"}}]}}
    tcp = {"name": "tcp", "typed_config": {"@type": TYPE + "network.tcp_proxy.v3.TcpProxy", "stat_prefix": "m", "cluster": "c"}}
    config = {"node": {"id": "m", "cluster": "m"}, "static_resources": {
        "listeners": [{"name": "l", "address": address("127.0.0.1", port), "filter_chains": [{"filters": [tcp if given.tcp else hcm]}]}],
        "clusters": [{"name": "c", "circuit_breakers": {"thresholds": [{"max_connections": 1000000, "max_pending_requests": 1000000}]},
                      "load_assignment": {"cluster_name": "c", "endpoints": [{"lb_endpoints": [
                          {"endpoint": {"address": address(*listener.getsockname())}}]}]}}]}}
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(config, file)
        file.flush()
        proxy = subprocess.Popen([given.program, "-c", file.name, "--concurrency", "1", "-l", "error"])
        try:
            there = "127.0.0.1", port
            end = time.monotonic() + 20
            while True:
                try:
                    answered(ask(there)).close()
                    break
                except OSError:
                    assert time.monotonic() < end
                    time.sleep(0.01)
            time.sleep(2)
            idle = private(proxy.pid)
            print(f"idle: {idle} KiB")
            held = [answered(ask(there)) for _ in range(given.connections)]
            time.sleep(2)
            now = private(proxy.pid)
            print(f"{given.connections} idle connections: {now - idle} KiB more, {(now - idle) * 1024 // given.connections} bytes each")
            for sock in held:
                sock.close()
            time.sleep(10)
            print(f"10 s after their end: {private(proxy.pid)} KiB ({private(proxy.pid) / idle:.2f} of idle)")
            burst = [ask(there) for _ in range(given.burst)]
            top = private(proxy.pid)
            for sock in burst:
                answered(sock).close()
            time.sleep(10)
            after = private(proxy.pid)
            print(f"burst of {given.burst}: {top} KiB; 10 s after it {after} KiB, {after / idle:.2f} of idle")
        finally:
            proxy.terminate()
            proxy.wait(20)


main()
