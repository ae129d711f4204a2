"""What the tests of fairlead-proxy share: two pods as network namespaces with capture rules, certificates, the golden
bootstraps, proxies as uid and gid 1337, and sockets made inside a namespace, captured or not.

    client pod "a" (10.88.0.2, fd88::2) ──veth── server pod "b" (10.88.0.3, fd88::3)

Python's own modules, iproute2, nftables and openssl are all that is used. Ready is a line of the proxy's log.
"""
import atexit
import contextlib
import ctypes
import json
import os
import pathlib
import queue
import re
import resource
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time

CLONE_NEWNET = 0x40000000
SKIPPED = 77
UID = GID = 1337
TOP = pathlib.Path(__file__).resolve().parents[2]
GOLDEN = TOP / "tests/golden/bootstrap"
ADDRESS = {("a", 4): "10.88.0.2", ("b", 4): "10.88.0.3", ("a", 6): "fd88::2", ("b", 6): "fd88::3"}
CLIENT_ID = "spiffe://cluster.local/ns/demo/sa/client"
SERVER_ID = "spiffe://cluster.local/ns/demo/sa/server"
PATIENCE = 20  # seconds that anything may take
# What the golden bootstraps' one token becomes: with the other one HTTP shares connections between the sidecars.
ALPN_TCP = "_protocols: [fairlead-tcp/1]"  # alpn_protocols, application_protocols
ALPN_SHARED = "_protocols: [fairlead-http/1, fairlead-tcp/1]"
ALPN = ALPN_SHARED if "--shared" in sys.argv else ALPN_TCP

libc = ctypes.CDLL(None, use_errno=True)
PROGRAM = os.path.abspath(sys.argv[1]) if len(sys.argv) > 1 else ""
SANITIZED = bool(PROGRAM) and b"__asan_init" in pathlib.Path(PROGRAM).read_bytes()
# KiB that a busy proxy may have for itself. AddressSanitizer keeps freed memory; we have it keep little.
SMALL = 131072 if SANITIZED else 8192
SANITIZER = {"ASAN_OPTIONS": "quarantine_size_mb=1"} if SANITIZED else {}
FOLDER = pathlib.Path(tempfile.mkdtemp(prefix="fl-proxy-"))
RUNNABLE = FOLDER / "fairlead-proxy"  # the proxy's user may not reach the build folder (a clone below /root)
NAME = {role: f"flp{os.getpid()}{role}" for role in "ab"}
processes = []


def run(*command, check=True):
    result = subprocess.run([str(word) for word in command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if check and result.returncode != 0:
        raise AssertionError(f"{' '.join(map(str, command))}: {result.stdout}")
    return result.stdout


def skip_unless_possible():
    if os.geteuid() != 0:
        print("skipped: making network namespaces needs root")
        sys.exit(SKIPPED)
    for tool in ("ip", "nft", "openssl"):
        if shutil.which(tool) is None:
            print(f"skipped: {tool} is not installed")
            sys.exit(SKIPPED)
    if subprocess.run(["ip", "netns", "add", NAME["a"]], stderr=subprocess.DEVNULL).returncode != 0:
        print("skipped: this machine lets nobody make network namespaces")
        sys.exit(SKIPPED)
    run("ip", "netns", "del", NAME["a"])


def clean_up():
    for process in processes:
        if process.poll() is None:
            process.kill()
            process.wait()
    for name in NAME.values():
        subprocess.run(["ip", "netns", "del", name], stderr=subprocess.DEVNULL)
    shutil.rmtree(FOLDER, ignore_errors=True)


def volume(name):
    """A folder as the memory volume is one: the proxy's alone."""
    path = FOLDER / name
    path.mkdir(mode=0o700, exist_ok=True)
    os.chown(path, UID, GID)
    return path


# -- pods -------------------------------------------------------------------------------------------------------------

RULES = """
table inet capture {{
  chain output {{ type nat hook output priority -100;
    {probe}
    meta skuid 1337 meta skgid 1337 return
    ip daddr 127.0.0.0/8 return
    ip6 daddr ::1 return
    meta l4proto tcp redirect to :15001
  }}
  chain prerouting {{ type nat hook prerouting priority -100;
    iifname "m0" tcp dport != {{ 15000, 15001, 15006, 15020, 15021, 15090 }} redirect to :15006
  }}
}}
"""
PROBES = {4: "ip daddr 127.0.0.6 tcp dport 15002 redirect to :15001", 6: "ip6 daddr ::6 tcp dport 15002 redirect to :15001"}


def program_capture(role, probes=(4, 6)):
    text = RULES.format(probe="\n    ".join(PROBES[family] for family in probes))
    subprocess.run(["ip", "netns", "exec", NAME[role], "nft", "-f", "-"], input=text, text=True, check=True)


def make_pods():
    atexit.register(clean_up)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    for role in "ab":
        run("ip", "netns", "add", NAME[role])
    run("ip", "link", "add", "m0", "netns", NAME["a"], "type", "veth", "peer", "name", "m0", "netns", NAME["b"])
    for role in "ab":
        ip = ["ip", "-n", NAME[role]]
        run(*ip, "addr", "add", ADDRESS[role, 4] + "/24", "dev", "m0")
        run(*ip, "addr", "add", ADDRESS[role, 6] + "/64", "dev", "m0", "nodad")
        run(*ip, "addr", "add", "::6/128", "dev", "lo", "nodad")
        run(*ip, "link", "set", "lo", "up")
        run(*ip, "link", "set", "m0", "up")
    program_capture("a")
    program_capture("b")
    os.chmod(FOLDER, 0o755)
    shutil.copy(PROGRAM, RUNNABLE)


@contextlib.contextmanager
def inside(role, as_proxy=False):
    """This thread, in the pod's network namespace; as the proxy's uid and gid its sockets are not captured."""
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    there = os.open(f"/run/netns/{NAME[role]}", os.O_RDONLY)
    if libc.setns(there, CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "setns")
    if as_proxy:  # what a socket's owner is taken from; seteuid(2) would be for every thread
        libc.setfsgid(GID)
        libc.setfsuid(UID)
    try:
        yield
    finally:
        if as_proxy:
            libc.setfsuid(0)
            libc.setfsgid(0)
        libc.setns(home, CLONE_NEWNET)
        os.close(home)
        os.close(there)


def dial(role, to, port, family=4, as_proxy=False):
    """A connection from pod `role` to an address, or to pod `to`."""
    host = ADDRESS.get((to, family), to)
    with inside(role, as_proxy):
        sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    sock.settimeout(PATIENCE)
    sock.connect((host, port))
    return sock


# -- origin servers ---------------------------------------------------------------------------------------------------

class Origin:
    """A server in pod b: every connection goes to `serve` in a thread of its own."""

    def __init__(self, port, serve, role="b"):
        with inside(role):
            self.listener = socket.socket(socket.AF_INET6)
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        self.listener.bind(("::", port))
        self.listener.listen(128)
        self.serve = serve
        self.peers = []
        threading.Thread(target=self.loop, daemon=True).start()

    def loop(self):
        while True:
            try:
                sock, peer = self.listener.accept()
            except OSError:
                return
            self.peers.append(peer[0])
            sock.settimeout(PATIENCE)
            threading.Thread(target=self.one, args=(sock,), daemon=True).start()

    def one(self, sock):
        with contextlib.suppress(OSError, EOFError), sock:
            self.serve(sock)

    def close(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()


class Reader:
    """Bytes of a socket with what was read too far kept."""

    def __init__(self, sock):
        self.sock, self.rest = sock, bytearray()

    def more(self):
        piece = self.sock.recv(65536)
        if not piece:
            raise EOFError
        self.rest += piece

    def until(self, mark):
        while mark not in self.rest:
            self.more()
        end = self.rest.index(mark) + len(mark)
        return self.exactly(end)

    def exactly(self, count):
        while len(self.rest) < count:
            self.more()
        part = bytes(self.rest[:count])
        del self.rest[:count]
        return part

    def to_end(self):
        with contextlib.suppress(EOFError):
            while True:
                self.more()
        return bytes(self.rest)

    def head(self):
        lines = self.until(b"\r\n\r\n").decode("latin-1").split("\r\n")
        fields = {line.split(":", 1)[0].lower(): line.split(":", 1)[1].strip() for line in lines[1:] if ":" in line}
        return lines[0], fields

    def body(self, fields):
        if fields.get("transfer-encoding") == "chunked":
            body = b""
            while True:
                size = int(self.until(b"\r\n").split(b";")[0], 16)
                if size == 0:
                    trailers = b""
                    while (line := self.until(b"\r\n")) != b"\r\n":
                        trailers += line
                    fields["trailers"] = trailers.decode()
                    return body
                body += self.exactly(size)
                assert self.exactly(2) == b"\r\n"
        return self.exactly(int(fields.get("content-length", 0)))


class Client(Reader):
    """An HTTP client that can be as odd as a test wants."""

    def __init__(self, *where, **how):
        super().__init__(dial(*where, **how))

    def ask(self, request):
        self.sock.sendall(request if isinstance(request, bytes) else request.encode())
        return self.answer()

    def answer(self, head=False):
        line, fields = self.head()
        body = b"" if head or line.split()[1] in ("204", "304", "100", "101") else self.body(fields)
        return int(line.split()[1]), fields, body


def get(path="/", *fields, host="server"):
    return "".join(f"{line}\r\n" for line in (f"GET {path} HTTP/1.1", f"Host: {host}", *fields)) + "\r\n"


# -- certificates -----------------------------------------------------------------------------------------------------

def make_ca(name):
    path = FOLDER / name
    run("openssl", "req", "-x509", "-nodes", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-days", "2",
        "-subj", f"/CN={name}", "-keyout", f"{path}.key", "-out", f"{path}.pem")


def make_identity(folder, uri, authority="ca", days=1):
    """cert-chain.pem, key.pem and root-cert.pem as the golden bootstraps name them."""
    path = FOLDER / folder
    path.mkdir(exist_ok=True)
    run("openssl", "req", "-nodes", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-subj", "/CN=x",
        "-keyout", path / "key.new", "-out", path / "csr")
    (path / "ext").write_text(f"subjectAltName=critical,URI:{uri}\nkeyUsage=critical,digitalSignature\n"
                              "basicConstraints=critical,CA:FALSE\nextendedKeyUsage=serverAuth,clientAuth\n")
    run("openssl", "x509", "-req", "-in", path / "csr", "-CA", FOLDER / f"{authority}.pem", "-CAkey",
        FOLDER / f"{authority}.key", "-CAcreateserial", "-days", str(days), "-extfile", path / "ext", "-out", path / "cert.new")
    shutil.copy(FOLDER / "ca.pem", path / "root-cert.pem")
    os.chmod(path / "key.new", 0o644)
    os.rename(path / "key.new", path / "key.pem")
    os.rename(path / "cert.new", path / "cert-chain.pem")
    return path


def tls_client(identity=None, alpn="fairlead-tcp/1"):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if alpn:
        context.set_alpn_protocols([alpn])
    if identity:
        context.load_cert_chain(FOLDER / identity / "cert-chain.pem", FOLDER / identity / "key.pem")
    return context


# -- proxies ----------------------------------------------------------------------------------------------------------

TCP_CHAIN = """
    - name: tcp.demo
      filter_chain_match:
        prefix_ranges: [{address_prefix: 10.88.0.3, prefix_len: 32}]
        destination_port: 9000
      filters:
      - name: envoy.filters.network.tcp_proxy
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy
          stat_prefix: outbound
          cluster: "outbound|9000||server.demo.svc.cluster.local"
"""


def client_config():
    """The golden client, with a second port that carries opaque TCP to the same server."""
    text = (GOLDEN / "client.yaml").read_text()
    text = text.replace("    filter_chains:", "    filter_chains:" + TCP_CHAIN.rstrip(), 1)
    start = text.index('  - name: "outbound|8080')
    end = text.index("  - name: PassthroughCluster")
    cluster = text[start:end].replace("outbound|8080", "outbound|9000").replace("port_value: 8080", "port_value: 9000")
    return text[:end] + cluster + text[end:]


def quick_heads(text):
    """A second for a request's head instead of ten."""
    return re.sub(r"(\n *)(stat_prefix: (?:in|out)bound\n *route_config)", r"\1request_headers_timeout: 1s\1\2", text)


class Proxy:
    """fairlead-proxy in a pod, ready when the constructor returns (unless `wait` is false)."""

    def __init__(self, role, text, identity, family=4, wait=True, files=None, environment=None, options=()):
        self.role = role
        self.path = FOLDER / f"{role}.yaml"
        if text is not None:  # else its environment is its configuration
            text = text.replace("/run/fairlead", str(FOLDER / identity)).replace(ALPN_TCP, ALPN)
            if family == 6:
                text = text.replace("10.88.0.3", "fd88::3").replace("prefix_len: 32", "prefix_len: 128")
            self.path.write_text(text)
        self.lines = queue.Queue()
        self.seen = []
        self.log = FOLDER / f"{role}.log"

        def become_proxy():
            handle = os.open(f"/run/netns/{NAME[role]}", os.O_RDONLY)
            libc.setns(handle, CLONE_NEWNET)
            os.close(handle)
            if files:
                resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))
            os.setgroups([])
            os.setresgid(GID, GID, GID)
            os.setresuid(UID, UID, UID)

        with open(self.log, "ab") as out:
            self.process = subprocess.Popen(
                [RUNNABLE, *([] if text is None else ["-c", self.path]), "-l", "debug", *options], stdin=subprocess.DEVNULL, stdout=out,
                stderr=subprocess.PIPE, preexec_fn=become_proxy, env={**os.environ, **SANITIZER, **(environment or {})})
        processes.append(self.process)
        threading.Thread(target=self.follow, daemon=True).start()
        if wait:
            self.wait_for("ready")

    def follow(self):
        for line in self.process.stderr:
            self.lines.put(line.decode())
        self.lines.put(None)

    def wait_for(self, message, patience=PATIENCE):
        """The next log line with this message."""
        end = time.monotonic() + patience
        while True:
            try:
                line = self.lines.get(timeout=max(0.0, end - time.monotonic()))
            except queue.Empty:
                raise AssertionError(f"proxy {self.role}: no {message!r} in\n" + "".join(self.seen[-20:])) from None
            if line is None:
                raise AssertionError(f"proxy {self.role} ended:\n" + "".join(self.seen[-20:]))
            self.seen.append(line)
            with contextlib.suppress(ValueError):
                if json.loads(line)["message"] == message:
                    return json.loads(line)

    def ended(self):
        """Asserts that it has ended, and well."""
        status = self.process.wait(PATIENCE)
        while status != 0 and (line := self.lines.get()) is not None:
            self.seen.append(line)
        assert status == 0, f"proxy {self.role}: exit status {status}\n" + "".join(self.seen[-20:])

    def stop(self):
        """Drains it, and asserts that it ends well."""
        self.process.send_signal(signal.SIGTERM)
        self.ended()

    def admin(self, path, port=15000, host="127.0.0.1", method="GET", headers=()):
        with inside(self.role):
            sock = socket.socket()
        sock.settimeout(PATIENCE)
        sock.connect((host, port))
        reader = Reader(sock)
        fields = "".join(f"{line}\r\n" for line in headers)
        sock.sendall(f"{method} {path} HTTP/1.1\r\nHost: {host}\r\n{fields}Connection: close\r\n\r\n".encode())
        line, fields = reader.head()
        return int(line.split()[1]), reader.body(fields).decode()

    def metric(self, name, **labels):
        """The sum of the series with these labels."""
        total = 0.0
        for line in self.admin("/stats/prometheus")[1].splitlines():
            match = re.fullmatch(r"(\w+)(?:\{(.*)\})? (\S+)", line)
            if match and match[1] == name:
                found = dict(re.findall(r'(\w+)="([^"]*)"', match[2] or ""))
                if all(found.get(key) == value for key, value in labels.items()):
                    total += float(match[3])
        return total

    def private_kib(self):
        text = pathlib.Path(f"/proc/{self.process.pid}/smaps_rollup").read_text()
        return sum(int(size) for size in re.findall(r"Private_\w+: +(\d+) kB", text))

    def access_log(self):
        return [json.loads(line) for line in self.log.read_text().splitlines() if line.startswith("{")]


def eventually(check, what, patience=PATIENCE):
    """Waits for a condition that another process brings about, and that has no signal of its own."""
    end = time.monotonic() + patience
    while not check():
        assert time.monotonic() < end, what
        time.sleep(0.01)


def refused(*where, say=b"", **how):
    """Whether a connection is cut without a byte of an answer."""
    try:
        sock = dial(*where, **how)
        sock.sendall(say)
        return sock.recv(1) == b""
    except ConnectionError:
        return True


def run_tests(tests):
    failed = 0
    for test in tests:
        began = time.monotonic()
        try:
            test()
            word = "ok"
        except Exception as error:  # noqa: BLE001: every failure is told, and the next test runs
            import traceback
            traceback.print_exc()
            word, failed = f"FAILED: {type(error).__name__}", failed + 1
        print(f"{time.monotonic() - began:6.2f} s  {test.__name__.replace('_', ' ')}: {word}", flush=True)
    sys.exit(1 if failed else 0)
