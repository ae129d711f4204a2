#!/usr/bin/env python3
"""What an admission costs over keep-alive TLS: CPU a review, rate, latency at a fixed rate, memory.

usage: admission.py FOLDER-OF-PROGRAMS [--seconds N] [--million]

Starts fairlead-webhook on 127.0.0.1 with a certificate of its own and posts reviews of pods of 10 kB and of 64 kB (reviews.py),
both injected: as fast as they are answered (h2load, HTTP/1.1, 4 connections; CPU is the webhook's own, from its threads'
schedstat: on a busy machine it alone is worth reading), then 500 a second whether answers come or not, from 4 connections; late
ones count from when they were due. Then 20 reviews of nearly 4 MB, and what is private afterwards. Medians of five rounds; less than
a minute and a half. --million posts a million instead, a tenth of them of 64 kB and 200 of 4 MB among them, and prints what is private.
Give it a release build.
"""
import argparse
import http.client
import json
import pathlib
import re
import shutil
import ssl
import statistics
import subprocess
import tempfile
import threading
import time

import reviews

ROUNDS = 5
CONNECTIONS = 4
RATE = 500
JSON_TYPE = {"Content-Type": "application/json"}


class Webhook:
    def __init__(self, program, folder):
        cert, key, namespaces = folder / "tls.crt", folder / "tls.key", folder / "namespaces.yaml"
        subprocess.run(["openssl", "req", "-x509", "-nodes", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
                        "-days", "2", "-subj", "/CN=bench", "-addext", "subjectAltName=IP:127.0.0.1",
                        "-keyout", key, "-out", cert], check=True, capture_output=True)
        namespaces.write_text("apiVersion: v1\nkind: Namespace\nmetadata: {name: shop, labels: {fairlead.io/inject: enabled}}\n")
        self.log = open(folder / "log", "w+b")
        self.process = subprocess.Popen([program, "--listen", "127.0.0.1:0", "--tls-cert", cert, "--tls-key", key,
                                         "--namespaces", namespaces, "--log-level", "info"], stdin=subprocess.DEVNULL, stderr=self.log)
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

    def cpu_us(self):
        tasks = pathlib.Path(f"/proc/{self.process.pid}/task").iterdir()
        return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e3

    def private_mib(self):
        rollup = pathlib.Path(f"/proc/{self.process.pid}/smaps_rollup").read_text().splitlines()
        return sum(int(line.split()[1]) for line in rollup if line.startswith("Private_")) / 1024

    def close(self):
        self.process.terminate()
        self.process.wait()
        self.log.close()


def post_many(webhook, body_file, *amount):
    """Posts by h2load; the number answered, and how many a second."""
    command = ["h2load", "--h1", "-c", str(CONNECTIONS), "-t", "1", "-d", body_file, "-H", "Content-Type: application/json", *amount,
               f"https://127.0.0.1:{webhook.port}/inject"]
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    good = int(re.search(r"status codes: (\d+) 2xx, 0 3xx, 0 4xx, 0 5xx", text).group(1))
    return good, float(re.search(r"finished in [^,]+, ([\d.]+) req/s", text).group(1))


def post_one(webhook, body, expected):
    connection = http.client.HTTPSConnection("127.0.0.1", webhook.port, context=webhook.context)
    connection.request("POST", "/inject", body, JSON_TYPE)
    response = connection.getresponse()
    answer = response.read()
    connection.close()
    if response.status != 200 or expected not in answer:
        raise SystemExit(f"not {expected}: {response.status} {answer[:300]}")


def pace(webhook, body, dues, latencies):
    connection = http.client.HTTPSConnection("127.0.0.1", webhook.port, context=webhook.context)
    connection.connect()
    for due in dues:
        time.sleep(max(0, due - time.perf_counter()))
        connection.request("POST", "/inject", body, JSON_TYPE)
        connection.getresponse().read()
        latencies.append((time.perf_counter() - due) * 1e3)
    connection.close()


def at_fixed_rate(webhook, body, seconds):
    """The latencies of RATE reviews a second, in ms, sorted."""
    latencies, begin = [], time.perf_counter() + 0.2
    dues = [begin + i / RATE for i in range(int(seconds * RATE))]
    threads = [threading.Thread(target=pace, args=(webhook, body, dues[i::CONNECTIONS], latencies)) for i in range(CONNECTIONS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sorted(latencies)


def one_round(webhook, body_file, body, seconds):
    before = webhook.cpu_us()
    count, rate = post_many(webhook, body_file, "-D", str(seconds))
    cpu = (webhook.cpu_us() - before) / count
    late = at_fixed_rate(webhook, body, seconds)
    return cpu, rate, late[len(late) // 2], late[len(late) * 99 // 100]


def measure(webhook, name, body_file, seconds):
    body = body_file.read_bytes()
    post_one(webhook, body, b'"patch"')
    one_round(webhook, body_file, body, 1)  # warm
    cpu, rate, median, late = (statistics.median(column) for column in
                               zip(*(one_round(webhook, body_file, body, seconds) for _ in range(ROUNDS))))
    print(f"a pod of {name} ({len(body)} byte reviews)")
    print(f"  CPU of the webhook             {cpu:8.0f} µs a review, TLS included: {1e6 / cpu:.0f} reviews/s a core")
    print(f"  as fast as answered            {rate:8.0f} reviews/s (one core; h2load on another)")
    print(f"  latency at {RATE}/s, p50, p99    {median:8.2f}, {late:.2f} ms (the client is Python)")
    print(f"  private memory                 {webhook.private_mib():8.1f} MiB", flush=True)


def post_million(webhook, files):
    for _ in range(100):
        post_many(webhook, files["10 kB"], "-n", "9000")
        post_many(webhook, files["64 kB"], "-n", "998")
        post_many(webhook, files["4 MB"], "-n", "8")
        post_many(webhook, files["10 kB"], "-n", "4")
    print(f"private memory after a million reviews   {webhook.private_mib():8.1f} MiB")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("programs", type=pathlib.Path)
    parser.add_argument("--seconds", type=int, default=3)
    parser.add_argument("--million", action="store_true")
    options = parser.parse_args()
    folder = pathlib.Path(tempfile.mkdtemp(prefix="fl-bench-"))
    files = {name: folder / name.replace(" ", "") for name in ("10 kB", "64 kB", "4 MB")}
    files["10 kB"].write_bytes(reviews.make_review(10_000))
    files["64 kB"].write_bytes(reviews.make_review(64_000))
    files["4 MB"].write_bytes(reviews.make_large_review())
    webhook = Webhook(options.programs / "fairlead-webhook", folder)
    try:
        if options.million:
            post_million(webhook, files)
            return
        measure(webhook, "10 kB", files["10 kB"], options.seconds)
        measure(webhook, "64 kB", files["64 kB"], options.seconds)
        for _ in range(20):
            post_one(webhook, files["4 MB"].read_bytes(), b'"patch"')
        print(f"private memory after 20 reviews of {files['4 MB'].stat().st_size / 1e6:.1f} MB {webhook.private_mib():8.1f} MiB")
    finally:
        webhook.close()
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
