#!/usr/bin/env python3
"""fairlead-proxy's traffic policies and traces between real processes on loopback: client → proxy A (outbound) → proxy B
(inbound) → servers, and a collector that reads what a real one would. Two workers each, so that what must hold for the
process is seen to.

    proxy_traffic_test.py PROGRAM
"""
import atexit
import concurrent.futures
import http.client
import http.server
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import threading

from waiting import PATIENCE, eventually, free_port
from wire import fields

PROGRAM = os.path.abspath(sys.argv[1])
FOLDER = pathlib.Path(tempfile.mkdtemp(prefix="fl-traffic-"))
processes = []


def clean_up():
    for process in processes:
        if process.poll() is None:
            process.kill()
            process.wait()
    shutil.rmtree(FOLDER, ignore_errors=True)


# -- servers ----------------------------------------------------------------------------------------------------------

class Server:
    """Answers by `answer(method, path, headers, body)` → (status, body); keeps what it was asked."""

    def __init__(self, answer):
        seen = self.seen = []

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
                seen.append((self.command, self.path, {name.lower(): value for name, value in self.headers.items()},
                             body))
                status, text = answer(self.path)
                self.send_response(status)
                self.send_header("content-length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            do_POST = do_GET

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


# -- what a collector reads: protobuf by hand -------------------------------------------------------------------------

def attributes(items):
    found = {}
    for item in items:
        pair = dict(fields(item))
        value = dict(fields(pair[2]))
        found[pair[1].decode()] = value[1].decode() if 1 in value else value.get(3)
    return found


def spans(collector):
    found = []
    for _method, path, headers, body in list(collector.seen):
        assert path == "/v1/traces" and headers["content-type"] == "application/x-protobuf", (path, headers)
        for _, resource_spans in fields(body):
            parts = list(fields(resource_spans))
            resource = attributes(v for n, v in fields(next(v for n, v in parts if n == 1)) if n == 1)
            for scope_spans in (v for n, v in parts if n == 2):
                for span in (list(fields(v)) for n, v in fields(scope_spans) if n == 2):
                    one = dict(span)
                    found.append({"service": resource["service.name"], "trace": one[1].hex(), "id": one[2].hex(),
                                  "parent": one.get(4, b"").hex(), "kind": one[6], "took": one[8] - one[7],
                                  **attributes(v for n, v in span if n == 9)})
    return found


# -- proxies ----------------------------------------------------------------------------------------------------------

TYPE = "type.googleapis.com/envoy."


def cluster(name, ports, **more):
    endpoints = [{"endpoint": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": port}}}}
                 for port in ports]
    return {"name": name, "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": endpoints}]}, **more}


def config(name, direction, listen, admin, collector, clusters, route, tracing=None):
    log = {"name": "log", "typed_config": {"@type": TYPE + "extensions.access_loggers.file.v3.FileAccessLog",
                                           "path": str(FOLDER / f"{name}.log")}}
    provider = {"name": "envoy.tracers.opentelemetry", "typed_config": {
        "@type": TYPE + "config.trace.v3.OpenTelemetryConfig", "service_name": name,
        "http_service": {"http_uri": {"uri": f"http://127.0.0.1:{collector}/v1/traces", "cluster": "collector",
                                      "timeout": "5s"}}}}
    hcm = {"@type": TYPE + "extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
           "stat_prefix": name, "access_log": [log], "tracing": {"provider": provider, **(tracing or {})},
           "route_config": {"name": "r", "virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [
               {"match": {"prefix": "/"}, "route": {"cluster": clusters[0]["name"], **route}}]}]},
           "http_filters": [{"name": "router", "typed_config": {
               "@type": TYPE + "extensions.filters.http.router.v3.Router"}}]}
    address = lambda port: {"socket_address": {"address": "127.0.0.1", "port_value": port}}
    return {"node": {"id": name, "cluster": name}, "admin": {"address": address(admin)}, "static_resources": {
        "clusters": [*clusters, cluster("collector", [collector])],
        "listeners": [{"name": name, "address": address(listen), "traffic_direction": direction, "enable_reuse_port": True,
                       "filter_chains": [{"filters": [{"name": "hcm", "typed_config": hcm}]}]}]}}


class Proxy:
    def __init__(self, name, direction, collector, clusters, route=None, tracing=None):
        self.name, self.port, self.admin = name, free_port(), free_port()
        path = FOLDER / f"{name}.json"
        path.write_text(json.dumps(config(name, direction, self.port, self.admin, collector.port, clusters, route or {},
                                          tracing)))
        self.log = open(FOLDER / f"{name}.err", "w+", encoding="utf-8")
        self.process = subprocess.Popen([PROGRAM, "-c", path, "--concurrency", "2"], stderr=self.log,
                                        stdin=subprocess.DEVNULL)
        processes.append(self.process)
        eventually(self.is_ready, f"{name} is ready")

    def is_ready(self):
        assert self.process.poll() is None, (FOLDER / f"{self.name}.err").read_text()
        try:
            return self.ask("/ready", self.admin)[0] == 200
        except OSError:
            return False

    def ask(self, path="/", port=None, headers=None, method="GET", body=None):
        connection = http.client.HTTPConnection("127.0.0.1", port or self.port, timeout=PATIENCE)
        try:
            connection.request(method, path, body=body, headers=headers or {})
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def metric(self, name, **labels):
        total = 0.0
        for line in self.ask("/stats/prometheus", self.admin)[1].decode().splitlines():
            if line.split("{")[0].split(" ")[0] == name and all(f'{k}="{v}"' in line for k, v in labels.items()):
                total += float(line.rsplit(" ", 1)[1])
        return total

    def lines(self):
        path = FOLDER / f"{self.name}.log"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(PATIENCE)
        self.log.close()
        assert code == 0, (code, (FOLDER / f"{self.name}.err").read_text())


# -- tests ------------------------------------------------------------------------------------------------------------

def one_trace_through_both_proxies():
    collector, origin = Server(lambda path: (200, b"")), Server(lambda path: (200, b"hi"))
    b = Proxy("b", "INBOUND", collector, [cluster("app", [origin.port])])
    a = Proxy("a", "OUTBOUND", collector, [cluster("b", [b.port])])
    assert a.ask("/new")[0] == 200
    mine = {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "tracestate": "v=1"}
    assert a.ask("/joined?q=1", headers=mine)[0] == 200
    assert a.ask("/unsampled", headers={"traceparent": mine["traceparent"][:-1] + "0"})[0] == 200
    assert a.ask("/broken", headers={"traceparent": "00-nonsense", "tracestate": "v=1"})[0] == 200
    eventually(lambda: len(spans(collector)) >= 6, "six spans")
    all_spans = spans(collector)
    assert len(all_spans) == 6, all_spans
    told = {path.split("?")[0]: headers for _, path, headers, _ in origin.seen}
    for path in ("/new", "/joined", "/broken"):
        client, server = (next(s for s in all_spans if s["url.path"] == path and s["service"] == name) for name in "ab")
        assert client["trace"] == server["trace"] and server["parent"] == client["id"], (client, server)
        assert (client["kind"], server["kind"]) == (3, 2)
        assert client["http.response.status_code"] == server["http.response.status_code"] == 200
        assert client["took"] >= server["took"] > 0
        assert told[path]["traceparent"] == f"00-{server['trace']}-{server['id']}-01", told[path]
        if path == "/joined":
            assert (client["trace"], client["parent"]) == tuple(mine["traceparent"].split("-")[1:3])
            assert told[path]["tracestate"] == "v=1"
        else:
            assert client["parent"] == "" and "tracestate" not in told[path], (client, told[path])
        for proxy, span in ((a, client), (b, server)):
            line = eventually(lambda: [l for l in proxy.lines() if l["path"].startswith(path)], "a line")[0]
            assert (line["trace_id"], line["span_id"]) == (span["trace"], span["id"]), line
    assert told["/unsampled"]["traceparent"].endswith("-00")
    eventually(lambda: a.metric("fairlead_trace_spans_total", result="exported") == 3, "exported")
    a.stop()
    b.stop()


def b3_is_accepted_and_sampling_decides():
    collector, origin = Server(lambda path: (200, b"")), Server(lambda path: (200, b""))
    a = Proxy("c", "OUTBOUND", collector, [cluster("app", [origin.port])], tracing={"random_sampling": {"value": 0}})
    assert a.ask("/none")[0] == 200
    assert a.ask("/b3", headers={"b3": "0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-1"})[0] == 200
    found = eventually(lambda: spans(collector), "a span")
    assert [s["url.path"] for s in found] == ["/b3"]
    told = {path: headers for _, path, headers, _ in origin.seen}
    assert told["/b3"]["b3"] == f"{found[0]['trace']}-{found[0]['id']}-1-b7ad6b7169203331", told["/b3"]
    assert told["/none"]["traceparent"].endswith("-00")
    a.stop()


def retries_hide_a_bad_host_and_it_is_ejected():
    collector = Server(lambda path: (200, b""))
    bad, good = Server(lambda path: (503, b"no")), Server(lambda path: (200, b"yes"))
    policy = {"retry_policy": {"retry_on": "5xx", "num_retries": 2, "retry_back_off": {"base_interval": "0.002s"},
                               "retry_host_predicate": [{"name": "envoy.retry_host_predicates.previous_hosts"}]}}
    outliers = {"consecutive_5xx": 4, "base_ejection_time": "60s", "max_ejection_percent": 50}
    limits = {"thresholds": [{"max_retries": 100}]}
    a = Proxy("d", "OUTBOUND", collector, [cluster("app", [bad.port, good.port], outlier_detection=outliers,
                                                   circuit_breakers=limits)], policy)
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda i: a.ask("/", method="POST", body=b"x" * i), range(100)))
    assert all(answer == (200, b"yes") for answer in answers), answers
    assert [len(body) for _, _, _, body in sorted(good.seen, key=lambda one: len(one[3]))] == list(range(100))
    started = a.metric("fairlead_upstream_retries_total", result="started")
    assert started == len(bad.seen) >= 4, (started, len(bad.seen))
    assert len(bad.seen) < 20, len(bad.seen)  # the two workers count together; what was under way may still come
    assert a.metric("fairlead_upstream_ejections_total", enforced="true") == 1
    assert a.metric("fairlead_upstream_hosts_ejected") == 1
    line = eventually(lambda: [l for l in a.lines() if l.get("upstream_request_attempt_count") == 2], "a retried line")
    assert line[0]["response_code"] == 200
    a.stop()


def a_limit_holds_for_the_process():
    gate = threading.Event()
    collector = Server(lambda path: (200, b""))
    slow = Server(lambda path: (200, b"slow") if gate.wait(PATIENCE) else (500, b""))
    limits = {"thresholds": [{"max_requests": 2}]}
    a = Proxy("e", "OUTBOUND", collector, [cluster("app", [slow.port], circuit_breakers=limits)])
    with concurrent.futures.ThreadPoolExecutor(24) as pool:
        asked = [pool.submit(a.ask) for _ in range(24)]
        eventually(lambda: sum(one.done() for one in asked) == 22, "all but two are refused")
        gate.set()
        statuses = sorted(one.result()[0] for one in asked)
    assert statuses == [200] * 2 + [503] * 22, statuses
    assert a.metric("fairlead_upstream_overflows_total", limit="requests") == 22
    assert a.ask()[0] == 200
    a.stop()


def main():
    atexit.register(clean_up)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    for test in (one_trace_through_both_proxies, b3_is_accepted_and_sampling_decides,
                 retries_hide_a_bad_host_and_it_is_ejected, a_limit_holds_for_the_process):
        test()
        print(f"ok {test.__name__}", flush=True)


main()
