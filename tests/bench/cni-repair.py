"""What the repair costs (root): pods that stand still, a storm of execs, and how long a missed sidecar waits.

    cni-repair.py build/release/tests/cni_repair_driver build/release/bin/fairlead-cni [PODS] [SECONDS] [events|scan]

PODS network namespaces (200), captured by the plugin as usual, with one sleeping process each that is called fairlead-proxy.
CPU is what the kernel charged to the driver (schedstat), which includes the driver's children that read environments once
they have ended only in the line for the start.
"""
import os
import pathlib
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "integration"))
import cni_repair_support as s  # noqa: E402
import cni_support as cni  # noqa: E402
from waiting import eventually  # noqa: E402

DRIVER, PLUGIN = (os.path.abspath(path) for path in sys.argv[1:3])
PODS, SECONDS = int((sys.argv[3:4] or [200])[0]), int((sys.argv[4:5] or [30])[0])


def cpu_ns(pid):
    return int(pathlib.Path(f"/proc/{pid}/schedstat").read_text().split()[0])


def private_kib(pid):
    lines = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Private_"))


def share(pid, seconds):
    before, start = cpu_ns(pid), time.monotonic()
    time.sleep(seconds)
    return (cpu_ns(pid) - before) / 1e9 / (time.monotonic() - start)


def storm(pid, seconds):
    """Execs a second, and the driver's share of a core meanwhile."""
    code = ("import os,time\nend=time.monotonic()+%f\nn=0\nwhile time.monotonic()<end:\n"
            " os.waitpid(os.posix_spawn('/bin/true',['true'],{}),0); n+=1\nprint(n)" % seconds)
    before = cpu_ns(pid)
    spawners = [subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) for _ in range(2)]
    count = sum(int(spawner.communicate()[0]) for spawner in spawners)
    return count / seconds, (cpu_ns(pid) - before) / 1e9 / seconds


def measure(mode, pods):
    repair = s.Repair(DRIVER, mode)
    if mode == "events" and repair.reason:
        print(f"{mode}: {repair.reason}")
        repair.end()
        return
    empty = private_kib(repair.process.pid)
    start = time.monotonic()
    eventually(lambda: repair.counts()["sidecars"] == len(pods), "all are known", 60)
    print(f"{mode}: {len(pods)} sidecars known {time.monotonic() - start:.2f} s after the start, {cpu_ns(repair.process.pid) / 1e6:.0f} ms of CPU")
    print(f"{mode}: private memory {private_kib(repair.process.pid)} KiB ({empty} before)")
    print(f"{mode}: idle {share(repair.process.pid, SECONDS) * 100:.3f} % of a core")
    execs, used = storm(repair.process.pid, 5)
    print(f"{mode}: {used * 100:.2f} % of a core under {execs:.0f} execs/s")
    waits = []
    for _ in range(20):
        pod = s.Pod()
        begin = time.monotonic()
        process = pod.start()
        repair.wait("captured", pid=process.pid)
        waits.append((time.monotonic() - begin) * 1000)
        pod.remove()
    waits.sort()
    print(f"{mode}: a missed sidecar is captured {waits[10]:.0f} ms (longest: {waits[-1]:.0f} ms) after its start")
    print(f"{mode}: {repair.counts()}")
    repair.end()


def main():
    cni.skip_unless_possible()
    pods = [s.Pod() for _ in range(PODS)]
    plugin = cni.Plugin(PLUGIN)
    for pod in pods:
        plugin.succeed("ADD", pod.path, {**cni.config(cni.spec()), "prevResult": {
            "cniVersion": "1.0.0", "ips": [{"address": f"{pod.addresses[0]}/24"}]}})
        pod.start()
    for mode in (sys.argv[5:] or ("events", "scan")):
        measure(mode, pods)
    for pod in pods:
        pod.remove()


if __name__ == "__main__":
    main()
