"""fairlead-cni on hosts that have nothing, or the wrong things: an empty root, a musl userland, a host whose libraries,
loader configuration and environment would break any program; and what the launcher says when files are missing.

usage: cni_selfcontained_test.py PAYLOAD-FOLDER payload_tool [unittest arguments]
"""
import json
import os
import shutil
import subprocess
import sys
import unittest

import cni_host
import cni_support as cni
import waiting

# Links: no other library, so that the loader can be asked to load it anywhere; says who loaded it, and ends that.
INTRUDER = '#include <unistd.h>\n__attribute__((constructor)) static void here(void)\n' \
           '{ static const char said[] = "intruder\\n"; if (write(2, said, sizeof(said) - 1)) _exit(66); _exit(66); }\n'

RUNTIME = r"""
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>
/* A runtime that is linked with the userland's libc: forks, executes, waits. */
int main(int argc, char **argv)
{
    int status = 0;
    if (argc < 2)
        return 3;
    pid_t child = fork();
    if (child == 0) {
        execv(argv[1], argv + 1);
        perror(argv[1]);
        _exit(4);
    }
    if (waitpid(child, &status, 0) != child)
        return 5;
    fprintf(stderr, "runtime: plugin exited with %d\n", WEXITSTATUS(status));
    return 0;
}
"""


class OnHost(unittest.TestCase):
    def setUp(self):
        self.host = cni_host.Host(payloads)
        self.pod = cni.Namespace("pod")
        self.netns = self.host.lend(self.pod)
        self.addCleanup(self.clean)

    def clean(self):
        self.host.take_back(self.netns)
        self.host.remove()
        cni.remove_all()

    def full_life(self, **options):
        """VERSION, ADD, CHECK, DEL, and an error."""
        host, netns = self.host, self.netns
        self.assertIn("1.1.0", host.succeed("VERSION", None, '{"cniVersion":"1.0.0"}', **options)["supportedVersions"])
        answer = host.succeed("ADD", netns, cni.config(cni.spec()), **options)
        self.assertEqual(answer["unknown"], {"n": 1})
        self.assertIn("table inet fairlead", self.pod.table())
        host.succeed("CHECK", netns, cni.config(cni.spec()), **options)
        self.assertEqual(host.fail("ADD", netns, "{not json", **options)["code"], 6)
        host.succeed("DEL", netns, cni.config(cni.spec()), **options)
        self.assertNotIn("fairlead", self.pod.table())


class Anywhere(OnHost):
    def test_an_empty_root(self):
        self.assertEqual(sorted(os.listdir(self.host.root)), [self.netns.lstrip("/"), "opt"])
        self.full_life()

    def test_a_musl_userland(self):
        loader = f"/lib/ld-musl-{os.uname().machine}.so.1"
        if shutil.which("musl-gcc") is None or not os.path.exists(loader):
            self.skipTest("musl-tools is not installed")
        os.makedirs(self.host.path("lib"))
        shutil.copy(loader, self.host.path("lib"))  # musl's loader is its libc
        subprocess.run(["musl-gcc", "-o", self.host.path("runtime"), "-x", "c", "-"], input=RUNTIME, text=True, check=True)
        for verb, stdin, code in (("VERSION", "{}", 0), ("ADD", json.dumps(cni.config(cni.spec())), 0), ("ADD", "{", 1)):
            with self.subTest(verb=verb, code=code):
                done = self.host.call(verb, self.netns, stdin, program="/runtime", arguments=["/opt/cni/bin/fairlead-cni"])
                self.assertEqual(done[0], 0, done)
                self.assertIn(f"runtime: plugin exited with {code}\n", done[2])
                self.assertIn("code" if code else "supportedVersions" if verb == "VERSION" else "ips", json.loads(done[1]))
        self.assertIn("table inet fairlead", self.pod.table())

    def test_libraries_of_the_host_are_not_used(self):
        """Every default place of a glibc holds libraries of these names that end whoever loads them."""
        intruder = self.intruder()
        machine = os.uname().machine
        names = os.listdir(self.host.version_folder())
        for folder in ("lib", "lib64", "usr/lib", f"lib/{machine}-linux-gnu", f"usr/lib/{machine}-linux-gnu"):
            os.makedirs(self.host.path(folder), exist_ok=True)
            for name in [*names, f"ld-linux-{machine.replace('_', '-')}.so.2", "ld-linux-aarch64.so.1"]:
                shutil.copy(intruder, self.host.path(folder, name))
        os.makedirs(self.host.path("etc"))
        with open(self.host.path("etc", "ld.so.preload"), "w") as handle:
            handle.write("/lib/libc.so.6\n")
        with open(self.host.path("etc", "ld.so.cache"), "wb") as handle:
            handle.write(b"ld.so-1.7.0\0" + b"\xff" * 4096)
        self.full_life()

    def test_the_environment_does_not_change_what_is_loaded(self):
        os.makedirs(self.host.path("evil"))
        for name in ["evil.so", *os.listdir(self.host.version_folder())]:
            shutil.copy(self.intruder(), self.host.path("evil", name))
        self.full_life(environment={
            "LD_PRELOAD": "/evil/evil.so", "LD_LIBRARY_PATH": "/evil", "LD_AUDIT": "/evil/evil.so", "LD_DEBUG": "all",
            "LD_TRACE_LOADED_OBJECTS": "1", "LD_SHOW_AUXV": "1", "LD_BIND_NOW": "1", "LD_PROFILE": "libc.so.6",
            "GLIBC_TUNABLES": "glibc.malloc.check=3:glibc.malloc.perturb=255:" + "x=" * 2000, "MALLOC_PERTURB_": "7",
            "LD_": "", "LD_X": "=" * 10000})

    def intruder(self):
        path = self.host.path("intruder.so")
        if not os.path.exists(path):
            subprocess.run(["gcc", "-shared", "-fPIC", "-nostdlib", "-o", path, "-x", "c", "-", "-lc"], input=INTRUDER,
                           text=True, check=True)
            done = subprocess.run(["/bin/true"], env={"LD_PRELOAD": path}, stderr=subprocess.PIPE, check=False)
            self.assertEqual((done.returncode, done.stderr), (66, b"intruder\n"))  # it would be seen
        return path


class Running(OnHost):
    """What a plugin that waits for its stdin looks like."""

    def setUp(self):
        super().setUp()
        self.process = self.host.start("ADD", self.netns, environment={"LD_X": "1", "GLIBC_TUNABLES": "", "KEPT": "ä=1"})
        self.addCleanup(self.end)
        self.proc = f"/proc/{self.process.pid}"
        # in read(0): everything is loaded
        waiting.eventually(lambda: self.read("syscall").startswith("0 0x0 "), "the plugin reads its stdin")

    def end(self):
        self.process.communicate("")

    def read(self, name):
        with open(f"{self.proc}/{name}") as handle:
            return handle.read()

    @unittest.skipUnless(os.uname().machine == "x86_64", "the number of read is another one")
    def test_all_that_is_mapped_is_its_own(self):
        mapped = {line.split(maxsplit=5)[5].strip() for line in self.read("maps").splitlines() if "/" in line}
        folder = self.host.version_folder()
        self.assertEqual({os.path.dirname(path) for path in mapped}, {folder})
        names = {os.path.basename(path) for path in mapped}
        self.assertLessEqual({"ld.so", "fairlead-cni", "libc.so.6", "libmnl.so.0", "libcjson.so.1"}, names)
        self.assertEqual(names, set(os.listdir(folder)))  # nor is anything installed that is not needed

    def test_the_folder_is_held_by_a_lock(self):
        held = os.stat(self.host.version_folder()).st_ino
        with open("/proc/locks") as handle:
            locks = [line.split() for line in handle]
        self.assertTrue(any(f[1] == "FLOCK" and f[3] == "READ" and f[5].endswith(f":{held}") for f in locks), locks)

    def test_what_is_handed_on(self):
        variables = self.read("environ").split("\0")
        self.assertIn("KEPT=ä=1", variables)
        self.assertIn("CNI_COMMAND=ADD", variables)
        self.assertFalse([entry for entry in variables if entry.startswith(("LD_", "GLIBC_TUNABLES"))])


class Launcher(OnHost):
    """How it is found, and what it says when something is missing: an error object, and never a wait."""

    def test_ways_to_name_it(self):
        os.makedirs(self.host.path("links"))
        os.symlink("../opt/cni/bin/fairlead-cni", self.host.path("links", "relative"))
        os.symlink("/links/relative", self.host.path("links", "absolute"))
        os.symlink("opt/cni/bin", self.host.path("bin"))
        for program in ("/links/relative", "/links/absolute", "/bin/fairlead-cni", "opt/cni/bin/fairlead-cni",
                        "./opt/../opt/cni/bin//fairlead-cni"):
            with self.subTest(program):
                self.assertIn("supportedVersions", self.host.succeed("VERSION", None, "{}", program=program))

    def test_its_own_folder_as_cwd(self):
        done = subprocess.run(["./fairlead-cni", "--version"], cwd=self.host.bin, stdout=subprocess.PIPE, check=True)
        self.assertTrue(done.stdout.startswith(b"fairlead-cni "))
        search = {"PATH": self.host.bin}
        done = subprocess.run(["fairlead-cni", "--version"], env=search, stdout=subprocess.PIPE, check=True)
        self.assertTrue(done.stdout.startswith(b"fairlead-cni "))

    def test_arguments_exit_codes_and_streams(self):
        code, out, err = self.host.call("ADD", None, "", arguments=["--nonsense"])
        self.assertEqual((code, out), (2, ""))
        self.assertIn("/opt/cni/bin/fairlead-cni: unrecognized option", err)
        code, out, _ = self.host.call("ADD", None, "", arguments=["--log-format", "text", "--help"])
        self.assertEqual(code, 0)
        self.assertIn("captures a pod's traffic", out)
        large = cni.config(cni.spec(), note="x" * 3_000_000)
        self.host.succeed("ADD", self.netns, large)

    def error(self, **options):
        answer = self.host.fail("ADD", self.netns, "", **options)
        self.assertEqual(answer["code"], 103)
        self.assertEqual(answer["cniVersion"], "1.0.0")
        return answer["details"]

    def test_a_missing_file(self):
        folder = self.host.version_folder()
        for name, words in (("fairlead-cni", "not there"), ("ld.so", "not there")):
            with self.subTest(name):
                os.rename(os.path.join(folder, name), os.path.join(folder, "away"))
                details = self.error()
                self.assertIn(f"/{self.host.version}/{name}: {words}", details)
                self.assertIn("fairlead cni install", details)
                os.rename(os.path.join(folder, "away"), os.path.join(folder, name))

    def test_a_loader_that_is_none(self):
        path = os.path.join(self.host.version_folder(), "ld.so")
        with open(path, "w") as handle:
            handle.write("\x7fELF no more")
        self.assertIn("ld.so: not a program of this machine", self.error())
        os.chmod(path, 0o644)
        self.assertIn("ld.so: not allowed", self.error())

    def test_a_missing_library_is_named(self):
        os.unlink(os.path.join(self.host.version_folder(), "libmnl.so.0"))
        code, _, err = self.host.call("ADD", self.netns, "")
        self.assertNotEqual(code, 0)
        self.assertIn("libmnl.so.0", err)

    def test_no_folder_of_its_version(self):
        os.rename(self.host.version_folder(), self.host.path("away"))
        self.assertIn(f"/opt/cni/bin/fairlead-cni.d/{self.host.version}: not there", self.error())
        with open(self.host.version_folder(), "w"):
            pass
        self.assertIn("not a folder", self.error())

    def test_a_folder_that_somebody_is_removing(self):
        """The lock is never waited for."""
        import fcntl
        fd = os.open(self.host.version_folder(), os.O_RDONLY)
        fcntl.flock(fd, fcntl.LOCK_EX)
        self.assertIn("not there", self.error())
        os.close(fd)
        self.host.succeed("VERSION", None, "{}")

    def test_not_installed_but_copied(self):
        shutil.copy(os.path.join(payloads.built, "launcher"), self.host.path("copy"))
        self.assertIn("/copy: not installed", self.error(program="/copy"))

    def test_paths_that_it_refuses(self):
        for name in ("a:b", "a;b", "a$ORIGIN"):
            with self.subTest(name):
                shutil.copytree(self.host.path("opt"), self.host.path(name))
                self.assertIn("is none for a loader", self.error(program=f"/{name}/cni/bin/fairlead-cni"))
        os.symlink("/loop", self.host.path("loop"))
        deep = "x" * 200
        path = self.host.path(*[deep] * 15)
        os.makedirs(path)
        shutil.copytree(self.host.path("opt"), os.path.join(path, "opt"))
        program = "/" + "/".join([deep] * 15) + "/opt/cni/bin/fairlead-cni"
        self.assertIn("supportedVersions", self.host.succeed("VERSION", None, "{}", program=program))
        many = "/." * ((4096 - len(program) - 20) // 2) + program
        self.assertIn("too long", self.error(program=many))

    def test_too_many_arguments(self):
        self.assertIn("too many arguments", self.error(arguments=["x"] * 100))

    def test_details_are_json_whatever_the_path(self):
        os.makedirs(self.host.path('q"\\\n'))
        shutil.copy(os.path.join(self.host.bin, "fairlead-cni"), self.host.path('q"\\\n', "f"))
        self.assertIn("/q???/fairlead-cni.d/", self.error(program='/q"\\\n/f'))


class Size(unittest.TestCase):
    def test_it_is_small(self):
        self.assertLess(os.path.getsize(os.path.join(payloads.built, "launcher")), 16 << 10)
        self.assertLess(payloads.bytes, 4 << 20)


if __name__ == "__main__":
    cni.skip_unless_possible()
    cni_host.enter_mount_namespace()
    payloads = cni_host.Payloads(sys.argv.pop(1), sys.argv.pop(1))
    if payloads.sanitized:
        payloads.remove_all()
        print("skipped: the sanitizers' runtime needs /proc, an empty root has none")
        sys.exit(cni.SKIPPED)
    try:
        unittest.main()
    finally:
        payloads.remove_all()
