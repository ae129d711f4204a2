"""Where a lane finds things. The command `lane` sets the environment from layout.sh."""
import os
import pathlib
import subprocess

HERE = pathlib.Path(__file__).resolve().parent.parent
TOP = HERE.parent.parent
CHARTS = TOP / "charts"
PROGRAMS = pathlib.Path(os.environ.get("PROGRAMS", TOP / "build" / "release" / "bin"))  # the product's

CLUSTER = os.environ["CLUSTER_NAME"]
RUNTIME = os.environ["RUNTIME"]          # built: containerd 2.4; debian: 1.6
BIN = pathlib.Path(os.environ["BIN"])    # kubectl, helm, …
PKI = pathlib.Path(os.environ["PKI"])    # the cluster's: ca.crt, admin.crt, admin.key, …
LOG = pathlib.Path(os.environ["LOG"])    # one file per component, audit.log
NODE = pathlib.Path(os.environ["NODE"])  # the node's disk, seen from outside
KUBECONFIG = pathlib.Path(os.environ["KUBECONFIG"])
NODE_NAME, NODE_IP, OUTSIDE_IP = (os.environ[name] for name in ("NODE_NAME", "NODE_IP", "OUTSIDE_IP"))
BUSYBOX_IMAGE = os.environ["BUSYBOX_IMAGE"]  # there on every node


def run(*command, check=True, text=None, **options):
    """Its output, both streams; text goes to its stdin. AssertionError with that output where it fails."""
    done = subprocess.run([str(word) for word in command], input=text, text=True, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL if text is None else None, check=False, **options)
    assert done.returncode == 0 or not check, f"{' '.join(map(str, command))}: exit code {done.returncode}\n{done.stdout}"
    return done.stdout


def kubectl(*arguments, **options):
    return run(BIN / "kubectl", *arguments, **options)


def on_node(*command, **options):
    """On the node itself: its mounts, pids, and what is in /run there."""
    return run(HERE / "on-node", *command, **options)


def outside(*command, **options):
    """As a client from outside of the cluster."""
    return run("nsenter", f"--net=/run/netns/{CLUSTER}-outside", "--", *command, **options)
