"""The admin port of a sidecar, attacked from the app's container: another uid in the same network namespace, without the
sidecar's volume. And what operators do there. usage: proxy_admin_test.py PROXY
"""
import concurrent.futures
import json
import os
import pathlib
import re
import resource
import signal
import socket
import subprocess
import sys

import proxy_support as s
from proxy_support import NAME, Client, Origin, Proxy, get

APP_UID = 1000
HEADER = "x-fairlead-admin-secret"
CHANGES = ("/drain", "/drain_listeners", "/drain_listeners?inboundonly", "/quitquitquit", "/logging?level=trace")
READS = ("/", "/help", "/ready", "/server_info", "/listeners", "/listeners?format=json", "/clusters", "/clusters?format=json",
         "/config_dump", "/config_dump?resource=bootstrap", "/debug/xds", "/certs", "/memory", "/stats", "/stats?format=json",
         "/stats/prometheus", "/logging")

# What the app runs: prints what it got hold of. Its arguments: the proxy's pid and the volume.
ATTACK = r'''
import ctypes, os, socket, sys
pid, volume = sys.argv[1:]
def say(what):
    print(what, flush=True)
for path in (f"{volume}/admin-secret", f"{volume}/identity.pem", f"/proc/{pid}/root{volume}/admin-secret", f"/proc/{pid}/environ",
             f"/proc/{pid}/mem", f"/proc/{pid}/maps", f"/proc/{pid}/fd/0", f"/proc/{pid}/cwd/x"):
    try:
        with open(path, "rb") as file:
            file.read(1)
        say(f"read {path}")
    except OSError:
        pass
for path in (volume, f"/proc/{pid}/fd", f"/proc/{pid}/map_files"):
    try:
        os.listdir(path)
        say(f"listed {path}")
    except OSError:
        pass
libc = ctypes.CDLL(None, use_errno=True)
for request in (16, 0x4206):  # PTRACE_ATTACH, PTRACE_SEIZE
    if libc.ptrace(request, int(pid), 0, 0) == 0:
        say("traced")
try:
    os.kill(int(pid), 15)
    say("killed")
except OSError:
    pass
def ask(head):
    sock = socket.create_connection(("127.0.0.1", 15000), 10)
    sock.sendall(head.encode() + b"Connection: close\r\n\r\n")
    answer = b""
    while piece := sock.recv(65536):
        answer += piece
    return answer.split(b" ", 2)[1].decode()
HEADER = "x-fairlead-admin-secret"
GUESSES = ("", "0" * 64, "f" * 64, "0" * 63, "0" * 65, "null", "\x00" * 64)
for path in ("/drain", "/drain_listeners", "/drain_listeners?inboundonly", "/quitquitquit", "/logging?level=trace"):
    for host in ("127.0.0.1:15000", "localhost", "evil.example", "10.88.0.3:15000"):
        for method in ("POST", "GET", "PUT", "DELETE", "OPTIONS"):
            status = ask(f"{method} {path} HTTP/1.1\r\nHost: {host}\r\nContent-Length: 0\r\n")
            if status == "200" and not (path.startswith("/logging") and method == "GET"):
                say(f"changed by {method} {path} {host}")
    for guess in GUESSES:
        if ask(f"POST {path} HTTP/1.1\r\nHost: localhost\r\n{HEADER}: {guess}\r\n") == "200":
            say(f"guessed {path}")
for host in ("evil.example", "10.88.0.3:15000", "[fd88::3]:15000", "127.0.0.1.evil.example"):
    if ask(f"GET /config_dump HTTP/1.1\r\nHost: {host}\r\n") != "403":
        say(f"rebound {host}")
if ask("GET /config_dump HTTP/1.1\r\nHost: localhost\r\nOrigin: http://localhost:15000\r\n") != "403":
    say("a web page read the dump")
say("done")
'''


def as_app(role, script, *arguments):
    command = ["ip", "netns", "exec", NAME[role], "setpriv", "--reuid", str(APP_UID), "--regid", str(APP_UID), "--clear-groups",
               "--no-new-privs", sys.executable, "-I", "-c", script, *map(str, arguments)]
    return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=120, cwd="/").stdout


def sidecar(volume, **options):
    return Proxy("b", s.quick_heads((s.GOLDEN / "server-strict.yaml").read_text()), "server",
                 options=("--state-dir", volume, "--drain-time-s", "5"), **options)


def secret(volume):
    return (volume / "admin-secret").read_text()


def change(proxy, volume, path):
    return proxy.admin(path, method="POST", headers=(f"{HEADER}: {secret(volume)}", "Content-Length: 0"))


def the_app_changes_nothing_and_reads_no_secret():
    volume = s.volume("attacked")
    proxy = sidecar(volume)
    assert (volume / "admin-secret").stat().st_mode & 0o7777 == 0o600
    assert as_app("b", ATTACK, proxy.process.pid, volume) == "done\n"
    assert proxy.admin("/ready") == (200, "LIVE\n")
    assert "all: debug" in proxy.admin("/logging")[1]
    proxy.stop()


def nothing_that_is_told_is_a_secret():
    volume = s.volume("told")
    proxy = sidecar(volume)
    pages = {path: proxy.admin(path) for path in READS}
    key = (s.FOLDER / "server/key.pem").read_text()
    lines = [line for line in key.splitlines() if line and not line.startswith("-")]
    for path, (status, text) in pages.items():
        assert status == 200, path
        assert secret(volume) not in text and not any(line in text for line in lines) and "PRIVATE KEY" not in text, path
    for path in READS:
        if "json" in path or path.startswith(("/config_dump", "/certs", "/memory", "/server_info")):
            json.loads(pages[path][1])
    assert re.search(r"^inbound\S*::type::ORIGINAL_DST$", pages["/clusters"][1], re.M) or "::type::" in pages["/clusters"][1]
    proxy.stop()


def operators_change_what_they_want():
    volume = s.volume("operators")
    proxy = sidecar(volume)
    first = secret(volume)
    assert change(proxy, volume, "/logging?level=warning") == (200, "active loggers:\n  all: warning\n")
    assert change(proxy, volume, "/logging?level=info")[0] == 200
    assert change(proxy, volume, "/drain") == (200, "OK\n")
    assert proxy.admin("/ready") == (503, "DRAINING\n")
    assert change(proxy, volume, "/drain_listeners?inboundonly")[0] == 200
    proxy.wait_for("listeners are drained, as asked at the admin port")
    s.eventually(lambda: refused(15006), "the inbound listener stays open")
    assert change(proxy, volume, "/quitquitquit") == (200, "OK\n")
    proxy.ended()
    again = sidecar(volume)
    assert secret(volume) != first
    again.stop()


def refused(port):
    with s.inside("b"):
        sock = socket.socket()
    with sock:
        return sock.connect_ex(("127.0.0.1", port)) != 0


def without_a_volume_nothing_can_be_changed():
    proxy = Proxy("b", s.quick_heads((s.GOLDEN / "server-strict.yaml").read_text()), "server")
    for path in CHANGES:
        status, text = proxy.admin(path, method="POST", headers=(f"{HEADER}: {'0' * 64}",))
        assert status == 403 and "--state-dir" in text, (path, status, text)
    proxy.stop()


def many_clusters(count):
    text = "".join(f"""
  - name: cluster-{i}
    type: STATIC
    connect_timeout: 5s
    load_assignment:
      cluster_name: cluster-{i}
      endpoints: [{{lb_endpoints: [{{endpoint: {{address: {{socket_address: {{address: 10.1.{i % 250}.{i // 250 + 1}, port_value: 80}}}}}}}}]}}]
""" for i in range(count))
    return s.client_config().replace("  clusters:\n", "  clusters:" + text, 1)


def slow_scrapers_and_large_dumps_hold_up_nobody():
    """Sixty clients ask for megabytes and read nothing: requests and health checks go on, and the dump is whole for who
    reads it."""
    origin = Origin(8080, echo)
    server = Proxy("b", s.quick_heads((s.GOLDEN / "server-strict.yaml").read_text()), "server")
    proxy = Proxy("a", s.quick_heads(many_clusters(5000)), "client")
    slow = []
    for _ in range(60):
        with s.inside("a"):
            sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.connect(("127.0.0.1", 15000))
        sock.sendall(b"GET /config_dump HTTP/1.1\r\nHost: localhost\r\n\r\n")
        slow.append(sock)
    client = Client("a", "b", 8080)
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        dump = pool.submit(read_dump, proxy)
        for number in range(300):
            assert client.ask(get(f"/{number}"))[0] == 200
            if number % 30 == 0:
                assert proxy.admin("/ready") == (200, "LIVE\n")
        names = [one["cluster"]["name"] for one in dump.result(s.PATIENCE)["configs"][1]["static_clusters"]]
    assert len(names) >= 5000 and "cluster-4999" in names
    for sock in slow:
        sock.close()
    client.sock.close()
    proxy.stop()
    server.stop()
    origin.close()


def read_dump(proxy):
    """Where too much is held for others already, it is 503 until they are gone."""
    for _ in range(100):
        status, text = proxy.admin("/config_dump")
        if status == 200:
            return json.loads(text)
        assert status == 503, status
    raise AssertionError("no dump")


def echo(sock):
    reader = s.Reader(sock)
    while True:
        reader.head()
        sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")


def no_core_dump_holds_a_key():
    volume = s.volume("core")
    before = resource.getrlimit(resource.RLIMIT_CORE)
    pattern = pathlib.Path("/proc/sys/kernel/core_pattern").read_text()
    try:
        resource.setrlimit(resource.RLIMIT_CORE, (before[1], before[1]))
        proxy = sidecar(volume)
    finally:
        resource.setrlimit(resource.RLIMIT_CORE, before)
    status = pathlib.Path(f"/proc/{proxy.process.pid}/environ").stat()
    assert s.SANITIZED or status.st_uid == 0, "the process is dumpable"  # what is not belongs to root
    proxy.process.send_signal(signal.SIGABRT)
    assert proxy.process.wait(s.PATIENCE) == -signal.SIGABRT
    if not pattern.startswith("|") and not s.SANITIZED:
        for folder in (pathlib.Path("."), volume, pathlib.Path(pattern).parent):
            assert not [name for name in os.listdir(folder) if name.startswith("core") and name.endswith(str(proxy.process.pid))]


TESTS = [the_app_changes_nothing_and_reads_no_secret, nothing_that_is_told_is_a_secret, operators_change_what_they_want,
         without_a_volume_nothing_can_be_changed, slow_scrapers_and_large_dumps_hold_up_nobody, no_core_dump_holds_a_key]

if __name__ == "__main__":
    s.skip_unless_possible()
    s.make_pods()
    s.make_ca("ca")
    s.make_identity("client", s.CLIENT_ID)
    s.make_identity("server", s.SERVER_ID)
    s.run_tests(TESTS)
