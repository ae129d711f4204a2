#!/usr/bin/env python3
"""h2spec, every case, against the proxy: in clear text by prior knowledge, and by TLS and ALPN.

    h2spec.py PROXY TOOLS

h2spec.expect names cases that may fail, each with its reason; one that passes all the same is a failure too.
"""
import http.server
import pathlib
import re
import subprocess
import sys
import tempfile
import threading
import time
import xml.etree.ElementTree

from one import One, connect, timed

HERE = pathlib.Path(__file__).resolve().parent
CASES = 146  # of v2.2.1, all sections with --strict; fewer: something was left out
ATTEMPTS = 2  # it waits for frames 2 s at a time, and a busy machine may be slower


class Origin(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.rfile.read(int(self.headers.get("content-length") or 0))
        if self.headers.get("transfer-encoding"):
            while size := int(self.rfile.readline(), 16):
                self.rfile.read(size + 2)
            while self.rfile.readline() != b"\r\n":
                pass
        self.send_response(200)
        self.send_header("content-length", "5")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(b"hello")

    do_POST = do_HEAD = do_PUT = do_OPTIONS = do_GET

    def log_message(self, *_):
        pass


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_):
        pass  # clients of these cases go away


def exceptions():
    """{case: reason}"""
    lines = (HERE / "h2spec.expect").read_text().splitlines()
    return dict(line.split(" | ", 1) for line in lines if line and not line.startswith("#"))


def run(tool, port, *options):
    """{case: what was wrong, or None}"""
    with tempfile.TemporaryDirectory() as folder:
        report = pathlib.Path(folder) / "report.xml"
        done = subprocess.run([tool, "-h", "127.0.0.1", "-p", str(port), "-S", "-o", "4", "-j", report, *options], capture_output=True,
                              text=True, timeout=600, check=False)
        if not report.exists():
            return {"all": done.stdout[-500:] + done.stderr[-500:]}
        results = {}
        text = re.sub(r"[^\t\n -\ud7ff]", "?", report.read_text(encoding="utf-8", errors="replace"))  # octets of frames as they are
        for suite in xml.etree.ElementTree.fromstring(text.encode()).iter("testsuite"):
            for number, case in enumerate(suite.iter("testcase"), 1):
                failure = case.find("failure")
                if failure is None:
                    failure = case.find("error")
                text = None if failure is None else " ".join((failure.text or "").split())
                skipped = case.find("skipped")
                results[f"{case.get('package')}/{number}"] = "skipped" if skipped is not None else \
                    None if failure is None else f"{case.get('classname')}: {text}"
        return results


def judge(tool, name, port, *options):
    begin, allowed = time.monotonic(), exceptions()
    for _ in range(ATTEMPTS):
        results = run(tool, port, *options)
        failures = [f"{name}: {case}: {text}" for case, text in results.items() if text is not None and case not in allowed]
        failures += [f"{name}: {case} passes: its exception is not needed" for case in allowed if results.get(case, "") is None]
        if len(results) < CASES:
            failures.append(f"{name}: only {len(results)} cases")
        if not failures:
            break
    passed = sum(text is None for text in results.values())
    print(*failures, f"h2spec, {name}: {passed} of {len(results)} cases, {timed(begin)}", sep="\n", flush=True)
    return len(failures)


def speaks(port):
    with connect(port) as sock:
        sock.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0")
        return sock.recv(9)[3:4] == b"\4"  # SETTINGS


def main():
    server = Server(("127.0.0.1", 0), Origin)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    tool = f"{sys.argv[2]}/h2spec"
    with One(sys.argv[1], server.server_address[1]) as proxy:
        if not speaks(proxy.http2):
            print("skipped: this proxy has no HTTP/2")
            return 77
        failed = judge(tool, "clear text", proxy.http2) + judge(tool, "TLS", proxy.tls, "-t", "-k")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
