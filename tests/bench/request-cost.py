#!/usr/bin/env python3
"""What rules cost a request: fairlead-proxy bare, and with routing by 20 rules, RBAC with 20 rules, metrics and an access log
to a pipe. CPU microseconds a request (user + system of the proxy), interleaved rounds, medians.

usage: request-cost.py [--rounds N] [--seconds N] [--conns N] PROGRAM
PROGRAM is a fairlead-proxy; client (h2load, HTTP/1.1) and origin (nginx) run on the other CPU. Loopback alone.
"""
import argparse
import json
import os
import pathlib
import re
import shutil
import statistics
import subprocess
import tempfile
import time

ROUTER = {"name": "envoy.filters.http.router",
          "typed_config": {"@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"}}
HCM = "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
PROXY, ORIGIN = 18101, 18103


def rbac():
    """Twenty rules of the kinds that a mesh has; the last one allows."""
    policies = {}
    for i in range(19):
        policies[f"r{i:02}"] = {
            "permissions": [{"and_rules": {"rules": [
                {"url_path": {"path": {"prefix": f"/private/{i}"}}},
                {"header": {"name": ":method", "string_match": {"exact": "POST"}}}]}}],
            "principals": [{"authenticated": {"principal_name": {"exact": f"spiffe://cluster.local/ns/n{i}/sa/s"}}}]}
    policies["z"] = {"permissions": [{"url_path": {"path": {"prefix": "/"}}}],
                     "principals": [{"direct_remote_ip": {"address_prefix": "127.0.0.0", "prefix_len": 8}}]}
    return {"name": "envoy.filters.http.rbac", "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.filters.http.rbac.v3.RBAC",
        "rules": {"action": "ALLOW", "policies": policies}}}


def bootstrap(full):
    cluster = {"name": "origin", "type": "STATIC", "connect_timeout": "5s", "load_assignment": {
        "cluster_name": "origin", "endpoints": [{"lb_endpoints": [{"endpoint": {"address": {
            "socket_address": {"address": "127.0.0.1", "port_value": ORIGIN}}}}]}]}}
    routes = [{"match": {"prefix": "/"}, "route": {"cluster": "origin", "timeout": "0s"}}]
    hcm = {"@type": HCM, "stat_prefix": "x", "generate_request_id": full, "http_filters": [ROUTER]}
    if full:
        extra = [{"match": {"path_separated_prefix": f"/private/{i}", "headers": [
            {"name": "x-version", "string_match": {"exact": str(i)}}]}, "route": {"cluster": "origin"}} for i in range(19)]
        routes = extra + routes
        hcm["http_filters"] = [rbac(), ROUTER]
        hcm["access_log"] = [{"name": "stdout", "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.access_loggers.stream.v3.StdoutAccessLog"}}]
    hcm["route_config"] = {"name": "r", "virtual_hosts": [{"name": "v", "domains": ["*"], "routes": routes}]}
    return {"static_resources": {"clusters": [cluster], "listeners": [{
        "name": "l", "address": {"socket_address": {"address": "127.0.0.1", "port_value": PROXY}},
        "filter_chains": [{"filters": [{"name": "hcm", "typed_config": hcm}]}]}]}}


def start_origin(folder):
    (folder / "nginx.conf").write_text(f"""
worker_processes 1; daemon off; pid {folder}/pid; error_log {folder}/err;
events {{ worker_connections 4096; }}
http {{ access_log off; keepalive_requests 100000000; keepalive_timeout 600; client_body_temp_path {folder}/t;
 proxy_temp_path {folder}/p; fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
 server {{ listen 127.0.0.1:{ORIGIN}; location / {{ default_type text/plain; return 200 "{'x' * 128}"; }} }} }}
""")
    return subprocess.Popen(["taskset", "-c", "1", "nginx", "-c", folder / "nginx.conf"], stderr=subprocess.DEVNULL)


def cpu(pid):
    with open(f"/proc/{pid}/schedstat", encoding="ascii") as stat:
        main = int(stat.read().split()[0])
    total = 0
    for task in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{task}/schedstat", encoding="ascii") as stat:
            total += int(stat.read().split()[0])
    return max(total, main) / 1e3


def load(seconds, conns):
    done = subprocess.run(["taskset", "-c", "1", "h2load", "--h1", "-t1", f"-c{conns}", f"-D{seconds}", "--warm-up-time=1",
                           f"http://127.0.0.1:{PROXY}/"], capture_output=True, text=True, check=True)
    found = re.search(r"requests: .*?(\d+) succeeded, (\d+) failed", done.stdout)
    if found is None or int(found[2]) > 0 or int(found[1]) == 0:
        raise SystemExit(f"requests failed:\n{done.stdout}")
    return int(found[1])


def measure(program, config, options):
    process = subprocess.Popen(["taskset", "-c", "0", program, "-c", config, "-l", "error", "--concurrency", "1"],
                               stdout=subprocess.PIPE)
    reader = subprocess.Popen(["taskset", "-c", "1", "cat"], stdin=process.stdout, stdout=subprocess.DEVNULL)
    process.stdout.close()
    try:
        end = time.monotonic() + 5
        while subprocess.run(["curl", "-s", "-o", "/dev/null", f"http://127.0.0.1:{PROXY}/"], check=False).returncode != 0:
            if time.monotonic() > end:
                raise SystemExit("the proxy does not answer")
        before = cpu(process.pid)
        requests = load(options.seconds, options.conns)
        spent = cpu(process.pid) - before
        # h2load counts the requests after its warm-up alone: the rate is the same before it.
        return spent / (requests * (options.seconds + 1) / options.seconds)
    finally:
        process.terminate()
        process.wait()
        reader.wait()


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=3)
    parser.add_argument("--conns", type=int, default=32)
    parser.add_argument("program")
    options = parser.parse_args()
    folder = pathlib.Path(tempfile.mkdtemp(prefix="fairlead-bench-"))
    origin = start_origin(folder)
    try:
        costs = {"bare": [], "full": []}
        for name in costs:
            (folder / f"{name}.json").write_text(json.dumps(bootstrap(name == "full")))
        for _ in range(options.rounds):
            for name, figures in costs.items():
                figures.append(measure(options.program, folder / f"{name}.json", options))
        bare, full = (statistics.median(costs[name]) for name in ("bare", "full"))
        more = statistics.median(f - b for f, b in zip(costs["full"], costs["bare"]))
        print("| | CPU µs a request |\n|---|---|")
        print(f"| bare | {bare:.2f} |\n| routing, RBAC (20 rules), metrics, access log | {full:.2f} |\n| more (paired) | {more:.2f} |")
    finally:
        origin.terminate()
        origin.wait()
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
