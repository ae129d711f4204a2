"""What happened: the same trace in both pods' spans, and the requests in a real Prometheus."""
import json
import re
import shutil
import subprocess
import time

from standin import netns

CLIENT, SERVER = 3, 2  # kinds of spans


class Telemetry:
    def __init__(self, world):
        self.world, self.report = world, world.report

    def play(self):
        self.traces()
        self.given_trace()
        self.labels()
        self.prometheus()

    def traces(self):
        def pairs(spans):
            clients = {s["span"]: s for s in spans if s["kind"] == CLIENT}
            return [(clients[s["parent"]], s) for s in spans if s["kind"] == SERVER and s["parent"] in clients]
        self.world.ask("server")
        found = self.world.collector.wait(pairs)
        self.report.claim(found and found[-1][0]["trace"] == found[-1][1]["trace"],
                          "both sidecars' spans have one trace id, and the server's is the child of the client's",
                          f"{len(self.world.collector.spans)} spans: {self.world.collector.spans[-4:]}")

    def given_trace(self):
        trace = "0af7651916cd43dd8448eb211c80319c"
        self.world.ask("server", headers={"traceparent": f"00-{trace}-b7ad6b7169203331-01"})
        kinds = self.world.collector.wait(lambda spans: {s["kind"] for s in spans if s["trace"] == trace} >= {CLIENT, SERVER})
        self.report.claim(kinds, "a trace that the app began goes on through both sidecars")

    def labels(self):
        """What Kiali groups by, and what dashboards show, of client and server as both sidecars tell it."""
        both = {"source_workload": "client", "source_app": "client", "source_canonical_service": "client",
                "destination_workload": "server", "destination_app": "server", "destination_canonical_service": "server",
                "destination_service_namespace": "demo", "request_protocol": "http", "response_code": "200",
                "response_flags": "-", "grpc_response_status": ""}
        for side in ("source", "destination"):
            both |= {f"{side}_workload_namespace": "demo", f"{side}_version": "v1", f"{side}_canonical_revision": "v1",
                     f"{side}_cluster": "Kubernetes",
                     f"{side}_principal": f"spiffe://cluster.local/ns/demo/sa/{both[f'{side}_workload']}"}
        called = {"destination_service": "server-v1.demo.svc.cluster.local", "destination_service_name": "server-v1"}
        self.world.ask("server-v1")
        for pod, more in ((self.world.client, {"reporter": "source", "connection_security_policy": "unknown", **called}),
                          (self.world.server, {"reporter": "destination", "connection_security_policy": "mutual_tls", **called})):
            wanted, reporter = {**both, **more}, more["reporter"]
            series = [dict(re.findall(r'(\w+)="([^"]*)"', line)) for line in self.world.scrape(pod).splitlines()
                      if line.startswith("istio_requests_total{")]
            differ = [{key: found.get(key) for key in wanted if found.get(key) != wanted[key]} for found in series]
            nearest = min(differ, key=len, default={"istio_requests_total": None})
            self.report.claim({} in differ, f"the {reporter}'s series name both ends: workload, app, version, canonical service, "
                              "and what else Kiali groups by", str(nearest))

    def prometheus(self):
        if shutil.which("prometheus") is None:
            self.report.line("skip requests in a real Prometheus: Debian's package prometheus is not installed")
            return
        world = self.world
        folder = world.state / "prometheus"
        folder.mkdir()
        targets = [f"{pod.ips[0]}:15020" for pod in (world.client, world.server)]
        (folder / "prometheus.yml").write_text(json.dumps({
            "global": {"scrape_interval": "1s"},
            "scrape_configs": [{"job_name": "mesh", "metrics_path": "/stats/prometheus",
                                "static_configs": [{"targets": targets}]}]}))
        with open(folder / "log", "wb") as sink:
            process = subprocess.Popen(
                ["nsenter", f"--net={netns.path(world.node)}", "setpriv", "--pdeathsig", "KILL", "prometheus",
                 f"--config.file={folder / 'prometheus.yml'}", f"--storage.tsdb.path={folder / 'data'}",
                 "--web.listen-address=127.0.0.1:9090"],
                stdin=subprocess.DEVNULL, stdout=sink, stderr=sink, start_new_session=True)
        world.undo.append(lambda: world.stop(process))
        counts = self.poll_prometheus(process)
        self.report.claim(counts.get("source", 0) > 300 and counts.get("destination", 0) > 300,
                          f"a real Prometheus counts them: {counts.get('source', 0):.0f} requests told by the client's sidecar,"
                          f" {counts.get('destination', 0):.0f} by the server's", str(counts))

    def poll_prometheus(self, process):
        query = 'sum by (reporter) (istio_requests_total{response_code="200"})'
        end, counts = time.monotonic() + 20, {}
        while time.monotonic() < end and process.poll() is None:
            done = netns.inside(self.world.node, "curl", "-s", "-m", "2", "--get", "--data-urlencode", f"query={query}",
                                "http://127.0.0.1:9090/api/v1/query", check=False)
            if done.returncode == 0 and re.match(r'\{"status":"success"', done.stdout):
                result = json.loads(done.stdout)["data"]["result"]
                counts = {r["metric"].get("reporter"): float(r["value"][1]) for r in result}
                if counts.get("source", 0) > 300 and counts.get("destination", 0) > 300:
                    break
            time.sleep(0.2)
        return counts
