#!/usr/bin/env python3
"""Admissions while another client wants the webhook busy.

usage: admission-attack.py FOLDER-OF-PROGRAMS [--connections N] [--seconds N] [--rate N]

Starts fairlead-webhook on 127.0.0.1. From 127.0.0.2, which counts as another host, a process keeps --connections (5000) open:
each does its handshake, announces 6 MiB and trickles them, and comes again when it is cut. From 127.0.0.1, as the API server,
reviews of 10 kB at a fixed rate over four kept connections, before it and beside it: latencies from when they were due, none
may fail. Attacker, client and webhook want a core each. Give it a release build.
"""
import argparse
import multiprocessing
import pathlib
import shutil
import socket
import ssl
import tempfile
import threading
import time

import admission
import reviews

HEAD = b"POST /inject HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 6291456\r\n\r\n"
AT_ONCE = 200  # connections that are looked at before it rests


def begin(context, port):
    """None: there is no room in front of the door."""
    one = socket.socket()
    try:
        one.settimeout(0.05)
        one.bind(("127.0.0.2", 0))
        one.connect(("127.0.0.1", port))
        one.setblocking(False)
        return [context.wrap_socket(one, do_handshake_on_connect=False, server_hostname="a"), False]
    except OSError:
        one.close()
        return None


def go_on(client):
    """False: it was cut."""
    try:
        if not client[1]:
            client[0].do_handshake()
            client[0].send(HEAD)
            client[1] = True
        client[0].send(b" " * 1000)
    except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
        pass
    except OSError:
        client[0].close()
        return False
    return True


def attack(port, count, attacking, cut):
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    clients, at = [], 0
    while True:
        begun = [begin(context, port) for _ in range(min(50, count - len(clients)))]
        clients += [client for client in begun if client]
        part = clients[at:at + AT_ONCE]
        alive = [client for client in part if go_on(client)]
        cut.value += len(part) - len(alive)
        clients[at:at + AT_ONCE] = alive
        at = at + len(alive) if at + len(alive) < len(clients) else 0
        if len(clients) >= count:
            attacking.set()
        time.sleep(0.002)


def tell(what, webhook, body, options):
    count = int(options.rate * options.seconds)
    dues = [time.perf_counter() + i / options.rate for i in range(count)]
    before, latencies = webhook.cpu_us(), admission_latencies(webhook, body, dues)
    if len(latencies) != count:
        raise SystemExit(f"{count - len(latencies)} reviews failed")
    print(f"{what}: p50 {latencies[count // 2]:.2f}, p99 {latencies[count * 99 // 100]:.2f}, longest {latencies[-1]:.2f} ms; "
          f"webhook busy {(webhook.cpu_us() - before) / options.seconds / 1e4:.0f} %, {webhook.private_mib():.1f} MiB private")


def admission_latencies(webhook, body, dues):
    latencies = []
    threads = [threading.Thread(target=admission.pace, args=(webhook, body, dues[i::4], latencies)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sorted(latencies)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("programs", type=pathlib.Path)
    parser.add_argument("--connections", type=int, default=5000)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--rate", type=float, default=100)
    options = parser.parse_args()
    folder, webhook, attacker = pathlib.Path(tempfile.mkdtemp(prefix="fl-bench-")), None, None
    try:
        body = reviews.make_review(10000)
        webhook = admission.Webhook(options.programs / "fairlead-webhook", folder)
        tell(f"{options.rate:.0f} reviews/s alone", webhook, body, options)
        attacking, cut = multiprocessing.Event(), multiprocessing.Value("L", 0)
        attacker = multiprocessing.Process(target=attack, args=(webhook.port, options.connections, attacking, cut), daemon=True)
        attacker.start()
        whole = attacking.wait(30)
        tell(f"beside {options.connections} slow connections{'' if whole else ', never all at once'}", webhook, body, options)
        print(f"connections that were cut meanwhile: {cut.value}")
    finally:
        if attacker is not None:
            attacker.kill()
            attacker.join()
        if webhook is not None:
            webhook.close()
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
