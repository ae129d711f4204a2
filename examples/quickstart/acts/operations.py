"""What a person asks the mesh, what the control plane says of the objects, and what happens when it goes away."""
import pathlib
import re

import yaml

from world import stop


class Operations:
    def __init__(self, world):
        self.world, self.report = world, world.report

    def play(self):
        self.commands()
        self.status_files()
        self.outage()

    def commands(self):
        world = self.world
        status = world.command("status", "--control", "127.0.0.1:15014")
        rows = [line for line in status.stdout.splitlines() if re.match(r"\w+\.demo ", line)]
        self.report.claim(status.returncode == 0 and "0 refusing" in status.stdout and len(rows) == 6
                          and all(re.search(r" of 1d0h left ", row) for row in rows),
                          "fairlead status: every proxy is in sync and has a certificate", status.stdout + status.stderr)
        for line in status.stdout.splitlines():
            self.report.detail(line[:118])
        for table, word in (("listeners", "outbound|10.96.0.10:8080"), ("routes", "outbound|8080||server-v2.demo"),
                            ("clusters", "outbound|8080||server-v1.demo"), ("endpoints", f"{world.server.ip(4)}:8080"),
                            ("secrets", "ROOTCA")):
            shown = world.command("proxy-config", table, pod=world.client)
            self.report.claim(word in shown.stdout, f"fairlead proxy-config {table} shows it", shown.stdout[-300:] + shown.stderr)
        shown = world.command("route", "explain", "--source", f"directory:{world.state / 'objects'}", "server.demo:8080",
                              "-H", "x-canary: yes")
        self.report.claim("100.0% demo/server-v2:8080" in shown.stdout, "fairlead route explain tells the rule and why",
                          shown.stdout + shown.stderr)

    def status_files(self):
        """A mistake in a file: told with its place, and everything else stays in force."""
        place = pathlib.Path(self.world.state) / "status"
        self.world.cluster.write("mistake.yaml", [{
            "apiVersion": "fairlead.io/v1alpha1", "kind": "TrafficPolicy", "metadata": {"name": "typo", "namespace": "demo"},
            "spec": {"targetRefs": [{"group": "", "kind": "Service", "name": "server"}], "lodaBalancer": "RoundRobin"}}])
        self.world.wait_in_force("mistake.yaml", lambda: any("typo" in name.name for name in place.iterdir()))
        text = next(place.glob("*typo*")).read_text()
        self.report.claim("mistake.yaml:" in text and "lodaBalancer" in text,
                          "a mistake is told with file and line, in the object's status", text)
        self.report.claim(self.world.ask("server").statuses == [200], "and everything else stays in force")
        self.world.cluster.remove("mistake.yaml")
        routes = [yaml.safe_load(name.read_text()) for name in place.glob("*HTTPRoute*canary*")] or \
            [yaml.safe_load(name.read_text()) for name in place.glob("*canary*")]
        self.report.claim(routes and "Accepted" in str(routes[0]), "a good route's status says that it is accepted", str(routes))

    def outage(self):
        """Without the control plane: traffic goes on, and a sidecar that is started anew comes up on what it kept."""
        world = self.world
        stop(world.control)
        self.report.claim(world.ask("server", headers={"x-canary": "yes"}).lines("version ") == ["v2"],
                          "the control plane is gone, and its rules go on")
        sidecar = world.client.sidecars()[0]
        stop(world.client.processes[sidecar["name"]])
        world.client.start(sidecar, world.client.volumes, world.programs)
        started = world.client.wait_started(sidecar, 10)
        answer = world.ask("server", headers={"x-canary": "yes"}) if started else None
        self.report.claim(started and answer.lines("version ") == ["v2"],
                          "a sidecar that starts anew meanwhile has its certificate and its rules from the pod's memory volume",
                          f"{answer.text if answer else 'not started'} {world.why(world.client)}")
        world.run_control()
        world.wait_in_force("the control plane", lambda: "client.demo" in world.command("status", "--control", "127.0.0.1:15014").stdout, seconds=40)
        self.report.claim(True, "the control plane comes back, and the proxies find it again")
