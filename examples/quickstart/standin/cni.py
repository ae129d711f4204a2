"""The runtime's part of the CNI contract (spec 1.0): runs the plugins of a conflist in their order for ADD, in reverse for
DEL, hands each its own configuration with name, cniVersion, prevResult, and of the capabilities those it declares."""
import copy
import json
import os
import shutil
import subprocess

from . import netns


class Failed(Exception):
    """A plugin's error object."""


class Chain:
    """One network: a conflist, the folders of the plugins, and the namespace in which the plugins run (the node's)."""

    def __init__(self, conflist, plugin_dirs, node):
        self.conflist, self.node = conflist, node
        self.plugin_path = os.pathsep.join(str(d) for d in plugin_dirs)

    def add(self, pod, only=None):
        """ADD through the chain; `only` leaves out the plugins not named. Returns the final result."""
        result = None
        for plugin in self.conflist["plugins"]:
            if only is None or plugin["type"] in only:
                result = self.call("ADD", plugin, pod, result)
        return result

    def check(self, pod, result):
        for plugin in self.conflist["plugins"]:
            self.call("CHECK", plugin, pod, result)

    def delete(self, pod, result):
        for plugin in reversed(self.conflist["plugins"]):
            self.call("DEL", plugin, pod, result)

    def configuration(self, plugin, pod, previous):
        config = copy.deepcopy(plugin)
        declared = config.pop("capabilities", {})
        config.update(name=self.conflist["name"], cniVersion=self.conflist["cniVersion"])
        offered = {"io.kubernetes.cri.pod-annotations": pod.annotations}
        granted = {key: offered[key] for key, wanted in declared.items() if wanted and key in offered}
        if granted:
            config["runtimeConfig"] = granted
        if previous is not None:
            config["prevResult"] = previous
        return config

    def call(self, verb, plugin, pod, previous):
        binary = shutil.which(plugin["type"], path=self.plugin_path)
        if binary is None:
            raise Failed(f"failed to find plugin \"{plugin['type']}\" in path {self.plugin_path}")
        environment = {
            "PATH": os.environ["PATH"], "CNI_COMMAND": verb, "CNI_CONTAINERID": pod.sandbox, "CNI_IFNAME": "eth0",
            "CNI_NETNS": str(netns.path(pod.netns)), "CNI_PATH": self.plugin_path,
            "CNI_ARGS": f"IgnoreUnknown=1;K8S_POD_NAMESPACE={pod.namespace};K8S_POD_NAME={pod.name};"
                        f"K8S_POD_INFRA_CONTAINER_ID={pod.sandbox};K8S_POD_UID={pod.uid}"}
        done = subprocess.run(["nsenter", f"--net={netns.path(self.node)}", binary], env=environment, text=True,
                              input=json.dumps(self.configuration(plugin, pod, previous)), stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, check=False)
        if done.returncode != 0:
            raise Failed(f"{plugin['type']} {verb}: {done.stdout.strip() or done.stderr.strip()}")
        return json.loads(done.stdout) if done.stdout.strip() else None
