#!/usr/bin/env python3
"""Pods that really run in an installed mesh: the webhook's patch, the plugin in the node's chain, the sidecar, the control plane, mutual TLS.

The app's probes, hooks and metrics reach it only by way of the sidecar's 15020, since every connection to it must be mutual TLS.
"""
import subprocess
import urllib.error
import urllib.request

from support import place
from support.api import is_ready
from support.lane import Lane, a_pod, containers, main
from support.mesh import Mesh, logs
from waiting import eventually

NEEDS = "mesh"
MINUTES = 8

MACHINE = {"usr": "/usr", "lib": "/usr/lib", "lib64": "/usr/lib64"}  # volume: path of the machine; the app runs its Python
CLASSIC = {"fairlead.io/native-sidecar": "disabled"}


def python_app():
    """A container of check/app.py, with a probe of each kind and a hook."""
    return {
        "name": "app", "image": place.BUSYBOX_IMAGE, "command": ["/usr/bin/python3", "-B", "-u", "/app/app.py"],
        "ports": [{"name": "web", "containerPort": 8080}],
        "startupProbe": {"httpGet": {"port": "web", "path": "/started"}, "periodSeconds": 1, "failureThreshold": 60},
        "readinessProbe": {"grpc": {"port": 9090}, "periodSeconds": 1},
        "livenessProbe": {"tcpSocket": {"port": 9000}, "periodSeconds": 1, "failureThreshold": 1},
        "lifecycle": {"preStop": {"httpGet": {"port": "web", "path": "/goodbye"}}},
        "volumeMounts": [{"name": "app", "mountPath": "/app"},
                         *({"name": name, "mountPath": f"/{name}", "readOnly": True} for name in MACHINE)]}


def beside():
    command = ["sh", "-c", 'trap "exit 0" TERM; while :; do sleep 1; done']
    return {"name": "beside", "image": place.BUSYBOX_IMAGE, "command": command,
            "readinessProbe": {"exec": {"command": ["true"]}, "periodSeconds": 1}}


def shell(script, name="app"):
    return {"name": name, "image": place.BUSYBOX_IMAGE, "command": ["sh", "-c", script]}


def get(url):
    """Status and text, as the kubelet or a scraper on the node; 0 where there is no answer."""
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return answer.status, answer.read().decode()
    except (urllib.error.URLError, OSError):
        return 0, ""


def restarts(pod):
    return {row["name"]: row["restartCount"] for key in ("initContainerStatuses", "containerStatuses") for row in pod["status"].get(key, ())}


def state(pod, container):
    rows = (row for key in ("initContainerStatuses", "containerStatuses") for row in pod["status"].get(key, ()))
    return next((row for row in rows if row["name"] == container), {})


class RealPods(Lane):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.mesh = Mesh(cls)
        cls.space = cls.mesh.space(cls)
        text = (place.HERE / "check" / "app.py").read_text()
        cls.api.create({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "app", "namespace": cls.space}, "data": {"app.py": text}})
        cls.pod = cls.serve()

    @classmethod
    def serve(cls):
        """The Deployment and its Service; its pod once that is Ready."""
        volumes = [{"name": "app", "configMap": {"name": "app"}}, *({"name": name, "hostPath": {"path": path}} for name, path in MACHINE.items())]
        scrape = {"prometheus.io/scrape": "true", "prometheus.io/port": "8080", "prometheus.io/path": "/metrics"}
        cls.api.create({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "namespace": cls.space}, "spec": {
            "selector": {"matchLabels": {"app": "web"}},
            "template": {"metadata": {"labels": {"app": "web"}, "annotations": scrape},
                         "spec": {"containers": [python_app(), beside()], "volumes": volumes, "automountServiceAccountToken": False}}}})
        cls.api.create({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web", "namespace": cls.space}, "spec": {
            "selector": {"app": "web"}, "ports": [{"name": "web", "port": 80, "targetPort": "web", "appProtocol": "http"}]}})
        return cls.ready_one()

    @classmethod
    def ready_one(cls, but=None):
        def found():
            pods = cls.api.list("v1", "Pod", cls.space, labelSelector="app=web")
            return next((pod for pod in pods if is_ready(pod) and pod.name != but), None)
        return eventually(found, "a pod of the Deployment is Ready", 90)

    def test_probes(self):
        """Ready only through the sidecar: the probes go to 15020, the app is asked each kind, and nothing is restarted."""
        pod = self.api.get("v1", "Pod", self.pod.name, self.space)
        app = pod["spec"]["containers"][0]
        for kind, path in (("startupProbe", "startupz"), ("readinessProbe", "readyz"), ("livenessProbe", "livez")):
            self.assertEqual((app[kind]["httpGet"]["port"], app[kind]["httpGet"]["path"]), (15020, f"/app-health/app/{path}"))
        self.assertEqual(restarts(pod), {"fairlead-proxy": 0, "app": 0, "beside": 0})
        address = pod["status"]["podIP"]
        self.assertEqual(get(f"http://{address}:8080/started")[0], 0, "STRICT let a plain request in")
        said = logs(pod.name, "app", self.space)
        for line in ("asked /started", "asked /grpc.health.v1.Health/Check"):
            self.assertIn(line, said)
        for path in ("startupz", "readyz", "livez"):
            self.assertEqual(get(f"http://{address}:15020/app-health/app/{path}")[0], 200)

    def test_metrics(self):
        """As the annotations tell a Prometheus."""
        pod = self.api.get("v1", "Pod", self.pod.name, self.space)
        noted = {key: pod["metadata"]["annotations"][f"prometheus.io/{key}"] for key in ("scrape", "port", "path")}
        self.assertEqual(noted, {"scrape": "true", "port": "15020", "path": "/stats/prometheus"})
        status, text = get(f"http://{pod['status']['podIP']}:{noted['port']}{noted['path']}")
        self.assertEqual(status, 200)
        self.assertIn("app_answers_total 1\n", text)
        self.assertIn("fairlead_build_info", text)

    def test_job(self):
        """A Job whose pods have a native sidecar completes, and calls the Service by mutual TLS."""
        self.api.create({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "once", "namespace": self.space}, "spec": {
            "backoffLimit": 0, "template": {"spec": {"restartPolicy": "Never", "containers": [shell("wget -qO- http://web/once")]}}}})
        self.api.wait("batch/v1", "Job", "once", self.space, lambda job: any(
            row["type"] in ("Complete", "Failed") and row["status"] == "True" for row in job["status"].get("conditions", ())))
        said = place.kubectl("-n", self.space, "logs", "job/once", "-c", "app")
        self.assertEqual(self.api.get("batch/v1", "Job", "once", self.space)["status"].get("succeeded"), 1, said)
        self.assertIn("hello", said)
        self.assertIn("asked /once", logs(self.pod.name, "app", self.space))

    def test_classic(self):
        """The classic container holds the app until it has started: the app's first words find the gate open."""
        script = "wget -qO- http://127.0.0.1:15021/healthz/started && wget -qO- http://web/classic"
        pod = self.api.create(a_pod("classic", self.space, annotations=CLASSIC, restartPolicy="Never", containers=[shell(script)]))
        self.assertEqual(containers(pod), ["fairlead-gate", "fairlead-proxy", "app"])
        self.assertEqual([one["name"] for one in pod["spec"]["initContainers"]], ["fairlead-gate"])
        done = self.api.wait("v1", "Pod", "classic", self.space, lambda pod: "terminated" in state(pod, "app").get("state", {}))
        said = logs("classic", "app", self.space)
        self.assertEqual(state(done, "app")["state"]["terminated"]["exitCode"], 0, said)
        self.assertIn("hello", said)
        self.api.delete("v1", "Pod", "classic", self.space)
        self.api.wait_gone("v1", "Pod", "classic", self.space)

    def test_dns(self):
        """With DNS captured, names of the cluster and their search domains come through the sidecar's port, which asks CoreDNS."""
        script = "nslookup web; wget -qO- http://web/named && wget -qO- http://127.0.0.1:15020/stats/prometheus | grep ^fairlead_dns"
        self.api.create(a_pod("named", self.space, annotations={"fairlead.io/dns-capture": "enabled"}, restartPolicy="Never",
                              containers=[shell(f"{script}; sleep 1")]))
        self.api.wait("v1", "Pod", "named", self.space, lambda pod: "terminated" in state(pod, "app").get("state", {}))
        said = logs("named", "app", self.space)
        self.assertIn("hello", said)
        self.assertIn("asked /named", logs(self.pod.name, "app", self.space))
        asked = [line for line in said.splitlines() if line.startswith("fairlead_dns_upstream_queries_total") and 'result="answered"' in line]
        self.assertGreater(sum(float(line.split()[-1]) for line in asked), 0, said)

    def test_z_deleted(self):
        """kubectl delete pod: the app's preStop by way of the sidecar, then SIGTERM, then the sidecar's end; another takes over."""
        with subprocess.Popen([str(place.BIN / "kubectl"), "-n", self.space, "logs", "-f", self.pod.name, "-c", "app"],
                              stdout=subprocess.PIPE, text=True) as follow:
            line = follow.stdout.readline()
            self.assertTrue(line)
            place.kubectl("-n", self.space, "delete", "pod", self.pod.name, "--timeout=60s")
            said = follow.stdout.read()
        self.assertIn("asked /goodbye\n", said)
        self.assertTrue(said.endswith("ends\n"), said[-400:])
        self.ready_one(but=self.pod.name)


if __name__ == "__main__":
    main()
