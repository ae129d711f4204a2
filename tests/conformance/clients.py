#!/usr/bin/env python3
"""Real clients and real servers, through one proxy and through two sidecars: each pair of versions (HTTP/1.1, HTTP/2 by prior
knowledge, by TLS) with every scenario of go/peer; curl, nghttp, h2load, wrk, openssl and Node as further clients; nginx and HAProxy as
further servers.

    clients.py PROXY CONTROL TOOLS
"""
import contextlib
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import time

import two
from one import One, eventually, free_port

TOOLS = pathlib.Path(sys.argv[3])
FOLDER = pathlib.Path(tempfile.mkdtemp(prefix="fl-clients-"))
os.chmod(FOLDER, 0o755)
failed = []


def tell(title, wrong, begin):
    print(f"{title}: {'ok' if wrong is None else wrong}, {time.monotonic() - begin:.1f} s", flush=True)
    if wrong is not None:
        failed.append(title)


def run(words, patience=60, **how):
    """(status, output)"""
    try:
        done = subprocess.run([str(word) for word in words], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              timeout=patience, check=False, **how)
        return done.returncode, done.stdout.decode(errors="replace")
    except subprocess.TimeoutExpired as error:
        return -1, f"no end after {patience} s: {(error.stdout or b'')[-300:]!r}"


@contextlib.contextmanager
def server(words, port):
    process = subprocess.Popen([str(word) for word in words], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                               stderr=(FOLDER / "server.log").open("ab"))
    try:
        def listens():
            assert process.poll() is None, f"{words[0]} has ended: " + (FOLDER / "server.log").read_text()[-500:]
            return run(["ss", "-Hltn", f"sport = :{port}"])[1].strip()
        eventually(listens, f"{words[0]} listens")
        yield
    finally:
        process.terminate()
        process.wait()


# -- Go's client with all scenarios -----------------------------------------------------------------------------------

def ask(title, version, url, runner=run, without=()):
    begin = time.monotonic()
    status, text = runner([TOOLS / "peer", "ask", version, url, *without])
    tell(title, None if status == 0 else "; ".join(text.strip().splitlines()[-6:])[:900], begin)


def pairs(proxy, behind):
    without = ["upgrade"] if behind == "HTTP/2" else []  # Go's server has no extended CONNECT for it
    ask(f"Go HTTP/1.1 to {behind}", "h1", f"http://127.0.0.1:{proxy.plain}", without=without)
    ask(f"Go HTTP/2 to {behind}", "h2", f"http://127.0.0.1:{proxy.plain}")
    ask(f"Go HTTP/1.1, TLS, to {behind}", "h1", f"https://127.0.0.1:{proxy.tls}", without=without)
    ask(f"Go HTTP/2, TLS, to {behind}", "h2", f"https://127.0.0.1:{proxy.tls}")


# -- other clients ----------------------------------------------------------------------------------------------------

NODE = """
const http2 = require('http2');
const client = http2.connect(process.argv[2]);
let open = 40;
client.on('error', error => { console.error(error); process.exit(1); });
for (let i = 0; i < 40; i++) {
  const body = Buffer.alloc(100000, String.fromCharCode(97 + i % 26));
  const stream = client.request({ ':method': 'POST', ':path': '/sum', 'content-type': 'text/plain' });
  let text = '';
  stream.on('response', headers => { if (headers[':status'] !== 200) process.exit(2); });
  stream.on('data', piece => { text += piece; });
  stream.on('end', () => {
    if (text !== require('crypto').createHash('sha256').update(body).digest('hex')) process.exit(3);
    if (--open === 0) { client.close(); }
  });
  stream.end(body);
}
"""


def commands(proxy):
    """title: (command, what its output must say, what must be installed)"""
    (FOLDER / "body").write_bytes(b"x" * (3 << 20))
    (FOLDER / "node.js").write_text(NODE)
    plain, tls = f"http://127.0.0.1:{proxy.plain}", f"https://127.0.0.1:{proxy.tls}"
    curl = ["curl", "-sS", "-k", "--max-time", "30", "-w", "\n%{http_version} %{http_code} %{size_download}\n"]
    yield "curl, HTTP/1.1", [*curl, "--http1.1", f"{plain}/hello"], r"hello\n1\.1 200 5"
    yield "curl, HTTP/1.0", [*curl, "--http1.0", f"{plain}/hello"], r"hello\n1\S* 200 5"
    yield "curl, HTTP/2", [*curl, "--http2-prior-knowledge", f"{plain}/hello"], r"hello\n2 200 5"
    yield "curl, HTTP/2, TLS", [*curl, "--http2", f"{tls}/hello"], r"hello\n2 200 5"
    yield "curl, HTTP/1.1, TLS", [*curl, "--http1.1", f"{tls}/hello"], r"hello\n1\.1 200 5"
    yield "curl that would upgrade to h2c stays with HTTP/1.1", [*curl, "--http2", f"{plain}/hello"], r"hello\n1\.1 200 5"
    for version in ("--http1.1", "--http2-prior-knowledge"):
        name = "HTTP/2" if "2" in version else "HTTP/1.1"
        yield f"curl, {name}, POST of 3 MiB", [*curl, version, "--data-binary", f"@{FOLDER}/body", f"{plain}/sum"], r"[0-9a-f]{64}\n\S+ 200"
        yield f"curl, {name}, upload of 3 MiB", [*curl, version, "-H", "Content-Length:", "-H", "Transfer-Encoding: chunked", "-X", "POST", "-T",
                                                 f"{FOLDER}/body", f"{plain}/sum"], r"[0-9a-f]{64}\n\S+ 200"
        yield f"curl, {name}, HEAD", [*curl, version, "-I", f"{plain}/hello"], r"(?i)content-length: 5[\s\S]* 200 0"
        yield f"curl, {name}, 304", [*curl, version, f"{plain}/304"], r" 304 0"
        yield f"curl, {name}, GET of 8 MiB", [*curl, version, "-o", "/dev/null", f"{plain}/large"], r" 200 8388608"
    for version in ("--http1.1", "--http2"):  # not by prior knowledge: Debian's curl breaks its own second stream
        yield f"curl, {version[2:]}, TLS, 20 in a row", [*curl, version, "-o", "/dev/null", f"{tls}/large?[1-20]"], r"(\S+ 200 8388608\s+){20}"
    yield "nghttp", ["nghttp", "-nv", f"{plain}/hello", f"{plain}/large", f"{plain}/trailers"], r":status: 200[\s\S]*:status: 200[\s\S]*:status: 200"
    yield "nghttp, POST", ["nghttp", "-v", "-d", f"{FOLDER}/body", f"{plain}/sum"], r":status: 200"
    yield "nghttp with trailers", ["nghttp", "-v", "-d", f"{FOLDER}/body", "--no-content-length", "-H", "trailer: x-sum", "--trailer", "x-sum: y", f"{plain}/sum"], r"x-trailer: y"
    yield "nghttp, TLS, padded", ["nghttp", "-nv", "-b", "200", f"{tls}/hello"], r":status: 200"
    for name, more in (("HTTP/1.1", ["--h1"]), ("HTTP/2", ["-m20"])):
        for scheme, url in (("", plain), (", TLS", tls)):
            yield f"h2load, {name}{scheme}", ["h2load", "-n5000", "-c20", *more, f"{url}/hello"], r"5000 succeeded, 0 failed, 0 errored"
    yield "h2load, tiny windows", ["h2load", "-n20", "-c2", "-m5", "-w10", "-W12", f"{plain}/large"], r"20 succeeded, 0 failed, 0 errored"
    yield "wrk", ["wrk", "-t1", "-c20", "-d1s", f"{plain}/hello"], r"requests in (?![\s\S]*(Socket errors|Non-2xx))"
    yield "openssl s_client", ["sh", "-c", "printf 'GET /hello HTTP/1.1\\r\\nHost: a\\r\\nConnection: close\\r\\n\\r\\n' | "
                               f"openssl s_client -quiet -alpn http/1.1 -connect 127.0.0.1:{proxy.tls} 2>&1"], r"200 OK[\s\S]*hello"
    yield "openssl s_client, ALPN", ["sh", "-c", f"openssl s_client -alpn h2,http/1.1 -connect 127.0.0.1:{proxy.tls} </dev/null 2>&1"], \
        r"ALPN protocol: h2"
    yield "Node's http2", ["node", FOLDER / "node.js", plain], r"^$"


def others(proxy):
    for title, words, wanted in commands(proxy):
        begin = time.monotonic()
        if shutil.which(words[0]) is None:
            print(f"{title}: skipped, {words[0]} is not here", flush=True)
            continue
        status, text = run(words)
        wrong = None if status == 0 and re.search(wanted, text) else f"status {status}: {text[-400:]!r}"
        tell(title, wrong, begin)


# -- other servers ----------------------------------------------------------------------------------------------------

def nginx(port):
    (FOLDER / "nginx.conf").write_text(f"""
worker_processes 1; daemon off; master_process off; pid {FOLDER}/nginx.pid; error_log {FOLDER}/nginx.err;
events {{ worker_connections 512; }}
http {{ access_log off; client_max_body_size 0; client_body_temp_path {FOLDER}/t; proxy_temp_path {FOLDER}/p; fastcgi_temp_path {FOLDER}/f;
 uwsgi_temp_path {FOLDER}/u; scgi_temp_path {FOLDER}/s; root {FOLDER}/www;
 server {{ listen 127.0.0.1:{port}; location = /hello {{ return 200 hello; }} location / {{ }} }} }}
""")
    (FOLDER / "www").mkdir(exist_ok=True)
    (FOLDER / "www/large").write_bytes(b"0123456789abcdef" * (1 << 19))
    return ["nginx", "-c", FOLDER / "nginx.conf"]


def haproxy(port, h2):
    name = FOLDER / f"haproxy-{port}.cfg"
    name.write_text(f"""
defaults
  mode http
  timeout client 30s
  timeout server 30s
  timeout connect 5s
frontend f
  bind 127.0.0.1:{port}{" proto h2" if h2 else ""}
  http-request return status 200 content-type text/plain string hello if {{ path /hello }}
  http-request return status 404
""")
    return ["haproxy", "-f", name, "-db"]


def behind(title, words, port, h2, large):
    if shutil.which(words[0]) is None:
        print(f"{title}: skipped, {words[0]} is not here", flush=True)
        return
    curl = ["curl", "-sS", "--max-time", "30", "-w", "\n%{http_code} %{size_download}\n"]
    with server(words, port), One(sys.argv[1], port, h2) as proxy:
        for version in ("--http1.1", "--http2-prior-knowledge"):
            asked = [([*curl, version, f"http://127.0.0.1:{proxy.plain}/hello"], r"hello\n200 5"),
                     ([*curl, version, "-I", f"http://127.0.0.1:{proxy.plain}/hello"], r"\n200 0"),
                     ([*curl, version, f"http://127.0.0.1:{proxy.plain}/none"], r"\n404 "),
                     (["h2load", "-n2000", "-c10", *(["--h1"] if "1.1" in version else ["-m10"]), f"http://127.0.0.1:{proxy.plain}/hello"],
                      r"2000 succeeded, 0 failed, 0 errored")]
            if large:
                asked.append(([*curl, version, "-o", "/dev/null", f"http://127.0.0.1:{proxy.plain}/large"], r"200 8388608"))
            begin = time.monotonic()
            wrong = None
            for command, wanted in asked:
                status, text = run(command)
                if status != 0 or not re.search(wanted, text):
                    wrong = f"{command[-1]}: status {status}: {text[-300:]!r}"
                    break
            tell(f"{version[2:]} to {title}", wrong, begin)


def main():
    try:
        port = free_port()
        with server([TOOLS / "peer", "serve", "h1", f"127.0.0.1:{port}"], port), One(sys.argv[1], port) as proxy:
            pairs(proxy, "HTTP/1.1")
            others(proxy)
        with server([TOOLS / "peer", "serve", "h2", f"127.0.0.1:{port}"], port), One(sys.argv[1], port, h2=True) as proxy:
            pairs(proxy, "HTTP/2")
        behind("nginx", nginx(port), port, False, True)
        behind("HAProxy", haproxy(port, False), port, False, False)
        behind("HAProxy, HTTP/2", haproxy(port, True), port, True, False)
        two.up()
        for name in ("http", "h2c", "unknown"):
            two.start("b", [TOOLS / "peer", "serve", "both", f":{two.PORTS[name]}"], port=two.PORTS[name])
        through = lambda words: two.run("a", words)  # noqa: E731
        for name, version in (("http", "h1"), ("unknown", "h1"), ("h2c", "h2"), ("unknown", "h2")):
            ask(f"two sidecars, port {name}, {version}", version, f"http://{two.SERVICE}:{two.PORTS[name]}", through)
        two.alive()
        two.check_carried("http")
    finally:
        shutil.rmtree(FOLDER, ignore_errors=True)
    print(f"{len(failed)} failed" if failed else "all passed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
