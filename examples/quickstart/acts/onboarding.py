"""Pods join the mesh: the webhook's patch, the capture, the start gate, mutual TLS, and nothing for those outside."""
import pathlib
import re

from standin import cni, netns, wire
from world import HOST, TRUST_DOMAIN

SECRET = "the treasure is on the island"


class Onboarding:
    def __init__(self, world):
        self.world, self.report = world, world.report

    def play(self):
        claim = self.report.claim
        self.world.make_pki()
        self.world.make_node()
        self.world.start_control()
        self.world.start_webhook()

        self.world.server, manifest = self.world.create("server")
        claim(self.only_added(manifest, self.world.server.stored), "the patch adds the sidecar and leaves the pod's own fields alone")
        claim(self.world.run(self.world.server), "the server's sidecar saw its own capture, then the app was started", self.world.why(self.world.server))
        self.world.client, _ = self.world.create("client")
        claim(self.world.run(self.world.client), "the client's sidecar saw its own capture, then the app was started", self.world.why(self.world.client))
        self.check_privileges()
        self.world.wait_serving(self.world.server)
        self.check_requests()
        self.check_metrics()
        self.check_outsider()
        self.check_uncaptured()
        claim(not self.check_chain(), "CHECK of the CNI chain holds for every captured pod")

    @staticmethod
    def only_added(before, after):
        """Whether everything of the manifest is in the stored pod as it was (annotations and lists may have grown)."""
        def kept(old, new):
            if isinstance(old, dict):
                return isinstance(new, dict) and all(k in new and kept(v, new[k]) for k, v in old.items())
            if isinstance(old, list):
                return isinstance(new, list) and all(v in new for v in old)
            return old == new
        added = [c["name"] for c in after["spec"].get("initContainers", [])]
        return kept(before["metadata"], after["metadata"]) and kept(before["spec"], after["spec"]) \
            and added == ["fairlead-proxy"] and "fairlead.io/capture" in after["metadata"]["annotations"]

    def check_privileges(self):
        status = pathlib.Path(f"/proc/{self.world.client.processes['fairlead-proxy'].pid}/status").read_text()
        fields = dict(re.findall(r"^(Uid|Gid|CapEff|CapBnd|NoNewPrivs):\s+(.*)$", status, re.M))
        holds = fields["Uid"].split() == ["1337"] * 4 and fields["Gid"].split() == ["1337"] * 4 \
            and int(fields["CapEff"], 16) == 0 and int(fields["CapBnd"], 16) == 0 and fields["NoNewPrivs"].strip() == "1"
        self.report.claim(holds, "the sidecar runs as 1337:1337 with no capability", str(fields))

    def check_requests(self):
        for version in (4, 6):
            address = self.world.server.ip(version)
            capture = wire.Capture(self.world.node)
            try:
                code, status, body = self.world.call(self.world.client, address)
            finally:
                capture.stop()
            self.report.claim(code == 0 and status == 200 and SECRET in body,
                              f"a request over IPv{version} is answered 200 through both sidecars", f"exit {code}, {status} {body}")
            peer = {4: "127.0.0.6", 6: "::6"}[version]
            self.report.claim(f"peer {peer}\n" in body and f"host {HOST}\n" in body,
                              f"the app saw the pass-through address {peer} and the host name as sent", body)
            self.judge_wire(capture, address, version)

    def judge_wire(self, capture, address, version):
        streams = capture.streams(address)
        problems = [f"{flow}: {problem}" for flow, data in streams.items()
                    if (problem := wire.not_tls(data, flow[1][0] == address)) is not None]
        problems += [f"{flow}: the app's words in the clear" for flow, data in streams.items()
                     if SECRET.encode() in data or HOST.encode() + b"\r\n" in data]
        total = sum(len(data) for data in streams.values())
        self.report.claim(len(streams) >= 2 and not problems,
                          f"on the wire between the pods: TLS records and nothing else ({total} bytes, IPv{version})",
                          "; ".join(problems) or "nothing was captured")

    def check_metrics(self):
        want = {"source_principal": f"spiffe://{TRUST_DOMAIN}/ns/demo/sa/client",
                "destination_principal": f"spiffe://{TRUST_DOMAIN}/ns/demo/sa/server", "response_code": "200"}
        for pod, reporter, policy in ((self.world.client, "source", "unknown"), (self.world.server, "destination", "mutual_tls")):
            expected = {**want, "reporter": reporter, "connection_security_policy": policy}
            found = [line for line in self.world.scrape(pod).splitlines() if line.startswith("istio_requests_total{")
                     and all(f'{k}="{v}"' in line for k, v in expected.items())]
            self.report.claim(found and float(found[0].rsplit(" ", 1)[1]) >= 2,
                              f"istio_requests_total of the {reporter} names both identities", "no such series")
        lines = self.world.wait_log(self.world.client, 2, lambda line: line.get("authority", "").startswith(HOST))
        self.report.claim(len(lines) == 2, "one JSON access-log line a request", f"{len(lines)} lines")

    def check_outsider(self):
        self.world.outsider, manifest = self.world.create("outsider")
        self.world.neighbour, _ = self.world.create("neighbour")
        untouched = self.world.outsider.stored["spec"] == manifest["spec"] \
            and self.world.outsider.annotations == manifest["metadata"].get("annotations", {})
        rules = netns.inside(self.world.outsider.netns, "nft", "list", "ruleset").stdout.strip()
        self.report.claim(untouched and not rules, "a pod in an unlabelled namespace is untouched: no patch, no rule", rules)
        for pod in (self.world.outsider, self.world.neighbour):
            self.world.run(pod)
        self.world.wait_serving(self.world.neighbour)
        capture = wire.Capture(self.world.node)
        code, status, body = self.world.call(self.world.outsider, self.world.neighbour.ip(4), "neighbour.plain.svc.cluster.local")
        capture.stop()
        self.report.claim(status == 200 and f"peer {self.world.outsider.ip(4)}\n" in body,
                          "its traffic is as it was: straight to its neighbour, with its own address", f"{code} {body}")
        seen = capture.streams(self.world.neighbour.ip(4)).items()
        self.report.claim(seen and all(wire.not_tls(data, flow[1][0] == self.world.neighbour.ip(4)) for flow, data in seen),
                          "and in the clear: the judge of the wire tells plaintext from TLS")
        code, status, body = self.world.call(self.world.client, self.world.neighbour.ip(4), "neighbour.plain.svc.cluster.local")
        self.report.claim(status == 200, "a meshed pod still reaches what is outside the mesh", f"{code} {body}")
        code, status, body = self.world.call(self.world.outsider, self.world.server.ip(4))
        self.report.claim(code != 0 and status == 0, "its plaintext call to the server is refused under STRICT", f"{status} {body}")
        self.report.detail(f"curl said: {body}")

    def check_uncaptured(self):
        """The chain without our plugin: the sidecar must wait, and no app container may start."""
        pod, _ = self.world.create("client", only=["bridge"], rename="uncaptured")
        started = self.world.run(pod, seconds=1.5)
        alive = pod.processes["fairlead-proxy"].poll() is None
        self.report.claim(not started and alive and list(pod.processes) == ["fairlead-proxy"],
                          "a sidecar whose network namespace was not programmed does not start, and its app is held back")
        plugin = self.world.chain.conflist["plugins"][-1]
        self.world.chain.call("ADD", plugin, pod, pod.result)
        self.report.claim(pod.wait_started(pod.sidecars()[0], 5), "once it is programmed, the same sidecar starts by itself",
                          self.world.why(pod))

    def check_chain(self):
        """CHECK for each captured pod; the first error, or None."""
        for pod in (self.world.server, self.world.client):
            try:
                self.world.chain.call("CHECK", self.world.chain.conflist["plugins"][-1], pod, pod.result)
            except cni.Failed as error:
                return str(error)
        return None
