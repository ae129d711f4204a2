"""The node's CNI chain: plugins of ours behind the usual ones, and what the runtime called them with.

    chain.install(lane)                            fairlead-cni and trace-cni are there; the usual chain afterwards
    chain.use("fairlead-cni")                      in force when it returns; trace-cni is always the last
    chain.calls(pod="web", command="ADD")          what trace-cni wrote down: command, args, netns, input (stdin)
"""
import json
import shutil

from waiting import eventually

from . import place
from .api import Api

PLUGIN = "fairlead-cni"
TRACE_PLUGIN = "trace-cni"
CAPABILITIES = {"io.kubernetes.cri.pod-annotations": True}
FILE = place.NODE / "etc" / "cni" / "net.d" / "10-pods.conflist"
TRACE = place.NODE / "var" / "lib" / "cni" / "trace.log"
BIN = place.NODE / "opt" / "cni" / "bin"


def install(lane):
    shutil.copy(place.PROGRAMS / PLUGIN, BIN)
    shutil.copy(place.HERE / "check" / TRACE_PLUGIN, BIN)
    lane.later(put)


def usual():
    """The list as the cluster began with it."""
    return json.loads((place.NODE / "10-pods.conflist").read_text())


def put(*plugins, **settings):
    """The usual list with more plugins behind it; settings are members of each that is ours. A rename is what containerd watches
    for."""
    chain = usual()
    chain["plugins"] += [{"type": plugin, "capabilities": CAPABILITIES, **(settings if plugin == PLUGIN else {})} for plugin in plugins]
    fresh = FILE.with_suffix(".new")
    fresh.write_text(json.dumps(chain))
    fresh.rename(FILE)


def use(*plugins, **settings):
    """In force once trace-cni, which only writes down what it is called with, was asked for STATUS; by a containerd that does not
    know this verb, for the ADD of a pod."""
    put()
    TRACE.write_text("")
    put(*plugins, TRACE_PLUGIN, **settings)
    asked = (lambda: calls(command="STATUS")) if place.RUNTIME == "built" else a_pod_is_traced
    eventually(asked, "the new chain is in force")


tried = 0


def a_pod_is_traced():
    global tried
    tried += 1
    name, api = f"chain-{tried}", Api()
    try:
        api.create({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "default"}, "spec": {
            "terminationGracePeriodSeconds": 0, "automountServiceAccountToken": False, "restartPolicy": "Never",
            "containers": [{"name": "app", "image": place.BUSYBOX_IMAGE, "command": ["true"]}]}})
        api.wait("v1", "Pod", name, "default", lambda pod: pod["status"]["phase"] in ("Succeeded", "Failed"))
        api.delete("v1", "Pod", name, "default")
    finally:
        api.close()
    return calls(pod=name, command="ADD")


def calls(pod=None, command=None):
    """In their order; of one pod, of one verb."""
    found = [json.loads(line) for line in TRACE.read_text().splitlines()]
    return [call for call in found if (command is None or call["command"] == command)
            and (pod is None or f"K8S_POD_NAME={pod}" in call["args"].split(";"))]
