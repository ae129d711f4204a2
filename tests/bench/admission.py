#!/usr/bin/env python3
"""What an admission costs: CPU per review, and latency, over keep-alive TLS with pods of about 10 kB.

usage: admission.py FOLDER-OF-PROGRAMS [--seconds N] [--connections N]

Starts fairlead-webhook on 127.0.0.1 with a certificate of its own, posts the same review as fast as it is answered, and
reads the process's CPU time before and after each of five rounds. Prints medians. Give it a release build.
"""
import argparse
import http.client
import json
import os
import pathlib
import shutil
import ssl
import statistics
import subprocess
import tempfile
import threading
import time

ROUNDS = 5
TICK = os.sysconf("SC_CLK_TCK")


def make_review():
    """A Deployment's pod as it reaches a webhook: two containers, environment, probes, volumes; about 10 kB."""
    env = [{"name": f"SETTING_{i:02}", "value": f"value-of-setting-{i:02}-{'x' * 40}"} for i in range(25)]
    container = {"image": "host.example/shop/web:1.2.3", "env": env, "imagePullPolicy": "IfNotPresent",
                 "livenessProbe": {"httpGet": {"path": "/live", "port": "http", "scheme": "HTTP"}, "timeoutSeconds": 1,
                                   "periodSeconds": 10, "successThreshold": 1, "failureThreshold": 3},
                 "readinessProbe": {"httpGet": {"path": "/ready", "port": 8080, "scheme": "HTTP"}, "timeoutSeconds": 1,
                                    "periodSeconds": 10, "successThreshold": 1, "failureThreshold": 3},
                 "ports": [{"name": "http", "containerPort": 8080, "protocol": "TCP"}],
                 "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"memory": "256Mi"}},
                 "terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File",
                 "volumeMounts": [{"name": "data", "mountPath": "/data"}]}
    pod = {"apiVersion": "v1", "kind": "Pod",
           "metadata": {"generateName": "web-7d4b9c6f5-", "creationTimestamp": None,
                        "labels": {"app": "web", "version": "v1", "pod-template-hash": "7d4b9c6f5"},
                        "annotations": {"prometheus.io/scrape": "true", "prometheus.io/port": "9100",
                                         **{f"example.com/note-{i}": "y" * 60 for i in range(12)}},
                        "ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web-7d4b9c6f5",
                                             "uid": "1", "controller": True, "blockOwnerDeletion": True}]},
           "spec": {"serviceAccountName": "web", "restartPolicy": "Always", "dnsPolicy": "ClusterFirst",
                    "containers": [{"name": name, **container} for name in ("app", "helper")],
                    "volumes": [{"name": "data", "emptyDir": {}}]}, "status": {}}
    return json.dumps({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
                       "request": {"uid": "6d3a7c0a-7a3c-4f5e-9d55-0b8f4f3b0a11", "operation": "CREATE", "namespace": "shop",
                                   "kind": {"group": "", "version": "v1", "kind": "Pod"},
                                   "resource": {"group": "", "version": "v1", "resource": "pods"},
                                   "userInfo": {"username": "system:serviceaccount:kube-system:replicaset-controller"},
                                   "object": pod, "oldObject": None, "dryRun": False, "options": {}}}).encode()


class Webhook:
    def __init__(self, program, folder):
        cert, key, namespaces = folder / "tls.crt", folder / "tls.key", folder / "namespaces.yaml"
        subprocess.run(["openssl", "req", "-x509", "-nodes", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
                        "-days", "2", "-subj", "/CN=bench", "-addext", "subjectAltName=IP:127.0.0.1",
                        "-keyout", key, "-out", cert], check=True, capture_output=True)
        namespaces.write_text("apiVersion: v1\nkind: Namespace\nmetadata: {name: shop, labels: {fairlead.io/inject: enabled}}\n")
        self.log = open(folder / "log", "w+b")
        self.process = subprocess.Popen([program, "--listen", "127.0.0.1:0", "--tls-cert", cert, "--tls-key", key,
                                         "--namespaces", namespaces], stdin=subprocess.DEVNULL, stderr=self.log)
        self.context = ssl.create_default_context(cafile=str(cert))
        self.port = self.wait_port(folder / "log")

    def wait_port(self, log):
        end = time.monotonic() + 10
        while time.monotonic() < end and self.process.poll() is None:
            for line in log.read_text().splitlines():
                if '"port"' in line:
                    return json.loads(line)["port"]
            time.sleep(0.01)
        raise SystemExit(f"the webhook is not ready: {log.read_text()}")

    def cpu(self):
        fields = pathlib.Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / TICK

    def private_kib(self):
        rollup = pathlib.Path(f"/proc/{self.process.pid}/smaps_rollup").read_text().splitlines()
        return sum(int(line.split()[1]) for line in rollup if line.startswith("Private_"))


def load(webhook, body, end, latencies):
    connection = http.client.HTTPSConnection("127.0.0.1", webhook.port, context=webhook.context)
    while time.monotonic() < end:
        begin = time.perf_counter()
        connection.request("POST", "/inject", body, {"Content-Type": "application/json"})
        response = connection.getresponse()
        answer = response.read()
        latencies.append(time.perf_counter() - begin)
        if response.status != 200 or b'"patch"' not in answer:
            raise SystemExit(f"not injected: {response.status} {answer[:300]}")
    connection.close()


def one_round(webhook, body, options):
    latencies, before, end = [], webhook.cpu(), time.monotonic() + options.seconds
    threads = [threading.Thread(target=load, args=(webhook, body, end, latencies)) for _ in range(options.connections)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    latencies.sort()
    return ((webhook.cpu() - before) / len(latencies) * 1e6, len(latencies) / options.seconds,
            latencies[len(latencies) // 2] * 1e3, latencies[len(latencies) * 99 // 100] * 1e3)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("programs", type=pathlib.Path)
    parser.add_argument("--seconds", type=float, default=3)
    parser.add_argument("--connections", type=int, default=2)
    options = parser.parse_args()
    folder = pathlib.Path(tempfile.mkdtemp(prefix="fl-bench-"))
    webhook = None
    try:
        body = make_review()
        webhook = Webhook(options.programs / "fairlead-webhook", folder)
        one_round(webhook, body, options)  # warm
        rounds = [one_round(webhook, body, options) for _ in range(ROUNDS)]
        cpu, rate, median, late = (statistics.median(column) for column in zip(*rounds))
        print(f"admission: {len(body)} byte reviews, {options.connections} connections, median of {ROUNDS} rounds")
        print(f"  CPU of the webhook   {cpu:8.0f} µs a review")
        print(f"  rate                 {rate:8.0f} reviews/s (the client is Python)")
        print(f"  latency p50, p99     {median:8.2f}, {late:.2f} ms at that rate")
        print(f"  private memory       {webhook.private_kib():8} KiB")
    finally:
        if webhook is not None:
            webhook.process.terminate()
            webhook.process.wait()
            webhook.log.close()
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
