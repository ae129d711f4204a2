#!/usr/bin/env python3
"""fairlead-proxy's authorization between real processes on loopback, and what a new policy does to what is under way: an idle
connection, a stream and an opaque connection, each within a second.

    proxy_policy_test.py PROGRAM
"""
import atexit
import http.client
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

from waiting import PATIENCE, free_port

PROGRAM = os.path.abspath(sys.argv[1])
FOLDER = pathlib.Path(tempfile.mkdtemp(prefix="fl-policy-"))
TYPE = "type.googleapis.com/envoy."
processes = []


def clean_up():
    for process in processes:
        if process.poll() is None:
            process.kill()
            process.wait()
    shutil.rmtree(FOLDER, ignore_errors=True)


def serve(sock):
    """200 to everything; /stream is an answer that does not end."""
    try:
        while True:
            head = b""
            while b"\r\n\r\n" not in head:
                piece = sock.recv(65536)
                if not piece:
                    return
                head += piece
            if b"/stream" in head:
                sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\nx")
                while sock.recv(65536):
                    pass
                return
            sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
    except OSError:
        pass


def serve_and_close(sock):
    with sock:
        serve(sock)


def origin():
    listener = socket.create_server(("127.0.0.1", 0))

    def loop():
        while True:
            sock, _peer = listener.accept()
            threading.Thread(target=serve_and_close, args=(sock,), daemon=True).start()

    threading.Thread(target=loop, daemon=True).start()
    return listener.getsockname()[1]


# -- configuration ----------------------------------------------------------------------------------------------------

def rbac(kind, action, permission, principal=None):
    policy = {"permissions": [permission], "principals": [principal or {"any": True}]}
    config = {"@type": f"{TYPE}extensions.filters.{kind}.rbac.v3.RBAC",
              "rules": {"action": action, "policies": {"a policy": policy}}}
    return {"name": "rbac", "typed_config": config if kind == "http" else {**config, "stat_prefix": "p"}}


def path(prefix):
    return {"url_path": {"path": {"prefix": prefix}}}


def listener(name, port, filters):
    address = {"socket_address": {"address": "127.0.0.1", "port_value": port}}
    return {"name": name, "address": address, "filter_chains": [{"filters": filters}]}


class Proxy:
    def __init__(self, http):
        self.http_port, self.tcp_port, self.origin = free_port(), free_port(), origin()
        self.write(http)
        self.process = subprocess.Popen([PROGRAM, "-c", FOLDER / "b.json"], stdin=subprocess.DEVNULL,
                                        stderr=subprocess.PIPE)
        processes.append(self.process)
        self.wait_for("ready")

    def write(self, http, network=()):
        routes = {"virtual_hosts": [{"name": "v", "domains": ["*"],
                                     "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "c"}}]}]}
        router = {"name": "r", "typed_config": {"@type": f"{TYPE}extensions.filters.http.router.v3.Router"}}
        hcm = {"@type": f"{TYPE}extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
               "stat_prefix": "p", "normalize_path": True, "route_config": routes, "http_filters": [*http, router]}
        tcp = {"@type": f"{TYPE}extensions.filters.network.tcp_proxy.v3.TcpProxy", "stat_prefix": "p", "cluster": "c"}
        address = {"socket_address": {"address": "127.0.0.1", "port_value": self.origin}}
        cluster = {"name": "c", "load_assignment": {
            "cluster_name": "c", "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address}}]}]}}
        listeners = [listener("http", self.http_port, [*network, {"name": "h", "typed_config": hcm}]),
                     listener("tcp", self.tcp_port, [*network, {"name": "t", "typed_config": tcp}])]
        text = json.dumps({"static_resources": {"clusters": [cluster], "listeners": listeners}})
        (FOLDER / "b.json.new").write_text(text)
        (FOLDER / "b.json.new").rename(FOLDER / "b.json")

    def wait_for(self, message):
        for line in self.process.stderr:
            found = json.loads(line)
            if found["message"] == message:
                return found
        raise AssertionError(f"no {message!r}")

    def change(self, http, network=(), message="configuration in force"):
        self.write(http, network)
        self.process.send_signal(signal.SIGHUP)
        return self.wait_for(message)

    def dial(self, port):
        return socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)


def get(sock, target):
    sock.sendall(f"GET {target} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
    with sock.makefile("rb") as reader:
        status = int(reader.readline().split()[1])
        headers = http.client.parse_headers(reader)
        length = int(headers["content-length"])
        return status, reader.read(length) if length < 1000 else None  # the stream's does not end


def assert_cut(sock):
    """Within a second, by a reset."""
    sock.settimeout(1)
    try:
        while sock.recv(65536):
            pass
    except ConnectionResetError:
        return
    raise AssertionError("ended without a reset")


# -- tests ------------------------------------------------------------------------------------------------------------

def what_is_denied_and_what_a_change_does():
    proxy = Proxy([rbac("http", "DENY", path("/admin"))])
    idle, stream, opaque = proxy.dial(proxy.http_port), proxy.dial(proxy.http_port), proxy.dial(proxy.tcp_port)
    assert get(idle, "/") == (200, b"ok")
    for target in ("/admin", "/x/../admin", "/%61dmin"):
        assert get(idle, target) == (403, b"RBAC: access denied"), target
    assert get(stream, "/stream")[0] == 200
    assert get(opaque, "/") == (200, b"ok")
    proxy.change([rbac("http", "DENY", path("/stream"))])
    assert_cut(stream)
    assert get(idle, "/admin") == (200, b"ok")
    assert get(idle, "/stream")[0] == 403
    assert get(opaque, "/") == (200, b"ok")
    refused = proxy.change([rbac("http", "DENY", {"matcher": {"name": "x"}})],
                           message="configuration refused; the one before stays in force")
    assert refused["reason"].endswith("matcher is not supported"), refused
    assert get(idle, "/stream")[0] == 403
    local = {"direct_remote_ip": {"address_prefix": "127.0.0.0", "prefix_len": 8}}
    proxy.change([], [rbac("network", "DENY", {"any": True}, local)])
    assert_cut(opaque)
    assert_cut(idle)
    try:
        assert_cut(proxy.dial(proxy.tcp_port))
    except ConnectionResetError:
        pass  # so quick that connect(2) has seen it
    proxy.change([])
    with proxy.dial(proxy.tcp_port) as opaque:
        assert get(opaque, "/") == (200, b"ok")
    proxy.process.terminate()
    assert proxy.process.wait(PATIENCE) == 0


def main():
    atexit.register(clean_up)
    began = time.monotonic()
    what_is_denied_and_what_a_change_does()
    print(f"{time.monotonic() - began:6.2f} s  what is denied, and what a change does: ok")


if __name__ == "__main__":
    main()
