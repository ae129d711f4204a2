#!/usr/bin/env python3
"""fairlead-proxy between others' clients and servers of both versions of HTTP, on loopback: curl, nghttp and h2load; Python's
http.server (HTTP/1.1) and nghttpd (HTTP/2).

    proxy_h2_test.py PROGRAM
"""
import atexit
import http.client
import http.server
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading

from waiting import PATIENCE, eventually, free_port

SKIPPED = 77
PROGRAM = os.path.abspath(sys.argv[1])
FOLDER = pathlib.Path(tempfile.mkdtemp(prefix="fl-h2-"))
TYPE = "type.googleapis.com/envoy."
BODY = bytes(range(256)) * 4096  # 1 MiB
processes = []


def clean_up():
    for process in processes:
        if process.poll() is None:
            process.kill()
            process.wait()
    shutil.rmtree(FOLDER, ignore_errors=True)


def start(*command, **options):
    process = subprocess.Popen([str(word) for word in command], stdin=subprocess.DEVNULL, **options)
    processes.append(process)
    return process


def output(*command):
    done = subprocess.run([str(word) for word in command], capture_output=True, timeout=PATIENCE * 3, check=False)
    assert done.returncode == 0, (command, done.stdout[-1000:], done.stderr[-1000:])
    return done.stdout


# -- servers ----------------------------------------------------------------------------------------------------------

class Http1(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def chunks(self):
        while size := int(self.rfile.readline().split(b";")[0], 16):
            yield self.rfile.read(size)
            self.rfile.readline()
        while self.rfile.readline() not in (b"\r\n", b""):
            pass

    def body(self):
        if self.headers.get("transfer-encoding") == "chunked":
            return b"".join(self.chunks())
        return self.rfile.read(int(self.headers.get("content-length", 0)))

    def do_GET(self):
        sent = self.body()
        text = BODY if self.path == "/large" else sent if self.command == "POST" else b"hello"
        self.send_response(200)
        if self.path == "/chunked":
            self.send_header("transfer-encoding", "chunked")
            self.end_headers()
            self.wfile.write(b"5\r\nhello\r\n0\r\nx-sum: 1\r\n\r\n")
            return
        self.send_header("content-length", str(len(text)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(text)

    do_POST = do_HEAD = do_GET

    def log_message(self, *_):
        pass


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256


def start_http1():
    server = Server(("127.0.0.1", 0), Http1)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server.server_address[1]


def answers(port):
    with socket.socket() as sock:
        return sock.connect_ex(("127.0.0.1", port)) == 0


def start_http2():
    root, port = FOLDER / "root", free_port()
    root.mkdir()
    (root / "large").write_bytes(BODY)
    (root / "index.html").write_bytes(b"hello")
    start("nghttpd", "--no-tls", "-d", root, "--echo-upload", "--trailer=x-sum: 1", "-a", "127.0.0.1", port,
          stdout=subprocess.DEVNULL)
    eventually(lambda: answers(port), "nghttpd listens")
    return port


# -- the proxy --------------------------------------------------------------------------------------------------------

def address(port):
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


def cluster(name, port, version):
    protocol = {"http_protocol_options": {}} if version == 1 else {"http2_protocol_options": {}}
    return {"name": name, "load_assignment": {"cluster_name": name, "endpoints": [
        {"lb_endpoints": [{"endpoint": {"address": address(port)}}]}]},
            "typed_extension_protocol_options": {"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": TYPE + "extensions.upstreams.http.v3.HttpProtocolOptions", "explicit_http_config": protocol}}}


class Proxy:
    def __init__(self, servers):
        self.ports, self.admin = {version: free_port() for version in servers}, free_port()
        log = {"name": "log", "typed_config": {"@type": TYPE + "extensions.access_loggers.file.v3.FileAccessLog",
                                               "path": str(FOLDER / "access.log")}}
        listeners = [{"name": f"l{version}", "address": address(port), "filter_chains": [{"filters": [
            {"name": "hcm", "typed_config": {
                "@type": TYPE + "extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
                "stat_prefix": "x", "access_log": [log], "route_config": {"name": "r", "virtual_hosts": [
                    {"name": "all", "domains": ["*"], "routes": [{"match": {"prefix": "/"},
                                                                  "route": {"cluster": f"http{version}"}}]}]},
                "http_filters": [{"name": "router", "typed_config": {
                    "@type": TYPE + "extensions.filters.http.router.v3.Router"}}]}}]}]}
                     for version, port in self.ports.items()]
        path = FOLDER / "proxy.json"
        path.write_text(json.dumps({"node": {"id": "x", "cluster": "x"}, "admin": {"address": address(self.admin)},
                                    "static_resources": {"listeners": listeners, "clusters": [
                                        cluster(f"http{v}", port, v) for v, port in servers.items()]}}))
        self.process = start(PROGRAM, "-c", path, "--concurrency", "1")
        eventually(lambda: answers(self.admin) and all(map(answers, self.ports.values())), "the proxy is there")

    def metric(self, name, **labels):
        connection = http.client.HTTPConnection("127.0.0.1", self.admin, timeout=PATIENCE)
        connection.request("GET", "/stats/prometheus")
        lines = connection.getresponse().read().decode().splitlines()
        connection.close()
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines if re.split("[{ ]", line)[0] == name and
                   all(f'{key}="{value}"' in line for key, value in labels.items()))


def curl(*words):
    return output("curl", "-sS", "--max-time", PATIENCE, *words)


VERSIONS = {1: "--http1.1", 2: "--http2-prior-knowledge"}


def bodies(proxy):
    upload = FOLDER / "upload"
    upload.write_bytes(BODY)
    for client, option in VERSIONS.items():
        for server, port in proxy.ports.items():
            url = f"http://127.0.0.1:{port}"
            what = f"HTTP/{client} to HTTP/{server}"
            assert curl(option, url + "/index.html") == b"hello", what
            assert curl(option, url + "/large") == BODY, what
            assert curl(option, "--data-binary", f"@{upload}", url + "/echo") == BODY, what
            assert curl(option, "-T", upload, "-X", "POST", "-H", "Transfer-Encoding: chunked", url + "/echo") == BODY, what
            head = curl(option, "-I", url + "/large").decode().lower()
            assert f"content-length: {len(BODY)}" in head and head.startswith(
                "http/2 200" if client == 2 else "http/1.1 200"), (what, head)
    eventually(lambda: len((FOLDER / "access.log").read_text().splitlines()) >= 10 * len(proxy.ports), "they are logged")
    lines = [json.loads(line) for line in (FOLDER / "access.log").read_text().splitlines()]
    assert {line["protocol"] for line in lines} == {"HTTP/1.1", "HTTP/2"}


def trailers(proxy):
    for port in proxy.ports.values():
        path = "/chunked" if port == proxy.ports[1] else "/index.html"
        text = output("nghttp", "-nv", f"http://127.0.0.1:{port}{path}").decode()
        assert "x-sum: 1" in text, text


def load(proxy):
    for server, port in proxy.ports.items():
        for options in (["--h1"], ["-m10"]):
            text = output("h2load", *options, "-t1", "-c10", "-n2000", f"http://127.0.0.1:{port}/index.html").decode()
            assert "2000 succeeded, 0 failed" in text, (server, options, text)


def several_at_once(proxy):
    for port in proxy.ports.values():
        text = output("nghttp", "-n", "-s", "-m", "50", f"http://127.0.0.1:{port}/index.html").decode()
        assert text.count(" 200 ") == 50, text


def drains(proxy):
    before = subprocess.Popen(["h2load", "-t1", "-c4", "-m4", "-D2", f"http://127.0.0.1:{proxy.ports[1]}/index.html"],
                              stdout=subprocess.PIPE, text=True)
    eventually(lambda: proxy.metric("fairlead_connections", side="downstream") >= 4, "clients have come")
    proxy.process.send_signal(signal.SIGTERM)
    text = before.communicate(timeout=PATIENCE)[0]
    assert proxy.process.wait(PATIENCE) == 0
    assert ", 0 errored" in text or "0 errored" in text, text


def main():
    for tool in ("curl", "nghttp", "nghttpd", "h2load"):
        if shutil.which(tool) is None:
            print(f"skipped: {tool} is not installed")
            sys.exit(SKIPPED)
    atexit.register(clean_up)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    proxy = Proxy({1: start_http1(), 2: start_http2()})
    for check in (bodies, trailers, several_at_once, load):
        check(proxy)
        print(check.__name__, "ok", flush=True)
    assert proxy.metric("fairlead_http_parse_errors_total") == 0
    drains(proxy)


if __name__ == "__main__":
    main()
