"""fairlead-proxy driven by an xDS server that is not ours (tests/xds-go over go-control-plane), state of the world and delta:
what it serves is in force, what is bad is NACKed by name while the old configuration serves, a server that goes and
comes back, a stream that is cut at any byte, a proxy that restarts while the control plane is away.

Loopback only. Ready is a line of the proxy's log or an event of the server.

    proxy_xds_test.py <fairlead-proxy> <folder to build xds-go in>
"""
import contextlib
import copy
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
import time
import unittest

import xds_go
from waiting import PATIENCE, eventually, free_port

SKIPPED = 77
PROXY = os.path.abspath(sys.argv.pop(1))
BUILD = sys.argv.pop(1)
GO = None  # the server's program
HCM = "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
ROUTER = {"name": "envoy.filters.http.router",
          "typed_config": {"@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"}}
ADS = {"ads": {}, "resource_api_version": "V3"}


class Origin:
    """An HTTP server that answers with its own name."""

    def __init__(self, name):
        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                self.send_response(200)
                self.send_header("content-length", str(len(name)))
                self.end_headers()
                self.wfile.write(name.encode())

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()


def resources(port, endpoints, cluster="web"):
    """A listener on `port`, its routes by RDS, a cluster by CDS, its endpoints by EDS."""
    hcm = {"@type": HCM, "stat_prefix": "web", "rds": {"route_config_name": "web", "config_source": ADS},
           "http_filters": [ROUTER]}
    return {
        "listeners": [{"name": "web", "address": {"socket_address": {"address": "127.0.0.1", "port_value": port}},
                       "filter_chains": [{"filters": [
                           {"name": "envoy.filters.network.http_connection_manager", "typed_config": hcm}]}]}],
        "routes": [{"name": "web", "virtual_hosts": [
            {"name": "all", "domains": ["*"], "routes": [{"match": {"prefix": "/"}, "route": {"cluster": cluster}}]}]}],
        "clusters": [{"name": cluster, "type": "EDS", "connect_timeout": "1s",
                      "eds_cluster_config": {"eds_config": ADS}}],
        "endpoints": [{"cluster_name": cluster, "endpoints": [{"lb_endpoints": [
            {"endpoint": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": to}}}}
            for to in endpoints]}]}],
    }


def bootstrap(address, delta, admin=0):
    host, port = address.rsplit(":", 1)
    return {
        "node": {"id": "test", "cluster": "test"},
        "admin": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": admin}}},
        "dynamic_resources": {
            "ads_config": {"api_type": "DELTA_GRPC" if delta else "GRPC", "transport_api_version": "V3",
                           "grpc_services": [{"envoy_grpc": {"cluster_name": "xds"}}]},
            "lds_config": ADS, "cds_config": ADS},
        "static_resources": {"clusters": [{
            "name": "xds", "type": "STATIC", "connect_timeout": "1s",
            "typed_extension_protocol_options": {"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
                "explicit_http_config": {"http2_protocol_options": {}}}},
            "load_assignment": {"cluster_name": "xds", "endpoints": [{"lb_endpoints": [
                {"endpoint": {"address": {"socket_address": {"address": host, "port_value": int(port)}}}}]}]}}]},
    }


class Proxy:
    def __init__(self, folder, config, *options):
        self.file = pathlib.Path(folder) / "bootstrap.json"
        self.file.write_text(json.dumps(config))
        self.lines, self.condition = [], threading.Condition()
        self.process = subprocess.Popen([PROXY, "-c", self.file, "--concurrency", "1", "--drain-time-s", "0", *options],
                                        stderr=subprocess.PIPE, text=True)
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.reader.start()

    def read(self):
        for line in self.process.stderr:
            with self.condition:
                self.lines.append(line)
                self.condition.notify_all()

    def wait_log(self, pattern, start=0):
        """The first line from `start` on that matches, and the number of the one behind it."""
        end = time.monotonic() + PATIENCE
        with self.condition:
            at = start
            while True:
                for at in range(at, len(self.lines)):
                    if re.search(pattern, self.lines[at]):
                        return self.lines[at], at + 1
                at = len(self.lines)
                if not self.condition.wait(end - time.monotonic()) and time.monotonic() >= end:
                    raise AssertionError(f"no line {pattern} in {''.join(self.lines)}")

    def ready(self):
        line, _ = self.wait_log('"message":"ready"')
        self.admin = json.loads(line)["admin"]
        return self

    def ask(self, path):
        connection = http.client.HTTPConnection(self.admin, timeout=PATIENCE)
        with contextlib.closing(connection):
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()

    def xds(self):
        return json.loads(self.ask("/debug/xds")[1])

    def stop(self, number=signal.SIGTERM):
        self.process.send_signal(number)
        status = self.process.wait(PATIENCE)
        self.reader.join()
        self.process.stderr.close()
        return status


def get(port):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    with contextlib.closing(connection):
        connection.request("GET", "/")
        answer = connection.getresponse()
        return answer.status, answer.read().decode()


def until(port, expected):
    """Asks until the answer is the expected one: a change is in force soon after its ACK."""
    end = time.monotonic() + PATIENCE
    while True:
        with contextlib.suppress(OSError):
            seen = get(port)
            if seen == expected:
                return
        if time.monotonic() > end:
            raise AssertionError(f"{seen}, not {expected}")
        time.sleep(0.01)


class Cutter:
    """A relay to the server that ends each connection after so many bytes to the proxy."""

    def __init__(self, address):
        host, port = address.rsplit(":", 1)
        self.target, self.limits, self.cut = (host, int(port)), [], 0
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = "127.0.0.1:%d" % self.listener.getsockname()[1]
        threading.Thread(target=self.loop, daemon=True).start()

    def loop(self):
        while True:
            try:
                near, _ = self.listener.accept()
            except OSError:
                return
            try:
                far = socket.create_connection(self.target)
            except OSError:  # the server is away: as if there were no relay
                near.close()
                continue
            limit = self.limits.pop(0) if self.limits else None
            threading.Thread(target=self.both, args=(near, far, limit), daemon=True).start()

    def both(self, near, far, limit):
        with near, far:
            other = threading.Thread(target=self.pump, args=(near, far, None), daemon=True)
            other.start()
            self.pump(far, near, limit)
            other.join()

    def pump(self, source, to, limit):
        with contextlib.suppress(OSError):
            while limit is None or limit > 0:
                piece = source.recv(65536 if limit is None else min(limit, 65536))
                if not piece:
                    break
                to.sendall(piece)
                limit = None if limit is None else limit - len(piece)
            self.cut += limit == 0
        for sock in (source, to):
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    def close(self):
        self.listener.close()


class Case(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="fl-xds-")
        self.addCleanup(shutil.rmtree, self.folder)
        self.port = free_port()
        self.one, self.two = self.origin("one"), self.origin("two")

    def origin(self, name):
        origin = Origin(name)
        self.addCleanup(origin.close)
        return origin

    def serve(self, served):
        server = xds_go.Server(GO, served)
        self.addCleanup(lambda: server.process.poll() is None and server.close())
        return server

    def start(self, address, delta=True, *options):
        proxy = Proxy(self.folder, bootstrap(address, delta), *options)
        self.addCleanup(lambda: proxy.process.poll() is None and proxy.stop(signal.SIGKILL))
        return proxy

    def test_served(self):
        for delta in (False, True):
            self.port = free_port()
            with self.subTest(delta=delta):
                server = self.serve(resources(self.port, [self.one.port]))
                proxy = self.start(server.address, delta).ready()
                self.assertEqual(get(self.port), (200, "one"))
                server.update(resources(self.port, [self.two.port]))
                until(self.port, (200, "two"))
                changed = resources(self.port, [self.one.port], cluster="other")  # make before break
                server.update(changed)
                until(self.port, (200, "one"))
                seen = proxy.xds()
                self.assertTrue(seen["connected"] and seen["complete"])
                self.assertEqual(seen["types"]["CDS"]["held"], 1)
                dump = proxy.ask("/config_dump")[1]
                if not delta:  # there each resource has a version of its own
                    self.assertIn('"version_info":"3"', dump)
                self.assertNotIn('"web"', [c["name"] for d in json.loads(dump)["configs"]
                                           for c in d.get("dynamic_active_clusters", [])])
                metrics = proxy.ask("/stats/prometheus")[1]
                self.assertIn("fairlead_xds_connected 1", metrics)
                self.assertEqual(proxy.stop(), 0)
                server.close()

    def test_refused(self):
        for delta in (False, True):
            self.port = free_port()
            with self.subTest(delta=delta):
                server = self.serve(resources(self.port, [self.one.port]))
                proxy = self.start(server.address, delta).ready()
                bad = resources(self.port, [self.two.port])
                bad["clusters"].append({"name": "broken", "type": "EDS", "connect_timeout": "-1s",
                                        "eds_cluster_config": {"eds_config": ADS}})
                server.update(bad)
                nack = server.wait("nack", type=xds_go.CLUSTER)
                self.assertIn("broken", nack["error"])
                self.assertIn("connect_timeout", nack["error"])
                until(self.port, (200, "two"))  # the good ones of the same version count
                seen = proxy.xds()["types"]["CDS"]
                self.assertIn(seen["refused"], range(1, 5))  # this server sends again at once what was refused
                self.assertIn("broken", seen["last_nack"])
                proxy.wait_log("configuration refused.*broken")
                worse = copy.deepcopy(bad)
                worse["clusters"][0]["connect_timeout"] = "-1s"  # the one in use: its old version stays
                server.update(worse)
                server.wait("nack", type=xds_go.CLUSTER)
                self.assertEqual(get(self.port), (200, "two"))
                server.update(resources(self.port, [self.one.port]))
                until(self.port, (200, "one"))
                # A NACK that is repeated waits, and the answer to it comes then.
                eventually(lambda: "last_nack" not in proxy.xds()["types"]["CDS"], "no NACK is told of")
                self.assertEqual(proxy.stop(), 0)
                server.close()

    def test_not_ready_without_server(self):
        port = free_port()
        admin = free_port()
        proxy = Proxy(self.folder, bootstrap(f"127.0.0.1:{port}", True, admin))
        self.addCleanup(lambda: proxy.process.poll() is None and proxy.stop(signal.SIGKILL))
        proxy.wait_log("the control plane cannot be reached")
        proxy.admin = f"127.0.0.1:{admin}"
        status, text = proxy.ask("/ready")
        self.assertEqual(status, 503)
        self.assertIn("INITIALIZING: waits for the control plane", text)
        self.assertEqual(proxy.stop(), 0)

    def test_server_restarts(self):
        for delta in (False, True):
            self.port = free_port()
            with self.subTest(delta=delta):
                server = self.serve(resources(self.port, [self.one.port]))
                cutter = Cutter(server.address)
                self.addCleanup(cutter.close)
                proxy = self.start(cutter.address, delta).ready()
                server.close()
                proxy.wait_log("the stream to the control plane ended")
                self.assertEqual(get(self.port), (200, "one"))  # what is in force stays
                self.assertFalse(proxy.xds()["connected"])
                server = self.serve(resources(self.port, [self.two.port]))
                host, port = server.address.rsplit(":", 1)
                cutter.target = (host, int(port))
                until(self.port, (200, "two"))
                self.assertEqual(proxy.stop(), 0)
                server.close()

    def test_streams_cut_anywhere(self):
        server = self.serve(resources(self.port, [self.one.port]))
        cutter = Cutter(server.address)
        self.addCleanup(cutter.close)
        cutter.limits = [0, 9, 30, 60, 150, 400, 900]
        proxy = self.start(cutter.address).ready()
        self.assertEqual(get(self.port), (200, "one"))
        self.assertGreaterEqual(cutter.cut, 5)
        self.assertEqual(proxy.stop(), 0)

    def test_restart_without_server(self):
        state = os.path.join(self.folder, "state")
        os.mkdir(state, 0o700)
        server = self.serve(resources(self.port, [self.one.port]))
        proxy = self.start(server.address, True, "--state-dir", state).ready()
        kept = pathlib.Path(state) / "last-good"
        eventually(kept.exists, "the last good state is kept")
        self.assertEqual(kept.stat().st_mode & 0o777, 0o600)
        proxy.stop(signal.SIGKILL)
        address = server.address
        server.close()
        proxy = self.start(address, True, "--state-dir", state).ready()
        self.assertEqual(get(self.port), (200, "one"))
        self.assertTrue(proxy.xds()["restored"])
        proxy.stop(signal.SIGKILL)
        kept.write_bytes(kept.read_bytes()[:-1])
        proxy = self.start(address, True, "--state-dir", state)
        proxy.wait_log("the last good configuration is dropped")
        proxy.wait_log("the control plane cannot be reached")
        self.assertEqual(proxy.stop(), 0)

    def test_restart_with_a_port_taken(self):
        """A listener of the last good configuration that cannot be opened stops no start: another one mends it."""
        state = pathlib.Path(self.folder) / "state"
        state.mkdir(mode=0o700)
        server = self.serve(resources(self.port, [self.one.port]))
        proxy = self.start(server.address, True, "--state-dir", state).ready()
        eventually((state / "last-good").exists, "the configuration is kept")
        proxy.stop(signal.SIGKILL)
        with socket.create_server(("127.0.0.1", self.port)):
            proxy = self.start(server.address, True, "--state-dir", state).ready()
            proxy.wait_log("a listener cannot be opened")
            other = free_port()
            server.update(resources(other, [self.one.port]))
            until(other, (200, "one"))
        self.assertEqual(proxy.stop(), 0)

    def test_static_and_dynamic(self):
        """Listeners of the file beside those of the server, and a reload that keeps both."""
        port = free_port()
        server = self.serve(resources(self.port, [self.one.port]))
        config = bootstrap(server.address, True)
        config["static_resources"]["listeners"] = resources(port, [])["listeners"]
        listener = config["static_resources"]["listeners"][0]
        listener["name"] = "static"
        proxy = Proxy(self.folder, config)
        self.addCleanup(lambda: proxy.process.poll() is None and proxy.stop(signal.SIGKILL))
        proxy.ready()
        until(port, (200, "one"))
        proxy.process.send_signal(signal.SIGHUP)
        eventually(lambda: 'fairlead_config_reloads_total{result="accepted"} 1' in proxy.ask("/stats/prometheus")[1],
                   "the reload is counted")
        self.assertEqual(get(port), (200, "one"))
        self.assertEqual(get(self.port), (200, "one"))
        self.assertEqual(proxy.stop(), 0)


def main():
    global GO
    try:
        GO = xds_go.build(BUILD)
    except xds_go.Missing as why:
        print(f"skipped: {why}")
        sys.exit(SKIPPED)
    unittest.main(verbosity=2)


if __name__ == "__main__":
    main()
