"""A host's file system for fairlead-cni: a folder that is somebody's root, what is installed there, and runtimes in it."""
import ctypes
import json
import os
import shutil
import subprocess
import tempfile

import cni_support as cni

CLONE_NEWNS = 0x20000
MS_BIND, MS_REC, MS_PRIVATE = 0x1000, 0x4000, 0x40000
PTRACE_TRACEME, PTRACE_DETACH = 0, 17
LAUNCHER = "fairlead-cni"
VERSIONS = "fairlead-cni.d"

libc = ctypes.CDLL(None, use_errno=True)


def mount(source, target, flags):
    if libc.mount(source.encode(), target.encode(), None, ctypes.c_ulong(flags), None) != 0:
        raise OSError(ctypes.get_errno(), f"mount {target}")


def enter_mount_namespace():
    """What this process mounts from now on is its own, and gone with it."""
    if libc.unshare(CLONE_NEWNS) != 0:
        raise OSError(ctypes.get_errno(), "unshare")
    mount("none", "/", MS_REC | MS_PRIVATE)


class Payloads:
    """A payload as it was built, another version of it (one more file), and the tool that installs them."""

    def __init__(self, source, tool):
        self.tool = tool
        self.folder = tempfile.mkdtemp(prefix=cni.unique("payload"))
        self.built = source
        files = os.path.join(source, "files")
        self.bytes = sum(os.path.getsize(os.path.join(files, name)) for name in os.listdir(files))
        # the sanitizers' runtime needs /proc, which an empty root has not
        self.sanitized = any(name.startswith("libasan") for name in os.listdir(files))
        self.other = os.path.join(self.folder, "other")
        shutil.copytree(source, self.other)
        with open(os.path.join(self.other, "files", "NOTE"), "w") as note:
            note.write("another version\n")

    def remove_all(self):
        shutil.rmtree(self.folder, ignore_errors=True)

    def command(self, verb, source, bin_dir):
        return [self.tool, verb, source, bin_dir]

    def run(self, verb, source, bin_dir):
        done = subprocess.run(self.command(verb, source, bin_dir), stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              text=True, check=False)
        if done.returncode != 0:
            raise AssertionError(f"{verb}: {done.returncode} {done.stdout}")
        return done.stdout.strip()

    def install(self, source, bin_dir):
        self.run("install", source, bin_dir)
        return self.run("version", source, bin_dir)

    def upgrade(self, source, bin_dir):
        """As an agent does it: the prune may meet another installer at work, and then the next one is to do it."""
        version = self.install(source, bin_dir)
        subprocess.run(self.command("prune", source, bin_dir), stderr=subprocess.DEVNULL, check=False)
        return version


class Host:
    """A root with a folder of plugins, and nothing else."""

    def __init__(self, payloads=None, source=None):
        self.root = tempfile.mkdtemp(prefix=cni.unique("host"))
        self.bin = os.path.join(self.root, "opt", "cni", "bin")
        os.makedirs(self.bin)
        self.version = payloads.install(source or payloads.built, self.bin) if payloads else None

    def remove(self):
        shutil.rmtree(self.root, ignore_errors=True)

    def path(self, *parts):
        return os.path.join(self.root, *parts)

    def version_folder(self):
        return os.path.join(self.bin, VERSIONS, self.version)

    def versions(self):
        return sorted(name for name in os.listdir(os.path.join(self.bin, VERSIONS)))

    def leftovers(self):
        return [name for _, folders, files in os.walk(self.bin) for name in folders + files
                if name.startswith(".fairlead.")]

    def lend(self, pod):
        """The netns of a pod as a file of this host."""
        name = f"netns-{pod.name}"
        with open(self.path(name), "w"):
            pass
        mount(pod.path, self.path(name), MS_BIND)
        return f"/{name}"

    def take_back(self, name):
        libc.umount2(self.path(name.lstrip("/")).encode(), 2)
        os.unlink(self.path(name.lstrip("/")))

    def start(self, verb, netns, program="/opt/cni/bin/fairlead-cni", arguments=(), environment=None, traced=False):
        """The plugin as a runtime in this root executes it; `traced`: it stops before its first instruction."""
        variables = {"CNI_COMMAND": verb, "CNI_CONTAINERID": "c0ffee", "CNI_IFNAME": "eth0", "CNI_PATH": "/opt/cni/bin"}
        if netns is not None:
            variables["CNI_NETNS"] = netns
        variables.update(environment or {})

        def before():
            os.chroot(self.root)
            os.chdir("/")
            if traced:
                libc.ptrace(PTRACE_TRACEME, 0, None, None)
        return subprocess.Popen([program, *arguments], env=variables, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                stderr=subprocess.PIPE, text=True, preexec_fn=before)

    def call(self, verb, netns, stdin, **options):
        """(exit code, stdout, stderr)"""
        process = self.start(verb, netns, **options)
        out, err = process.communicate(stdin if isinstance(stdin, str) else json.dumps(stdin), timeout=60)
        return process.returncode, out, err

    def succeed(self, verb, netns, stdin, **options):
        code, out, err = self.call(verb, netns, stdin, **options)
        if code != 0 or err:
            raise AssertionError(f"{verb}: {code} {out} {err}")
        return json.loads(out) if out else None

    def fail(self, verb, netns, stdin="{}", **options):
        """The error object, alone on stdout."""
        code, out, err = self.call(verb, netns, stdin, **options)
        if code != 1:
            raise AssertionError(f"{verb}: {code} {out} {err}")
        return json.loads(out)
