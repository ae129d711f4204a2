"""What the tests of fairlead-cni share: network namespaces that are removed whatever happens, the plugin run as a
runtime would, and connections made from inside a namespace as any user.

Every name starts with "fl" and the process id, so that test runs side by side do not meet. Python's own modules,
iproute2 and nftables are all that is used.
"""
import atexit
import ctypes
import json
import os
import signal
import socket
import struct
import subprocess
import sys

CLONE_NEWNET, CLONE_NEWNS = 0x40000000, 0x00020000
PR_SET_PDEATHSIG = 1
SO_ORIGINAL_DST = 80
ANNOTATIONS = "io.kubernetes.cri.pod-annotations"
CAPTURE = "fairlead.io/capture"
TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
GOLDEN = os.path.join(TOP, "tests", "golden", "cni")
SKIPPED = 77

libc = ctypes.CDLL(None, use_errno=True)


def skip_unless_possible():
    """Ends the process with ctest's word for "skipped" where namespaces cannot be made."""
    if os.geteuid() != 0:
        print("skipped: making network namespaces needs root")
        sys.exit(SKIPPED)
    for tool in ("ip", "nft"):
        if subprocess.run(["which", tool], stdout=subprocess.DEVNULL).returncode != 0:
            print(f"skipped: {tool} is not installed")
            sys.exit(SKIPPED)
    if subprocess.run(["ip", "netns", "add", unique("try")], stderr=subprocess.DEVNULL).returncode != 0:
        print("skipped: this machine lets nobody make network namespaces")
        sys.exit(SKIPPED)
    subprocess.run(["ip", "netns", "del", unique("try")], check=True)


def unique(name):
    return f"fl{os.getpid()}{name}"


def run(*command, check=True, **options):
    result = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **options)
    if check and result.returncode != 0:
        raise AssertionError(f"{' '.join(command)}: {result.stdout}")
    return result.stdout


def enter(path):
    with open(path) as handle:
        if libc.setns(handle.fileno(), CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), f"setns {path}")


def in_child(function):
    """Runs function in a forked process; returns what it returned (JSON), raises what it raised as text."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(read)
        try:
            answer = {"value": function()}
        except BaseException as error:
            answer = {"error": f"{type(error).__name__}: {error}"}
        with os.fdopen(write, "w") as pipe:
            json.dump(answer, pipe)
        os._exit(0)
    os.close(write)
    with os.fdopen(read) as pipe:
        text = pipe.read()
    os.waitpid(child, 0)
    answer = json.loads(text)
    if "error" in answer:
        raise AssertionError(answer["error"])
    return answer["value"]


def original_destination(connection):
    """Where the client thinks it is connected to, as the proxy would ask the kernel."""
    if connection.family == socket.AF_INET:
        raw = connection.getsockopt(socket.SOL_IP, SO_ORIGINAL_DST, 16)
        return socket.inet_ntop(socket.AF_INET, raw[4:8]), struct.unpack("!H", raw[2:4])[0]
    raw = connection.getsockopt(41, SO_ORIGINAL_DST, 28)
    return socket.inet_ntop(socket.AF_INET6, raw[8:24]), struct.unpack("!H", raw[2:4])[0]


def serve(ports, udp, ready):
    """Accepts on all ports, both families, for ever; tells each client where it arrived and where it meant to go. Every
    datagram to an address and port of `udp` is answered by that port and who sent it."""
    import selectors
    selector = selectors.DefaultSelector()
    for address, port in udp:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        endpoint = socket.socket(family, socket.SOCK_DGRAM)
        if family == socket.AF_INET6:
            endpoint.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        endpoint.bind((address, port))
        selector.register(endpoint, selectors.EVENT_READ)
    for port in ports:
        for family, address in ((socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::")):
            try:
                listener = socket.socket(family, socket.SOCK_STREAM)
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                if family == socket.AF_INET6:
                    listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                listener.bind((address, port))
            except OSError:
                if family == socket.AF_INET:
                    raise
                continue  # no IPv6 here
            listener.listen(16)
            selector.register(listener, selectors.EVENT_READ)
    os.write(ready, b"1")
    while True:
        for key, _ in selector.select():
            if key.fileobj.type == socket.SOCK_DGRAM:
                _, peer = key.fileobj.recvfrom(4096)
                answer = {"port": key.fileobj.getsockname()[1], "from": peer[:2]}
                key.fileobj.sendto(json.dumps(answer).encode(), peer)
                continue
            connection, peer = key.fileobj.accept()
            with connection:
                try:
                    meant = original_destination(connection)
                except OSError as error:
                    meant = (error.strerror, 0)
                answer = {"port": connection.getsockname()[1], "meant": meant, "from": peer[0]}
                connection.sendall(json.dumps(answer).encode())


class Namespace:
    """One network namespace; removed, and its servers ended, at the latest when the test process ends."""
    all = []

    def __init__(self, name):
        self.name = unique(name)
        self.path = f"/run/netns/{self.name}"
        self.servers = []
        run("ip", "netns", "add", self.name)
        Namespace.all.append(self)
        # No duplicate address detection: an address that is "tentative" for a second would look like a change.
        run("nsenter", f"--net={self.path}", "sysctl", "-qew", "net.ipv6.conf.default.accept_dad=0",
            "net.ipv6.conf.all.accept_dad=0")

    def ip(self, *arguments, check=True):
        return run("ip", "-n", self.name, *arguments, check=check)

    def nft(self, *arguments, check=True):
        return run("ip", "netns", "exec", self.name, "nft", *arguments, check=check)

    def table(self):
        return self.nft("list", "ruleset")

    def state(self):
        """All that a plugin could have changed."""
        return self.table() + self.ip("-d", "addr") + self.ip("route", "show", "table", "all") + \
            self.ip("-6", "route", "show", "table", "all")

    def inside(self, function, uid=0, gid=0, groups=()):
        def child():
            enter(self.path)
            os.setgroups(groups)
            os.setresgid(gid, gid, gid)
            os.setresuid(uid, uid, uid)
            return function()
        return in_child(child)

    def start(self, server, uid=0, gid=0):
        """Runs server(ready) for ever in a child; returns once it has written to the descriptor `ready`."""
        read, write = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                os.close(read)
                enter(self.path)
                os.setresgid(gid, gid, gid)
                os.setresuid(uid, uid, uid)
                server(write)
            finally:
                os._exit(1)
        self.servers.append(child)
        os.close(write)
        if os.read(read, 1) != b"1":
            raise AssertionError(f"{self.name}: a server failed")
        os.close(read)

    def serve(self, *ports, udp=(), uid=0, gid=0):
        self.start(lambda ready: serve(ports, udp, ready), uid, gid)

    def dial(self, address, port, uid=1000, gid=1000, source=None, source_port=0, groups=()):
        """{"port": where it arrived, "meant": [address, port], "from": …}, or {"failed": why}."""
        def connect():
            family = socket.AF_INET6 if ":" in address else socket.AF_INET
            with socket.socket(family, socket.SOCK_STREAM) as connection:
                connection.settimeout(5)
                try:
                    if source_port != 0:
                        connection.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                    if source is not None:
                        connection.bind((source, source_port))
                    connection.connect((address, port))
                    text = b""
                    while True:
                        part = connection.recv(4096)
                        if not part:
                            return json.loads(text)
                        text += part
                except OSError as error:
                    return {"failed": error.strerror or str(error)}
        return self.inside(connect, uid, gid, groups)

    def ask(self, address, port, uid=1000, gid=1000, source=None, source_port=0, more=()):
        """One datagram to the address, and from the same socket to `more` of them: what each answers, as `dial` says it.
        An answer counts that comes from where the question went."""
        def query():
            family = socket.AF_INET6 if ":" in address else socket.AF_INET
            answers = []
            with socket.socket(family, socket.SOCK_DGRAM) as endpoint:
                endpoint.settimeout(2)
                if source is not None:
                    endpoint.bind((source, source_port))
                for place in (address, *more):
                    try:
                        endpoint.connect((place, port))
                        endpoint.send(b"?")
                        answers.append(json.loads(endpoint.recv(4096)))
                    except OSError as error:
                        answers.append({"failed": error.strerror or str(error)})
            return answers if more else answers[0]
        return self.inside(query, uid, gid)

    def end_servers(self):
        for child in self.servers:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
        self.servers = []

    def remove(self):
        self.end_servers()
        if self in Namespace.all:
            Namespace.all.remove(self)
            run("ip", "netns", "del", self.name, check=False)


def remove_all():
    for namespace in list(Namespace.all):
        namespace.remove()


test_process = os.getpid()
atexit.register(lambda: remove_all() if os.getpid() == test_process else None)
for number in (signal.SIGTERM, signal.SIGHUP):
    signal.signal(number, lambda *_: sys.exit(1))


class Toolbox:
    """A mount namespace in which /usr/sbin holds the iptables programs of the given variants alone ("legacy", "nft"):
    what a host has, for a plugin that runs there. Files of `extra` (name: text) are put beside them."""

    def __init__(self, *variants, extra=None):
        read, write = os.pipe()
        self.child = os.fork()
        if self.child == 0:
            try:
                libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
                self.furnish(variants, extra or {})
                os.write(write, b"1")
                signal.pause()
            finally:
                os._exit(1)
        os.close(write)
        if os.read(read, 1) != b"1":
            raise AssertionError("a mount namespace could not be made")
        os.close(read)

    @staticmethod
    def furnish(variants, extra):
        folder = "/usr/sbin"
        programs = {f"xtables-{variant}-multi": open(f"{folder}/xtables-{variant}-multi", "rb").read()
                    for variant in variants}
        programs.update({name: text.encode() for name, text in extra.items()})
        if libc.unshare(CLONE_NEWNS) != 0:
            raise OSError(ctypes.get_errno(), "unshare")
        run("mount", "--make-rslave", "/")  # network namespaces that are named later appear here too
        run("mount", "-t", "tmpfs", "tools", folder)
        for name, content in programs.items():
            with open(f"{folder}/{name}", "wb") as handle:
                handle.write(content)
            os.chmod(f"{folder}/{name}", 0o755)
        for variant in variants:
            for name in (f"{program}-{variant}-{verb}" for program in ("iptables", "ip6tables") for verb in ("restore", "save")):
                if name not in extra:
                    os.symlink(f"xtables-{variant}-multi", f"{folder}/{name}")

    def command(self):
        return ["nsenter", f"--mount=/proc/{self.child}/ns/mnt"]

    def remove(self):
        os.kill(self.child, signal.SIGKILL)
        os.waitpid(self.child, 0)


def connect_pair(pod, peer, subnet, device="eth0"):
    """A veth pair: 10.<subnet>.0.2 and fd<subnet>::2 in the pod, .1 and ::1 in the peer."""
    run("ip", "link", "add", device, "netns", pod.name, "type", "veth", "peer", "name", device, "netns", peer.name)
    for namespace, host in ((pod, 2), (peer, 1)):
        namespace.ip("link", "set", "lo", "up")
        namespace.ip("addr", "add", f"10.{subnet}.0.{host}/24", "dev", device)
        namespace.ip("addr", "add", f"fd{subnet}::{host}/64", "dev", device, "nodad")
        namespace.ip("link", "set", device, "up")


SETTINGS_OF_VERSION_2 = ("ipv6", "dropInvalid", "excludeInterfaces", "outbound_excludeUIDs", "dns")


def spec(**changes):
    """The default capture spec as text, with parts replaced: spec(inbound_excludePorts=["22"], uid=5). Of version 2 where
    it needs that: spec(ipv6=False), spec(dns=True)."""
    value = {"version": 1, "uid": 1337, "gid": 1337,
             "inbound": {"port": 15006, "includePorts": ["*"], "excludePorts": []},
             "outbound": {"port": 15001, "includeCIDRs": ["*"], "excludeCIDRs": [], "includePorts": [],
                          "excludePorts": []}}
    if any(name in SETTINGS_OF_VERSION_2 for name in changes):
        value.update(version=2, ipv6=True, dropInvalid=False, excludeInterfaces=[],
                     dns={"enabled": changes.pop("dns", False), "port": 15053})
        value["outbound"]["excludeUIDs"] = []
    for name, part in changes.items():
        if "_" in name:
            direction, member = name.split("_")
            value[direction][member] = part
        else:
            value[name] = part
    return json.dumps(value, separators=(",", ":"))


def config(capture=None, version="1.0.0", **members):
    """What a runtime writes to stdin. No address in prevResult: the plugin would want to find it in the netns."""
    value = {"cniVersion": version, "name": "net", "type": "fairlead-cni",
             "prevResult": {"cniVersion": version, "ips": [], "unknown": {"n": 1}}}
    if capture is not None:
        value["runtimeConfig"] = {ANNOTATIONS: {"other": "annotation", CAPTURE: capture}}
    value.update(members)
    return value


class Plugin:
    """A CNI plugin as a runtime executes it."""

    def __init__(self, path, within=None, tools=None):
        self.path = path
        self.within = within  # a Namespace that plays the host
        self.tools = tools    # a Toolbox

    def command(self):
        if self.tools:
            return self.tools.command() + [self.path]
        return ["ip", "netns", "exec", self.within.name, self.path] if self.within else [self.path]

    def environment(self, verb, netns, **changes):
        environment = {"PATH": os.environ["PATH"], "CNI_COMMAND": verb, "CNI_CONTAINERID": "c0ffee",
                       "CNI_IFNAME": "eth0", "CNI_PATH": os.path.dirname(self.path)}
        if netns is not None:
            environment["CNI_NETNS"] = netns
        environment.update(changes)
        return {name: value for name, value in environment.items() if value is not None}

    def start(self, verb, netns, **changes):
        return subprocess.Popen(self.command(), env=self.environment(verb, netns, **changes), stdin=subprocess.PIPE,
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def call(self, verb, netns, stdin, **changes):
        """(exit code, answer as parsed JSON or None, stderr)"""
        process = self.start(verb, netns, **changes)
        out, err = process.communicate(stdin if isinstance(stdin, str) else json.dumps(stdin), timeout=60)
        return process.returncode, json.loads(out) if out else None, err

    def succeed(self, verb, netns, stdin, **changes):
        code, answer, err = self.call(verb, netns, stdin, **changes)
        if code != 0:
            raise AssertionError(f"{verb}: {answer} {err}")
        return answer

    def fail(self, verb, netns, stdin, **changes):
        code, answer, err = self.call(verb, netns, stdin, **changes)
        if code != 1 or not isinstance(answer, dict) or "code" not in answer:
            raise AssertionError(f"{verb}: expected an error object, got exit code {code}, {answer}, {err}")
        return answer
