"""Network namespaces that we make and remove, and work inside them."""
import contextlib
import ctypes
import os
import pathlib
import signal
import subprocess

LIBC = ctypes.CDLL(None, use_errno=True)
CLONE_NEWNET = 0x40000000
FOLDER = pathlib.Path("/run/netns")


def run(*argv, check=True, **options):
    """A short command; its output is captured, a failure tells it."""
    done = subprocess.run([str(a) for a in argv], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=False,
                          **options)
    if check and done.returncode != 0:
        raise RuntimeError(f"{' '.join(map(str, argv))}: exit {done.returncode}: {done.stderr.strip()}")
    return done


def path(name):
    return FOLDER / name


def add(name):
    """A namespace with loopback up. IPv6 addresses are usable at once: nobody else is on these wires."""
    run("ip", "netns", "add", name)
    run("ip", "-n", name, "link", "set", "lo", "up")
    inside(name, "sysctl", "-qew", "net.ipv6.conf.default.accept_dad=0", "net.ipv6.conf.all.accept_dad=0")


def delete(name):
    run("ip", "netns", "del", name, check=False)


def names():
    """The namespaces that have a name on this machine."""
    return [entry.name for entry in FOLDER.iterdir()] if FOLDER.is_dir() else []


def end_processes(name):
    """SIGKILL to every process in the namespace."""
    for pid in run("ip", "netns", "pids", name, check=False).stdout.split():
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(pid), signal.SIGKILL)


def inside(name, *argv, check=True, **options):
    return run("nsenter", f"--net={path(name)}", *argv, check=check, **options)


@contextlib.contextmanager
def entered(name):
    """This thread is in the namespace for the time of the block: for making sockets there."""
    back = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    there = os.open(path(name), os.O_RDONLY | os.O_CLOEXEC)
    try:
        enter(there)
        try:
            yield
        finally:
            enter(back)
    finally:
        os.close(there)
        os.close(back)


def enter(fd):
    if LIBC.setns(fd, CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "setns")
