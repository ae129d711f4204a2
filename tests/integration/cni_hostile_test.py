"""fairlead-cni and input of every wrong kind: stdin, environment, capture specs. Whatever it is, the answer has the form that the
specification wants, and the netns stays as it was.

usage: cni_hostile_test.py PATH-OF-fairlead-cni [unittest arguments]
"""
import array
import fcntl
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import termios
import unittest

import cni_support as cni
import waiting

DECODE, CONFIG, ENVIRONMENT, IO, UNSUPPORTED = 6, 7, 4, 5, 2
GOOD = cni.spec()
KINDS = {"a string": "x", "a number": 7, "a boolean": True, "an array": [1], "an object": {"x": 1}}


def text(capture=GOOD, **members):
    return json.dumps(cni.config(capture, **members)).encode()


class Case(unittest.TestCase):
    def setUp(self):
        self.pod = cni.Namespace("pod")
        self.folder = tempfile.mkdtemp(prefix=cni.unique(""))
        self.before = self.pod.state()

    def tearDown(self):
        shutil.rmtree(self.folder)
        cni.remove_all()

    def feed(self, verb, stdin=None, path=None, **environment):
        """stdin: bytes, or an open file."""
        given = {"stdin": stdin} if hasattr(stdin, "fileno") else {"input": text() if stdin is None else stdin}
        done = subprocess.run([plugin.path], stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60, check=False, **given,
                              env=plugin.environment(verb, self.pod.path if path is None else path, **environment))
        self.assertIn(done.returncode, (0, 1), done)
        lines = done.stderr.splitlines()
        self.assertLessEqual(len(lines), 1, "a hostile value forged a second line of the log")
        if lines:
            json.loads(lines[0])
        answer = json.loads(done.stdout) if done.stdout else None
        if done.returncode == 1:
            self.assertEqual(set(answer) - {"details"}, {"cniVersion", "code", "msg"})
        return done.returncode, answer

    def assert_code(self, code, verb, stdin=None, says="", **options):
        """code 0: it succeeds."""
        returned, answer = self.feed(verb, stdin, **options)
        self.assertEqual((returned, (answer or {}).get("code", 0)), (int(code != 0), code), answer)
        if code:
            self.assertIn(says, answer["details"])
        self.assertEqual(self.pod.state(), self.before)


class Stdin(Case):
    def test_what_is_no_configuration(self):
        good = text()
        for what, stdin in (
                ("nothing", b""), ("blanks", b" \t\r\n"), ("a word", b"hello"), ("an array", b"[]"), ("a string", b'"x"'),
                ("a number", b"1"), ("true", b"true"), ("null", b"null"), ("two values", good + good), ("a comma behind", good + b","),
                ("YAML", b"cniVersion: 1.0.0\n"), ("single quotes", good.replace(b'"', b"'")), ("a comment", b"//x\n" + good),
                ("a comma too many", good[:-1] + b",}"), ("a byte order mark", b"\xef\xbb\xbf" + good), ("UTF-16", good.decode().encode("utf-16")),
                ("a NUL in front", b"\0" + good), ("a NUL behind", good + b"\0"), ("a NUL inside", good.replace(b"net", b"n\0t")),
                ("invalid UTF-8", good.replace(b"net", b"n\xff")), ("overlong UTF-8", good.replace(b"net", b"\xc0\xaf")),
                ("a surrogate in UTF-8", good.replace(b"net", b"\xed\xa0\x80")), ("UTF-8 cut short", good.replace(b"net", b"\xe2\x82")),
                ("half of a pair", good.replace(b"net", b"\\ud800")), ("a wrong escape", good.replace(b"net", b"\\x41")),
                ("NaN", text(x=float("nan"))), ("Infinity", text(x=float("inf"))), ("a number that is none", good[:-1] + b',"x":01}'),
                ("65 levels", text(x=0).replace(b'"x": 0', b'"x": ' + b"[" * 64 + b"]" * 64)),
                ("100,000 levels", b'{"x":' + b"[" * 100000), ("100,000 objects", b'{"x":' * 100000),
                ("a million values", text(x=0).replace(b'"x": 0', b'"x": [' + b"0," * 1000000 + b"0]")),
                ("a member twice", good[:-1] + b',"name":"again"}'),
                ("a spec twice", good.replace(b'"other": "annotation"', b'"fairlead.io/capture": "x"')),
                ("a member of the result twice", good.replace(b'"ips": []', b'"ips": [], "ips": []')),
                ("escaped, it is the same name", good[:-1] + b',"n\\u0061me":"again"}'),
        ):
            for verb in ("ADD", "CHECK", "DEL"):
                with self.subTest(what, verb=verb):
                    self.assert_code(DECODE, verb, stdin)
        for cut in range(0, len(good), 7):
            with self.subTest(f"cut at {cut}"):
                self.assert_code(DECODE, "ADD", good[:cut])

    def test_sizes(self):
        room = (4 << 20) - len(text(x=""))
        for what, stdin, code in (("all that is taken", text(x="y" * room), 0), ("a byte more", text(x="y" * (room + 1)), IO),
                                  ("5 MiB", text(x="y" * (5 << 20)), IO), ("5 MiB of blanks", b" " * (5 << 20), IO)):
            with self.subTest(what):
                self.assert_code(code, "CHECK" if code else "DEL", stdin)

    def test_stdin_that_is_no_pipe(self):
        for path, code in (("/dev/zero", IO), ("/dev/null", DECODE), ("/", IO)):
            descriptor = os.open(path, os.O_RDONLY)
            with os.fdopen(descriptor, "rb", opener=None) if path != "/" else Directory(descriptor) as handle, self.subTest(path):
                self.assert_code(code, "ADD", handle)
        done = subprocess.run(["sh", "-c", 'exec "$0" <&-', plugin.path], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False,
                              env=plugin.environment("ADD", self.pod.path))
        self.assertEqual(done.returncode, 1)
        self.assertIn(json.loads(done.stdout)["code"], (IO, DECODE))

    def test_pipes_that_do_not_block(self):
        """A runtime may have made them so: the configuration comes in pieces, the answer is longer than a pipe."""
        (read, into), (out, write) = os.pipe(), os.pipe()
        os.set_blocking(read, False)
        os.set_blocking(write, False)
        stdin, answer = text(x="y" * 300000), b""
        stdin = stdin.replace(b'"unknown": {"n": 1}', b'"unknown": "' + b"z" * 300000 + b'"')
        process = subprocess.Popen([plugin.path], stdin=read, stdout=write, env=plugin.environment("ADD", self.pod.path))
        os.close(write)
        with os.fdopen(into, "wb", buffering=0) as pipe, os.fdopen(read, "rb") as kept:
            for begin in range(0, len(stdin), 50000):
                pipe.write(stdin[begin:begin + 50000])
                waiting.eventually(lambda: waits_or_ended(process, kept), "the plugin reads all there is")
                if process.poll() is not None:
                    break
        with os.fdopen(out, "rb") as pipe:
            answer = pipe.read()
        self.assertEqual(process.wait(), 0, answer[:300])
        self.assertEqual(len(json.loads(answer)["unknown"]), 300000)
        self.assertIn("fairlead", self.pod.table())

    def test_stdout_that_takes_nothing(self):
        with open("/dev/full", "wb") as full:
            done = subprocess.run([plugin.path], input=b'{"cniVersion":"1.0.0"}', stdout=full, check=False, env=plugin.environment("VERSION", None))
        self.assertEqual(done.returncode, 1)

    def test_wrong_types(self):
        """Of every member that is read: refused by name for a captured pod. DEL, which must not fail, goes on."""
        def annotations(value):
            return {"runtimeConfig": {cni.ANNOTATIONS: value}}

        members = (
            ("cniVersion", ("a string",), lambda value: {"cniVersion": value}, "$.cniVersion"),
            ("runtimeConfig", ("an object",), lambda value: {"runtimeConfig": value}, "$.runtimeConfig"),
            ("annotations", ("an object",), annotations, cni.ANNOTATIONS),
            ("the spec", ("a string",), lambda value: annotations({cni.CAPTURE: value}), cni.CAPTURE),
            ("prevResult", ("an object",), lambda value: {"prevResult": value}, "$.prevResult"),
            ("its cniVersion", ("a string",), lambda value: {"prevResult": {"cniVersion": value}}, "$.prevResult.cniVersion"),
            ("backend", ("a string",), lambda value: {"backend": value}, "$.backend"),
            ("statusRequiresCapture", ("a boolean",), lambda value: {"statusRequiresCapture": value}, "$.statusRequiresCapture"),
        )
        for name, right, make, says in members:
            for kind, value in KINDS.items():
                if kind in right:
                    continue
                with self.subTest(f"{name}: {kind}"):
                    self.assert_code(CONFIG, "ADD", text(**make(value)), says=says)
                    self.assert_code(0, "DEL", text(**make(value)))
                    self.assert_code(0, "GC", text(None, **{"cniVersion": "1.1.0", **make(value)}))
                    self.assert_code(0, "STATUS", text(None, **{"cniVersion": "1.1.0", **make(value)}))

    def test_members_of_others(self):
        """Whatever their type: they are not read."""
        for name in ("name", "type", "ipam", "dns", "args", "capabilities", "disableCheck", "cniVersions", "cni.dev/valid-attachments",
                     "cni.dev/attachments", "ipMasq", "future"):
            for kind, value in {**KINDS, "null": None}.items():
                with self.subTest(f"{name}: {kind}"):
                    self.assert_code(0, "DEL", text(**{name: value}))


class Environment(Case):
    def test_variables(self):
        long = "x" * 100000
        for name, values in (
                ("CNI_COMMAND", (None, "", "add", "ADD ", "ADD\n", "ADD;DEL", "$(id)", long)),
                ("CNI_CONTAINERID", (None, "", "../x", "a/b", "a b", "a\nb", "$(id)", "`id`", "-a", ".", "é", "a" + "\x01")),
                ("CNI_IFNAME", (None, "", ".", "..", "a/b", "a:b", "a b", "eth0\n", "eth0123456789012", long)),
                ("CNI_NETNS", (None, "", "relative", "../../etc/passwd", "/nowhere", "/nowhere\nlevel", "/proc/self/ns/../../../etc",
                               "/" + "x" * 300, "/" + "x/" * 3000, "/proc/self/fd/0", "\x7f")),
        ):
            for value in values:
                with self.subTest(f"{name}={str(value)[:20]!r}"):
                    self.assert_code(ENVIRONMENT, "ADD", says=name, **{name: value})
                    self.assert_code(ENVIRONMENT, "CHECK", says=name, **{name: value})
                    if name == "CNI_NETNS":
                        self.assert_code(0, "DEL", **{name: value})

    def test_what_is_taken(self):
        """What is odd and yet no concern of ours."""
        for name, value in (("CNI_ARGS", "x" * 100000), ("CNI_ARGS", "\n{\"level\":\"error\"}\n"), ("CNI_ARGS", "=;;=;K8S_POD_NAME"),
                            ("CNI_PATH", None), ("CNI_PATH", "/nowhere"), ("CNI_CONTAINERID", "a" * 100000), ("CNI_IFNAME", "é"), ("LANG", "xx"),
                            ("TZ", ":/dev/zero"), ("PATH", None), ("CNI_NETNS_OVERRIDE", "1")):
            with self.subTest(f"{name}={str(value)[:20]!r}"):
                self.assert_code(0, "DEL", **{name: value})

    def test_what_is_no_netns(self):
        fifo, endpoint, loop, dangling = (os.path.join(self.folder, name) for name in ("fifo", "socket", "loop", "dangling"))
        os.mkfifo(fifo)
        os.symlink(loop, loop)
        os.symlink("/nowhere", dangling)
        kinds = [f"/proc/self/ns/{name}" for name in os.listdir("/proc/self/ns") if name != "net"]
        self.assertIn("/proc/self/ns/mnt", kinds)
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(endpoint)
            for path in (fifo, endpoint, loop, dangling, "/", "/dev/null", "/dev/zero", "/dev/tty", "/dev/full", "/proc/self/mem", "/proc/self",
                         "/proc/1/root", "/sys/class/net", *kinds):
                with self.subTest(path):
                    self.assert_code(ENVIRONMENT, "ADD", path=path, says="CNI_NETNS")
                    self.assert_code(ENVIRONMENT, "CHECK", path=path, says="CNI_NETNS")
                    self.assert_code(0, "DEL", path=path)

    def test_paths_to_a_netns(self):
        """However it is written, it is what it leads to."""
        link = os.path.join(self.folder, "link")
        os.symlink(self.pod.path, link)
        for path in (link, f"/run/netns/../netns/{self.pod.name}", f"//run//netns/{self.pod.name}", os.path.relpath(self.pod.path)):
            with self.subTest(path):
                self.assertEqual(self.feed("ADD", path=path)[0], 0)
                self.assertIn("fairlead", self.pod.table())
                self.assertEqual(self.feed("DEL", path=path)[0], 0)
                self.assertEqual(self.pod.table(), "")


def waits_or_ended(process, pipe):
    """The pipe is empty and the process sleeps, or it ended."""
    left = array.array("i", [0])
    fcntl.ioctl(pipe, termios.FIONREAD, left)
    with open(f"/proc/{process.pid}/stat") as handle:
        state = handle.read().rsplit(")", 1)[1].split()[0]
    return process.poll() is not None or (left[0] == 0 and state == "S")


class Directory:
    """A descriptor of one, which Python has no file for."""

    def __init__(self, descriptor):
        self.descriptor = descriptor

    def fileno(self):
        return self.descriptor

    def __enter__(self):
        return self

    def __exit__(self, *error):
        os.close(self.descriptor)


class Specs(Case):
    """Capture specs, as the annotation brings them."""

    def refuse(self, what, capture, code=CONFIG, says=cni.CAPTURE):
        capture = capture if isinstance(capture, str) else json.dumps(capture)
        with self.subTest(what):
            self.assert_code(code, "ADD", text(capture), says=says)
            self.assert_code(code, "CHECK", text(capture), says=says)
            self.assert_code(0, "DEL", text(capture))

    def take(self, what, capture):
        with self.subTest(what):
            for verb in ("ADD", "CHECK"):
                self.assertEqual(self.feed(verb, text(capture)), (0, json.loads(text())["prevResult"] if verb == "ADD" else None))
            self.assertEqual(self.feed("DEL", text(capture))[0], 0)
            self.assertEqual(self.pod.table(), "")
            self.before = self.pod.state()  # lo stays up

    def test_versions(self):
        for version in (3, 4, 99, 1000000):
            self.refuse(f"version {version}", cni.spec(version=version), UNSUPPORTED, str(version))
        for version in (0, -1, 1.5, "1", None, True, [1], {}, 1e300, 2**53):
            self.refuse(f"version {version!r}", cni.spec(version=version))
        self.refuse("of the future, with members of the future", {"version": 3, "tproxy": True}, UNSUPPORTED, "3")

    def test_malformed(self):
        whole = json.loads(cni.spec(dns=True))
        self.refuse("two of them", GOOD + GOOD)
        self.refuse("a blank", " ")
        self.refuse("an array", "[]")
        self.refuse("a string", '"x"')
        self.refuse("cut", GOOD[:-1])
        self.refuse("a member twice", GOOD[:-1] + ',"uid":1}')
        self.refuse("longer than any", cni.spec(x="y" * 20000))
        for name in whole:
            self.refuse(f"without {name}", {key: part for key, part in whole.items() if key != name})
            for kind, value in KINDS.items():
                if not isinstance(value, type(whole[name])) or isinstance(value, bool) != isinstance(whole[name], bool):
                    self.refuse(f"{name}: {kind}", {**whole, name: value})
        for part in ("inbound", "outbound", "dns"):
            for name in whole[part]:
                self.refuse(f"without {part}.{name}", {**whole, part: {key: one for key, one in whole[part].items() if key != name}})
                self.refuse(f"{part}.{name} of another type", {**whole, part: {**whole[part], name: {"x": 1}}})
            self.refuse(f"unknown {part}.x", {**whole, part: {**whole[part], "x": 1}})
        for member, items in (
                ("inbound_includePorts", ("0", "65536", "-1", "80-79", "80-", "http", "", " 80 x", 80, None, "1.5", "0x50", "*,80", "٣")),
                ("outbound_includeCIDRs", ("10.0.0.0/33", "10.0.0/8", "fd00::/129", "::ffff:10.0.0.0/104", "host", "", 1, "10.0.0.1/8/8", "*.x")),
                ("outbound_excludeUIDs", ("-1", "4294967295", "root", "5-4", "*", ""))):
            for item in items:
                self.refuse(f"{member}: {item!r}", cni.spec(**({"ipv6": True} if "UIDs" in member else {}), **{member: [item]}))
        for value in (0, 65536, -1, 1.5, "15006"):
            self.refuse(f"inbound.port {value!r}", cni.spec(inbound_port=value))
        for value in (0, -1, 2**32 - 1, 2**32, "1337"):
            self.refuse(f"uid {value!r}", cni.spec(uid=value))

    def test_many(self):
        single = [str(port) for port in range(1, 20000, 2)]
        self.assertEqual(len(single), 10000)
        self.refuse("10,000 ports", cni.spec(inbound_excludePorts=single))
        self.refuse("65 ports", cni.spec(inbound_excludePorts=single[:65]))
        self.take("64 ports", cni.spec(inbound_excludePorts=single[:64]))
        self.refuse("10,000 neighbours", cni.spec(inbound_excludePorts=[str(port) for port in range(1, 10001)]))
        self.take("400 neighbours are one range", cni.spec(inbound_excludePorts=[str(port) for port in range(1, 401)]))
        self.refuse("65 networks", cni.spec(outbound_excludeCIDRs=[f"10.{i * 2}.0.0/16" for i in range(65)]))
        self.take("64 networks", cni.spec(outbound_excludeCIDRs=[f"10.{i * 2}.0.0/16" for i in range(64)]))

    def test_overlapping(self):
        for what, cidrs in (
                ("one in another", ["10.0.0.0/8", "10.1.0.0/16", "10.1.2.3/32"]), ("one twice", ["10.0.0.0/8", "10.0.0.0/8"]),
                ("halves", ["10.0.0.0/9", "10.128.0.0/9"]), ("everything of IPv4", ["0.0.0.0/0", "10.0.0.0/8"]),
                ("everything", ["0.0.0.0/0", "::/0"]), ("both families", ["fd00::/8", "fd00:1::/32", "10.0.0.0/8"]),
                ("host bits", ["10.1.2.3/8", "10.0.0.0/8"]), ("256 of one /24", [f"10.0.0.{i}/32" for i in range(256)])):
            self.take(what, cni.spec(outbound_excludeCIDRs=cidrs))
            self.take(f"included: {what}", cni.spec(outbound_includeCIDRs=cidrs))
        self.take("ports that overlap", cni.spec(inbound_excludePorts=["80", "80-90", "85-100", "1-65535"]))

    def test_both_versions(self):
        """A node may be one version behind the webhook, or ahead of it: what version 1 can say is the same table from both texts."""
        newer = json.dumps({**json.loads(cni.spec(ipv6=True))})
        self.assertEqual(json.loads(newer)["version"], 2)
        for first, second in ((GOOD, newer), (newer, GOOD)):
            self.assertEqual(self.feed("ADD", text(first))[0], 0)
            self.assertIn('comment "fairlead capture 1 ', self.pod.table())
            self.assertEqual(self.feed("CHECK", text(second)), (0, None))
            self.assertEqual(self.feed("DEL", text(second))[0], 0)
        only = cni.spec(ipv6=False)
        self.assertEqual(self.feed("ADD", text(only))[0], 0)
        self.assertIn('comment "fairlead capture 2 ', self.pod.table())
        self.refuse_newer_in_older()

    def refuse_newer_in_older(self):
        """Members that version 1 does not have are no part of it."""
        self.before = self.pod.state()
        older = json.loads(GOOD)
        for name, value in (("ipv6", True), ("dropInvalid", False), ("excludeInterfaces", []), ("dns", {"enabled": False, "port": 15053})):
            with self.subTest(name):
                self.assert_code(CONFIG, "ADD", text(json.dumps({**older, name: value})), says=cni.CAPTURE)


if __name__ == "__main__":
    plugin = cni.Plugin(os.path.abspath(sys.argv.pop(1)))
    cni.skip_unless_possible()
    unittest.main()
