#!/usr/bin/env python3
"""The main job, end to end: label a namespace, and its pods' traffic is in the mesh.

Real Pod manifests (examples/) go through the real webhook, their network namespaces through a real CNI chain
(bridge + host-local + fairlead-cni), app and sidecar run inside, and every claim is checked from outside. What a cluster
would do around them is done by standin/. Needs root. Called by ./quickstart, which builds the programs first.

Everything made is removed at the end, also on Ctrl-C, SIGTERM or when the terminal goes: network namespaces named
fl<pid>-…, and one folder under /tmp. What a killed run (SIGKILL) left behind, the next one removes.
"""
import argparse
import json
import os
import pathlib
import re
import shutil
import signal
import string
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request

import yaml

sys.dont_write_bytecode = True
from standin import admission, cni, netns, pods, wire  # noqa: E402

HERE = pathlib.Path(__file__).resolve().parent
EXAMPLES = HERE.parent
PLUGINS = "/usr/lib/cni"
TRUST_DOMAIN = "cluster.local"
HOST = "server.demo.svc.cluster.local"
SECRET = "the treasure is on the island"


class Failed(Exception):
    """A claim that did not hold."""


def say(text):
    """Prints, also where nobody reads any more (a pager that was quit, a closed terminal): the run goes on to its end."""
    try:
        print(text, flush=True)
    except OSError:
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # pylint: disable=consider-using-with


class Report:
    """Prints each step with the time since the start, keeps the claims for the end."""

    def __init__(self):
        self.begin, self.claims = time.monotonic(), []

    def line(self, text):
        say(f"[{time.monotonic() - self.begin:6.2f}s] {text}")

    def detail(self, text):
        say(f"           {text}")

    def claim(self, holds, text, reason=""):
        self.claims.append((bool(holds), text))
        self.line(f"{'ok  ' if holds else 'FAIL'} {text}{'' if holds or not reason else f': {reason}'}")

    def end(self):
        failed = [text for holds, text in self.claims if not holds]
        say(f"\n{len(self.claims) - len(failed)} of {len(self.claims)} claims held"
            f" in {time.monotonic() - self.begin:.1f} s.")
        for text in failed:
            say(f"  did not hold: {text}")
        return not failed


class Quickstart:
    def __init__(self, programs, report):
        self.report, self.undo = report, []
        sweep()
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

    # --- the claims --------------------------------------------------------------------------------

    def main_job(self):
        report, claim = self.report, self.report.claim
        self.make_pki()
        self.start_webhook()
        self.make_node()

        self.server, manifest = self.create("server")
        claim(self.only_added(manifest, self.server.stored), "the patch adds the sidecar and leaves the pod's own fields alone")
        self.give_identity(self.server, "server")
        claim(self.run(self.server), "the server's sidecar saw its own capture, then the app was started", self.why(self.server))
        self.client, _ = self.create("client")
        self.give_identity(self.client, "client", SERVER_IPV4=self.server.ip(4), SERVER_IPV6=self.server.ip(6))
        claim(self.run(self.client), "the client's sidecar saw its own capture, then the app was started", self.why(self.client))
        self.check_privileges()
        self.wait_serving(self.server)
        self.check_requests()
        self.check_metrics()
        self.check_outsider()
        self.check_uncaptured()
        report.claim(not self.check_chain(), "CHECK of the CNI chain holds for every captured pod")

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

    def why(self, pod):
        """The last words of a pod's sidecar, for a claim that failed."""
        log = pod.logs.get("fairlead-proxy")
        return " | ".join(log.read_text(errors="replace").splitlines()[-3:]) if log and log.exists() else ""

    def check_privileges(self):
        status = pathlib.Path(f"/proc/{self.client.processes['fairlead-proxy'].pid}/status").read_text()
        fields = dict(re.findall(r"^(Uid|Gid|CapEff|CapBnd|NoNewPrivs):\s+(.*)$", status, re.M))
        holds = fields["Uid"].split() == ["1337"] * 4 and fields["Gid"].split() == ["1337"] * 4 \
            and int(fields["CapEff"], 16) == 0 and int(fields["CapBnd"], 16) == 0 and fields["NoNewPrivs"].strip() == "1"
        self.report.claim(holds, "the sidecar runs as 1337:1337 with no capability", str(fields))

    def wait_serving(self, pod):
        """The app's own socket is listening: read from the kernel's table, so that no request is spent on it."""
        end = time.monotonic() + 10
        while time.monotonic() < end:
            if ":8080" in netns.inside(pod.netns, "ss", "-Hltn", "sport = :8080").stdout:
                return
            time.sleep(0.02)
        raise Failed("nginx does not listen")

    def check_requests(self):
        for version in (4, 6):
            address = self.server.ip(version)
            capture = wire.Capture(self.node)
            try:
                code, status, body = self.call(self.client, address)
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

    def scrape(self, pod):
        with netns.entered(self.node):
            with urllib.request.urlopen(f"http://{pod.ips[0]}:15020/stats/prometheus", timeout=5) as answer:
                return answer.read().decode()

    def check_metrics(self):
        want = {"source_principal": f"spiffe://{TRUST_DOMAIN}/ns/demo/sa/client",
                "destination_principal": f"spiffe://{TRUST_DOMAIN}/ns/demo/sa/server", "response_code": "200"}
        for pod, reporter, policy in ((self.client, "source", "unknown"), (self.server, "destination", "mutual_tls")):
            expected = {**want, "reporter": reporter, "connection_security_policy": policy}
            found = [line for line in self.scrape(pod).splitlines() if line.startswith("istio_requests_total{")
                     and all(f'{k}="{v}"' in line for k, v in expected.items())]
            self.report.claim(found and float(found[0].rsplit(" ", 1)[1]) >= 2,
                              f"istio_requests_total of the {reporter} names both identities", "no such series")
        lines = [line for line in self.client.log_lines("fairlead-proxy") if line.get("authority", "").startswith(HOST)]
        self.report.claim(len(lines) == 2, "one JSON access-log line a request", f"{len(lines)} lines")

    def check_outsider(self):
        self.outsider, manifest = self.create("outsider")
        self.neighbour, _ = self.create("neighbour")
        untouched = self.outsider.stored["spec"] == manifest["spec"] \
            and self.outsider.annotations == manifest["metadata"].get("annotations", {})
        rules = netns.inside(self.outsider.netns, "nft", "list", "ruleset").stdout.strip()
        self.report.claim(untouched and not rules, "a pod in an unlabelled namespace is untouched: no patch, no rule", rules)
        for pod in (self.outsider, self.neighbour):
            self.run(pod)
        self.wait_serving(self.neighbour)
        capture = wire.Capture(self.node)
        code, status, body = self.call(self.outsider, self.neighbour.ip(4), "neighbour.plain.svc.cluster.local")
        capture.stop()
        self.report.claim(status == 200 and f"peer {self.outsider.ip(4)}\n" in body,
                          "its traffic is as it was: straight to its neighbour, with its own address", f"{code} {body}")
        seen = capture.streams(self.neighbour.ip(4)).items()
        self.report.claim(seen and all(wire.not_tls(data, flow[1][0] == self.neighbour.ip(4)) for flow, data in seen),
                          "and in the clear: the judge of the wire tells plaintext from TLS")
        code, status, body = self.call(self.client, self.neighbour.ip(4), "neighbour.plain.svc.cluster.local")
        self.report.claim(status == 200, "a meshed pod still reaches what is outside the mesh", f"{code} {body}")
        code, status, body = self.call(self.outsider, self.server.ip(4))
        self.report.claim(code != 0 and status == 0, "its plaintext call to the server is refused under STRICT", f"{status} {body}")
        self.report.detail(f"curl said: {body}")

    def check_uncaptured(self):
        """The chain without our plugin: the sidecar must wait, and no app container may start."""
        pod, _ = self.create("client", only=["bridge"], rename="uncaptured")
        self.give_identity(pod, "client", SERVER_IPV4=self.server.ip(4), SERVER_IPV6=self.server.ip(6))
        started = self.run(pod, seconds=1.5)
        alive = pod.processes["fairlead-proxy"].poll() is None
        self.report.claim(not started and alive and list(pod.processes) == ["fairlead-proxy"],
                          "a sidecar whose network namespace was not programmed does not start, and its app is held back")
        plugin = self.chain.conflist["plugins"][-1]
        self.chain.call("ADD", plugin, pod, pod.result)
        self.report.claim(pod.wait_started(pod.sidecars()[0], 5), "once it is programmed, the same sidecar starts by itself",
                          self.why(pod))

    def check_chain(self):
        """CHECK for each captured pod; the first error, or None."""
        for pod in (self.server, self.client):
            try:
                self.chain.call("CHECK", self.chain.conflist["plugins"][-1], pod, pod.result)
            except cni.Failed as error:
                return str(error)
        return None

    def commands(self):
        """What to play with when the pods are kept."""
        enter = f"nsenter --net=/run/netns/{self.client.netns} setpriv --reuid 65534 --regid 65534 --clear-groups"
        return "\n".join([
            "The pods are kept until you press Ctrl-C. In another shell, as root:",
            "  # a request from the client, through both sidecars",
            f"  {enter} curl -s --resolve {HOST}:8080:{self.server.ip(4)} http://{HOST}:8080/",
            "  # the same from outside the mesh: refused",
            f"  nsenter --net=/run/netns/{self.outsider.netns} curl -s http://{self.server.ip(4)}:8080/",
            "  # what captures the client's traffic",
            f"  nsenter --net=/run/netns/{self.client.netns} nft list table inet fairlead",
            "  # the server's metrics; its sidecar's log",
            f"  nsenter --net=/run/netns/{self.node} curl -s http://{self.server.ip(4)}:15020/stats/prometheus | grep istio_",
            f"  tail -f {self.server.logs['fairlead-proxy']}",
            "  # the pod as the webhook patched it",
            f"  cat {self.state}/server.yaml"])

    def keep(self):
        (self.state / "server.yaml").write_text(yaml.safe_dump(self.server.stored, sort_keys=False))
        say("\n" + self.commands())
        threading.Event().wait()


def sweep():
    """Removes what runs left behind whose process is gone (SIGKILL): their namespaces, the processes in them, folders."""
    for name in netns.names():
        owner = re.fullmatch(r"fl(\d+)-\w+", name)
        if owner and not quickstart_runs(owner[1]):
            netns.end_processes(name)
            netns.delete(name)
    for folder in pathlib.Path(tempfile.gettempdir()).glob("fairlead-quickstart-*"):
        if not quickstart_runs(folder.name.rpartition("-")[2]):
            shutil.rmtree(folder, ignore_errors=True)


def quickstart_runs(pid):
    """Whether that process is a quickstart of now, not another program that got the number."""
    try:
        return b"quickstart/main.py" in pathlib.Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


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


def interrupted(number, _frame):
    """Ctrl-C, a closed terminal, or a plain kill: the run ends, and what it made is removed."""
    raise SystemExit(128 + number)


def from_now_on(action):
    """What the signals that end a run do."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, action)


def main():
    parser = argparse.ArgumentParser(prog="quickstart", description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--programs", required=True, help="folder of fairlead-webhook, fairlead-cni and fairlead-proxy")
    parser.add_argument("--keep", action="store_true", help="leave the pods running and print commands to play with")
    options = parser.parse_args()
    if os.geteuid() != 0:
        parser.error("needs root: it makes network namespaces")
    from_now_on(interrupted)
    report, quickstart, held = Report(), None, False
    try:
        quickstart = Quickstart(options.programs, report)
        quickstart.main_job()
        held = report.end()
        if held and options.keep:
            quickstart.keep()
    except (Failed, admission.Denied, admission.Broken, cni.Failed, RuntimeError, OSError) as error:
        say(f"\nit did not work: {error}")
    finally:
        from_now_on(signal.SIG_IGN)    # a second Ctrl-C, or an impatient init, must not leave half of it behind
        if quickstart is not None:
            quickstart.close()
    return 0 if held else 1


if __name__ == "__main__":
    sys.exit(main())
