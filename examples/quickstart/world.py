"""The world of the quickstart: a node, the control plane, the webhook, pods; made here, removed by World.close()."""
import json
import os
import pathlib
import re
import shutil
import string
import subprocess
import sys
import tempfile
import time
import urllib.request

import yaml

from report import Failed
from standin import admission, cluster, cni, collector, netns, pods

HERE = pathlib.Path(__file__).resolve().parent
EXAMPLES = HERE.parent
PLUGINS = "/usr/lib/cni"
TRUST_DOMAIN = "cluster.local"
HOST = "server.demo.svc.cluster.local"
NOBODY = 65534
MANIFESTS = ("client", "server", "outsider", "canary", "broken", "intruder", "gateway")


class World:
    """A node, the programs around it, and pods; everything made is undone by close()."""

    def __init__(self, programs, report):
        self.report, self.undo = report, []
        self.prefix = f"fl{os.getpid()}"
        self.node = f"{self.prefix}-node"
        self.state = pathlib.Path(tempfile.gettempdir()) / f"fairlead-quickstart-{os.getpid()}"
        self.undo.append(lambda: shutil.rmtree(self.state, ignore_errors=True))
        self.state.mkdir()
        self.state.chmod(0o755)
        self.image = self.state / "image"      # users other than root may not reach the build folder
        self.image.mkdir()
        for name in ("fairlead-webhook", "fairlead-cni", "fairlead-proxy", "fairlead-control", "fairlead"):
            shutil.copy(pathlib.Path(programs) / name, self.image / name)
        self.programs = {"fairlead-proxy": str(self.image / "fairlead-proxy")}
        self.server = self.client = self.outsider = self.neighbour = self.intruder = self.edge = None
        self.manifests, self.config_maps = {}, {}
        for name in MANIFESTS:
            for document in yaml.safe_load_all((EXAMPLES / f"{name}.yaml").read_text()):
                metadata = document["metadata"]
                if document["kind"] == "Pod":
                    self.manifests[metadata["name"]] = document
                else:
                    self.config_maps[metadata["namespace"], metadata["name"]] = document["data"]

    def close(self):
        """Undoes everything, newest first; one failure does not keep the rest from being undone."""
        while self.undo:
            step = self.undo.pop()
            try:
                step()
            except Exception as error:  # pylint: disable=broad-except
                print(f"clean-up: {error!r}", file=sys.stderr)

    # --- around the pods ---------------------------------------------------------------------------

    def make_pki(self):
        folder = self.state / "pki"
        folder.mkdir(mode=0o700)
        self.openssl_ca(folder / "root", "fairlead quickstart root")
        self.openssl_leaf(folder, "webhook", "DNS:localhost,DNS:fairlead-webhook.fairlead-system.svc,IP:127.0.0.1")
        self.pki = folder

    @staticmethod
    def openssl_ca(base, name):
        netns.run("openssl", "req", "-x509", "-nodes", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
                  "-days", "2", "-subj", f"/CN={name}", "-keyout", f"{base}.key", "-out", f"{base}.crt",
                  "-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign,cRLSign")

    @staticmethod
    def openssl_leaf(folder, name, names):
        base = folder / name
        netns.run("openssl", "req", "-nodes", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-subj",
                  f"/CN={name}", "-keyout", f"{base}.key", "-out", f"{base}.csr")
        (folder / f"{name}.ext").write_text(
            f"subjectAltName={names}\nbasicConstraints=critical,CA:FALSE\nkeyUsage=critical,digitalSignature\n"
            "extendedKeyUsage=serverAuth,clientAuth\n")
        netns.run("openssl", "x509", "-req", "-in", f"{base}.csr", "-CA", folder / "root.crt", "-CAkey",
                  folder / "root.key", "-CAcreateserial", "-days", "1", "-extfile", folder / f"{name}.ext",
                  "-out", f"{base}.crt")

    def start_control(self):
        """The control plane over a folder of objects, on the node, as a user without rights; its CA makes its root."""
        self.cluster = cluster.Cluster(self.state / "objects")
        for name in ("mesh", "demo"):
            self.cluster.apply(f"{name}.yaml", (EXAMPLES / "mesh" / f"{name}.yaml").read_text())
        for name in ("ca", "tokens", "status"):
            (self.state / name).mkdir(mode=0o700)
            os.chown(self.state / name, NOBODY, NOBODY)
        self.run_control()
        self.collector = collector.Collector(self.node)
        self.undo.append(self.collector.stop)
        root = (self.state / "ca" / "root-cert.pem").read_text()
        for namespace in ("demo", "plain"):
            self.config_maps[namespace, "fairlead-root"] = {"root-cert.pem": root}
        self.report.line("fairlead-control answers on 10.88.0.1:15012 over a folder of objects; its CA has made a root")

    def run_control(self):
        log = self.state / "control.log"
        with open(log, "wb") as sink:
            process = subprocess.Popen(
                ["nsenter", f"--net={netns.path(self.node)}", "setpriv", "--pdeathsig", "KILL", *self.as_nobody(),
                 self.image / "fairlead-control", "--source", f"directory:{self.state / 'objects'}",
                 "--listen", "0.0.0.0:15012", "--http", "0.0.0.0:15014", "--status", self.state / "status",
                 "--ca-dir", self.state / "ca", "--token-dir", self.state / "tokens"],
                stdin=subprocess.DEVNULL, stdout=sink, stderr=sink, start_new_session=True)
        self.control = process
        self.undo.append(lambda: stop(process))
        wait_ready(log, process)

    @staticmethod
    def as_nobody():
        return ["--reuid", str(NOBODY), "--regid", str(NOBODY), "--clear-groups", "--inh-caps=-all", "--bounding-set=-all",
                "--no-new-privs", "--"]

    def token(self, namespace, account, audience):
        """A service account's token, as the API server would hand it to the kubelet."""
        return netns.run("setpriv", *self.as_nobody(), self.image / "fairlead-control", "token", "create", "--token-dir",
                         self.state / "tokens", "--namespace", namespace, "--service-account", account, "--audience", audience,
                         "--ttl", "3600").stdout

    def start_webhook(self):
        config = self.state / "webhook.yaml"
        config.write_text("control: {address: \"10.88.0.1:15012\"}\n")
        log = self.state / "webhook.log"
        with open(log, "wb") as sink:
            process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", self.image / "fairlead-webhook", "--listen", "127.0.0.1:0", "--tls-cert", self.pki / "webhook.crt",
                 "--tls-key", self.pki / "webhook.key", "--namespaces", EXAMPLES / "namespaces.yaml", "--config", config],
                stdin=subprocess.DEVNULL, stdout=sink, stderr=sink, start_new_session=True)
        self.undo.append(lambda: stop(process))
        self.webhook_port = wait_ready(log, process)["port"]
        self.report.line(f"fairlead-webhook answers on https://127.0.0.1:{self.webhook_port}/inject")

    def make_node(self):
        self.undo.append(lambda: netns.delete(self.node))
        netns.add(self.node)
        netns.inside(self.node, "sysctl", "-qew", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1")
        text = string.Template((HERE / "fairlead.conflist").read_text()).substitute(STATE=self.state)
        self.chain = cni.Chain(json.loads(text), [self.image, PLUGINS], self.node)
        self.report.line("a node: one network namespace with the bridge of the CNI chain "
                         + " + ".join(p["type"] for p in self.chain.conflist["plugins"]))

    # --- pods --------------------------------------------------------------------------------------

    def create(self, name, only=None, rename=None):
        """kubectl create: admission, sandbox, volumes. The containers are started by run()."""
        manifest = json.loads(json.dumps(self.manifests[name]))
        manifest["metadata"]["name"] = rename or name
        namespace = manifest["metadata"]["namespace"]
        begin = time.monotonic()
        stored, response = admission.admit(manifest, namespace, self.webhook_port, self.pki / "root.crt")
        spent = (time.monotonic() - begin) * 1000
        pod = pods.Pod(stored, self.prefix, self.state, self.node)
        self.report.line(f"pod {namespace}/{pod.name}: admitted in {spent:.1f} ms, "
                         + (f"patched ({len(response.get('patch', ''))} bytes)" if "patch" in response else "not patched"))
        for warning in response.get("warnings", []):
            self.report.detail(f"warning: {warning}")
        self.undo.append(lambda: pod.remove(self.chain))
        begin = time.monotonic()
        pod.make_sandbox(self.chain, only)
        self.report.detail(f"addresses {', '.join(pod.ips)}; CNI chain took {(time.monotonic() - begin) * 1000:.0f} ms")
        pod.volumes = pod.make_volumes(self.config_maps, self.token)
        self.cluster.run(pod, ready=False)
        return pod, manifest

    def run(self, pod, seconds=10):
        """Sidecars first, each until it has started; then the app's containers. False where a sidecar did not start:
        then no app container was."""
        for sidecar in pod.sidecars():
            begin = time.monotonic()
            pod.start(sidecar, pod.volumes, self.programs)
            if not pod.wait_started(sidecar, seconds):
                return False
            self.report.detail(f"sidecar {sidecar['name']} started in {(time.monotonic() - begin) * 1000:.0f} ms")
        for container in pod.spec["containers"]:
            pod.start(container, pod.volumes, self.programs)
        self.cluster.run(pod)
        return True

    def call(self, pod, address, host=HOST, container=0, options=()):
        """curl in a pod: (exit code, status, body)."""
        literal = f"[{address}]" if ":" in address else address
        done = pod.execute(pod.spec["containers"][container], [
            "curl", "-sS", "-m", "5", "--noproxy", "*", "--resolve", f"{host}:8080:{literal}", "-w", "\n%{http_code}",
            *options, f"http://{host}:8080/"])
        body, _, status = done.stdout.rpartition("\n")
        return done.returncode, int(status or 0), body if done.returncode == 0 else done.stderr.strip()

    def ask(self, service, pod=None, path="/", headers=None, count=1):
        """Requests of a pod (the client) to a Service's address, one after the other on one connection."""
        pod = pod or self.client
        spec = next(s["spec"] for s in self.cluster.services if s["metadata"]["name"] == service)
        host = f"{service}.{pod.namespace}.svc.cluster.local"
        options = [part for name, value in (headers or {}).items() for part in ("-H", f"{name}: {value}")]
        done = pod.execute(pod.spec["containers"][0], [
            "curl", "-sS", "-m", "20", "--noproxy", "*", "--resolve", f"{host}:8080:{spec['clusterIP']}", *options,
            "-w", "\nstatus %{http_code}\n", f"http://{host}:8080{path}?[1-{count}]"], timeout=30)
        return Answers(done.stdout + done.stderr)

    def wait_in_force(self, name, holds, seconds=5):
        """Until a change of the objects shows in the pods: asked again, not slept for."""
        end = time.monotonic() + seconds
        while not holds():
            if time.monotonic() > end:
                raise Failed(f"{name} is not in force after {seconds} s")

    @staticmethod
    def wait_log(pod, count, wanted, seconds=2):
        """The lines of a sidecar's log for which `wanted` answers true, once there are so many."""
        end = time.monotonic() + seconds
        while True:
            lines = [line for line in pod.log_lines("fairlead-proxy") if wanted(line)]
            if len(lines) >= count or time.monotonic() > end:
                return lines
            time.sleep(0.01)

    def command(self, *argv, pod=None):
        """The command `fairlead`, on the node or in a pod's network."""
        return netns.inside(pod.netns if pod else self.node, self.image / "fairlead", *argv, check=False, timeout=20)

    def sum(self, pod, metric):
        """A counter of a pod's sidecar, over all its labels."""
        return sum(float(line.rsplit(" ", 1)[1]) for line in self.scrape(pod).splitlines()
                   if re.match(rf"{metric}(\{{|\s)", line))

    def why(self, pod, container="fairlead-proxy"):
        """The last words of a pod's sidecar, for a claim that failed."""
        log = pod.logs.get(container)
        return " | ".join(log.read_text(errors="replace").splitlines()[-3:]) if log and log.exists() else ""

    def wait_serving(self, pod):
        """The app's own socket is listening: read from the kernel's table, so that no request is spent on it."""
        end = time.monotonic() + 10
        while time.monotonic() < end:
            if ":8080" in netns.inside(pod.netns, "ss", "-Hltn", "sport = :8080").stdout:
                return
            time.sleep(0.02)
        raise Failed("nginx does not listen")

    def scrape(self, pod):
        with netns.entered(self.node):
            with urllib.request.urlopen(f"http://{pod.ips[0]}:15020/stats/prometheus", timeout=5) as answer:
                return answer.read().decode()

    @staticmethod
    def stop(process):
        stop(process)


class Answers:
    """What curl printed for one or more requests."""

    def __init__(self, text):
        self.text = text
        self.statuses = [int(status) for status in re.findall(r"^status (\d+)$", text, re.M)]

    def lines(self, prefix):
        """What follows the prefix, of every line that begins with it."""
        return [line[len(prefix):] for line in self.text.splitlines() if line.startswith(prefix)]


def stop(process):
    """Ends a process that we started: SIGTERM, then SIGKILL after five seconds."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def wait_ready(log, process):
    """The line by which a program says that it is ready."""
    end = time.monotonic() + 10
    while time.monotonic() < end and process.poll() is None:
        for line in log.read_text().splitlines():
            if line.startswith("{") and (entry := json.loads(line)).get("msg", entry.get("message")) == "ready":
                return entry
        time.sleep(0.01)
    raise Failed(f"{log.stem} is not ready: {log.read_text()[-500:]}")
