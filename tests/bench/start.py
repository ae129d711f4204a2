#!/usr/bin/env python3
"""exec to the first answer, milliseconds: a proxy with one plain HTTP listener, one listener of mutual TLS, and one server
behind. Peers take turns, so that a busy machine is busy for all of them.

    start.py [--rounds N] [--fairlead NAME=PROGRAM …]     (50 rounds; default: fairlead=build/release/bin/fairlead-proxy)

For each: least, median, and the CPU time that the process had used by then (all threads; least and median); in a last round what is
private and what is resident 4 s after its start, KiB. Peers that are not here are left out; $ENVOY names Envoy's binary.
"""
import argparse
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import statistics
import subprocess
import tempfile
import threading
import time

TYPE = "type.googleapis.com/envoy.extensions."
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"
REQUEST = b"GET / HTTP/1.1\r\nHost: web\r\nConnection: close\r\n\r\n"


def serve(listener):
    while True:
        sock, _ = listener.accept()
        threading.Thread(target=answer, args=(sock,), daemon=True).start()


def answer(sock):
    with sock:
        while sock.recv(4096):
            sock.sendall(ANSWER)


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return sock.getsockname()[1]


def certificate(folder):
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-subj", "/CN=web",
                    "-addext", "subjectAltName=URI:spiffe://cluster.local/ns/a/sa/b", "-keyout", folder / "key", "-out", folder / "crt"],
                   check=True, capture_output=True)
    (folder / "pem").write_text((folder / "crt").read_text() + (folder / "key").read_text())


def envoy_form(folder, plain, tls, server):
    def typed(name, kind, **fields):
        return {"name": name, "typed_config": {"@type": TYPE + kind, **fields}}

    def address(port):
        return {"socket_address": {"address": "127.0.0.1", "port_value": port}}

    hcm = typed("hcm", "filters.network.http_connection_manager.v3.HttpConnectionManager", stat_prefix="m", route_config={
        "virtual_hosts": [{"name": "v", "domains": ["*"], "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "c"}}]}]},
        http_filters=[typed("r", "filters.http.router.v3.Router")])
    secure = typed("tls", "transport_sockets.tls.v3.DownstreamTlsContext", require_client_certificate=True, common_tls_context={
        "tls_certificates": [{"certificate_chain": {"filename": f"{folder}/crt"}, "private_key": {"filename": f"{folder}/key"}}],
        "validation_context": {"trusted_ca": {"filename": f"{folder}/crt"}}})
    return {"node": {"id": "m", "cluster": "m"}, "static_resources": {
        "listeners": [{"name": "p", "address": address(plain), "filter_chains": [{"filters": [hcm]}]},
                      {"name": "t", "address": address(tls), "filter_chains": [{"filters": [hcm], "transport_socket": secure}]}],
        "clusters": [{"name": "c", "load_assignment": {"cluster_name": "c", "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address(server)}}]}]}}]}}


def nginx_form(folder, plain, tls, server):
    return f"""daemon off; master_process off; worker_processes 1; pid {folder}/pid; error_log /dev/null;
events {{ worker_connections 1024; }}
http {{ access_log off; server {{ listen 127.0.0.1:{plain}; location / {{ proxy_pass http://127.0.0.1:{server}; }} }}
server {{ listen 127.0.0.1:{tls} ssl; ssl_certificate {folder}/crt; ssl_certificate_key {folder}/key; ssl_client_certificate {folder}/crt;
ssl_verify_client on; location / {{ proxy_pass http://127.0.0.1:{server}; }} }} }}
"""


def haproxy_form(folder, plain, tls, server):
    return f"""global
  nbthread 1
defaults
  mode http
  timeout connect 5s
  timeout client 60s
  timeout server 60s
frontend f
  bind 127.0.0.1:{plain}
  bind 127.0.0.1:{tls} ssl crt {folder}/pem ca-file {folder}/crt verify required
  default_backend b
backend b
  server s 127.0.0.1:{server}
"""


def commands(folder, given, server):
    """Name → (command, plain port)."""
    peers = {}
    for name, program in given:
        plain, config = free_port(), folder / f"{name}.json"
        config.write_text(json.dumps(envoy_form(folder, plain, free_port(), server)))
        peers[name] = [program, "-c", str(config), "--concurrency", "1", "-l", "error"], plain
    if shutil.which("nginx"):
        plain, config = free_port(), folder / "nginx.conf"
        config.write_text(nginx_form(folder, plain, free_port(), server))
        peers["nginx"] = [shutil.which("nginx"), "-c", str(config)], plain
    if shutil.which("haproxy"):
        plain, config = free_port(), folder / "haproxy.conf"
        config.write_text(haproxy_form(folder, plain, free_port(), server))
        peers["haproxy"] = [shutil.which("haproxy"), "-db", "-f", str(config)], plain
    if "ENVOY" in os.environ:
        plain, config = free_port(), folder / "envoy.json"
        config.write_text(json.dumps(envoy_form(folder, plain, free_port(), server)))
        peers["envoy"] = [os.environ["ENVOY"], "-c", str(config), "--concurrency", "1", "-l", "error", "--disable-hot-restart"], plain
    return peers


def ask(port):
    with socket.create_connection(("127.0.0.1", port), timeout=10) as sock:
        sock.sendall(REQUEST)
        return sock.recv(64).startswith(b"HTTP/1.1 200")


def cpu_ms(pid):
    return sum(int(task.joinpath("schedstat").read_text().split()[0]) for task in pathlib.Path(f"/proc/{pid}/task").iterdir()) / 1e6


def stop(process):
    process.send_signal(signal.SIGKILL)
    process.wait()


def once(command, port):
    begin = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        while time.perf_counter() - begin < 20:
            try:
                if ask(port):
                    return (time.perf_counter() - begin) * 1e3, cpu_ms(process.pid)
            except OSError:
                pass
            time.sleep(0.0001)
        raise SystemExit(f"no answer: {command}")
    finally:
        stop(process)


def memory(command):
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    time.sleep(4.5)
    text = pathlib.Path(f"/proc/{process.pid}/smaps_rollup").read_text()
    stop(process)
    return [int(re.search(rf"^{field}:\s+(\d+)", text, re.M)[1]) for field in ("Private_Dirty", "Rss")]


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--rounds", type=int, default=50)
    options.add_argument("--fairlead", action="append", metavar="NAME=PROGRAM", type=lambda text: text.split("=", 1))
    given = options.parse_args()
    program = pathlib.Path(__file__).resolve().parents[2] / "build/release/bin/fairlead-proxy"
    listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
    threading.Thread(target=serve, args=(listener,), daemon=True).start()
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        certificate(folder)
        peers = commands(folder, given.fairlead or [["fairlead", str(program)]], listener.getsockname()[1])
        seen = {peer: [] for peer in peers}
        for _ in range(given.rounds):
            for peer, (command, port) in peers.items():
                seen[peer].append(once(command, port))
        for peer, runs in seen.items():
            wall, cpu = zip(*runs)
            private, resident = memory(peers[peer][0])
            print(f"{peer:18} ms: least {min(wall):6.2f}, median {statistics.median(wall):6.2f}; CPU ms: {min(cpu):6.2f}, "
                  f"{statistics.median(cpu):6.2f}; after 4 s: {private} KiB private, {resident} resident", flush=True)


main()
