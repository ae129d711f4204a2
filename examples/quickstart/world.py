"""The world of the quickstart: a node, the webhook, certificates, pods; made here, and removed by World.close()."""
import json
import os
import pathlib
import shutil
import string
import subprocess
import sys
import tempfile
import time
import urllib.request

import yaml

from report import Failed
from standin import admission, cni, netns, pods

HERE = pathlib.Path(__file__).resolve().parent
EXAMPLES = HERE.parent
PLUGINS = "/usr/lib/cni"
TRUST_DOMAIN = "cluster.local"
HOST = "server.demo.svc.cluster.local"


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
        for name in ("fairlead-webhook", "fairlead-cni", "fairlead-proxy"):
            shutil.copy(pathlib.Path(programs) / name, self.image / name)
        self.programs = {"fairlead-proxy": str(self.image / "fairlead-proxy")}
        self.server = self.client = self.outsider = self.neighbour = None
        self.manifests, self.config_maps = {}, {}
        for name in ("client", "server", "outsider"):
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
        for name in ("client", "server"):
            self.openssl_leaf(folder, name, f"URI:spiffe://{TRUST_DOMAIN}/ns/demo/sa/{name}")
        self.pki = folder
        self.report.line("certificates: a root, one for the webhook, one identity for each service account")

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

    def start_webhook(self):
        log = self.state / "webhook.log"
        with open(log, "wb") as sink:
            process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", self.image / "fairlead-webhook", "--listen", "127.0.0.1:0", "--tls-cert", self.pki / "webhook.crt",
                 "--tls-key", self.pki / "webhook.key", "--namespaces", EXAMPLES / "namespaces.yaml"],
                stdin=subprocess.DEVNULL, stdout=sink, stderr=sink, start_new_session=True)
        self.undo.append(lambda: stop(process))
        self.webhook_port = wait_port(log, process)
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
        pod.volumes = pod.make_volumes(self.config_maps)
        return pod, manifest

    def give_identity(self, pod, role, **values):
        """Certificate, key, root and bootstrap file into the volume that the patch added (until the CA does it)."""
        place = pod.volumes["fairlead-proxy"]
        for source, target in ((f"{role}.crt", "cert-chain.pem"), (f"{role}.key", "key.pem"), ("root.crt", "root-cert.pem")):
            shutil.copy(self.pki / source, place / target)
        text = string.Template((HERE / "bootstrap" / f"{role}.yaml").read_text())
        (place / "bootstrap.yaml").write_text(text.substitute(POD_IPV4=pod.ip(4), **values))
        owner = pod.sidecars()[0]["securityContext"]
        for path in (place, *place.iterdir()):
            os.chown(path, owner["runAsUser"], owner["runAsGroup"])
            path.chmod(0o700 if path.is_dir() else 0o600)

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
        return True

    def call(self, pod, address, host=HOST, container=0, options=()):
        """curl in a pod: (exit code, status, body)."""
        literal = f"[{address}]" if ":" in address else address
        done = pod.execute(pod.spec["containers"][container], [
            "curl", "-sS", "-m", "5", "--noproxy", "*", "--resolve", f"{host}:8080:{literal}", "-w", "\n%{http_code}",
            *options, f"http://{host}:8080/"])
        body, _, status = done.stdout.rpartition("\n")
        return done.returncode, int(status or 0), body if done.returncode == 0 else done.stderr.strip()

    def why(self, pod):
        """The last words of a pod's sidecar, for a claim that failed."""
        log = pod.logs.get("fairlead-proxy")
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


def stop(process):
    """Ends a process that we started: SIGTERM, then SIGKILL after five seconds."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def wait_port(log, process):
    """The port in the line by which the webhook says that it is ready."""
    end = time.monotonic() + 10
    while time.monotonic() < end and process.poll() is None:
        for line in log.read_text().splitlines():
            if line.startswith("{") and "port" in (entry := json.loads(line)):
                return entry["port"]
        time.sleep(0.01)
    raise Failed(f"the webhook is not ready: {log.read_text()[-500:]}")
