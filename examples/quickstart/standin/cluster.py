"""The API server's store and the controllers around it, as a folder of YAML files: what `fairlead-control --source
directory:…` reads. Objects are put in place by rename; of every pod that runs the status is written, and the
EndpointSlices of the Services that select it, as the kubelet and the endpoint controller would."""
import os
import pathlib

import yaml


class Cluster:
    def __init__(self, folder):
        self.folder, self.pods, self.services = pathlib.Path(folder), {}, []
        self.folder.mkdir()
        self.folder.chmod(0o755)

    def write(self, name, documents):
        """One file, at once."""
        place = self.folder / f".{name}.new"
        place.write_text(yaml.safe_dump_all(documents, sort_keys=False))
        place.chmod(0o644)
        os.rename(place, self.folder / name)

    def apply(self, name, text):
        """A file of manifests (kubectl apply -f)."""
        documents = [d for d in yaml.safe_load_all(text) if d]
        self.services += [d for d in documents if d["kind"] == "Service"]
        self.write(name, documents)
        for service in self.services:
            self.slice(service)

    def remove(self, name):
        (self.folder / name).unlink()

    def run(self, pod, ready=True):
        """A pod that has its addresses; as an endpoint it counts once it is ready."""
        document = {key: pod.stored[key] for key in ("apiVersion", "kind", "metadata", "spec")}
        metadata = {"creationTimestamp": "2026-01-01T00:00:00Z", **document["metadata"], "uid": pod.uid}
        status = {"phase": "Running", "podIP": pod.ips[0], "podIPs": [{"ip": ip} for ip in pod.ips],
                  "hostIP": "10.88.0.1", "conditions": [{"type": "Ready", "status": "True" if ready else "False"}]}
        document = {**document, "metadata": metadata, "spec": {**document["spec"], "nodeName": "node"}, "status": status}
        self.pods[pod.namespace, pod.name] = document
        self.write(f"pod-{pod.namespace}-{pod.name}.yaml", [document])
        for service in self.services:
            self.slice(service)

    def slice(self, service):
        """The Service's EndpointSlices, one for each of its address families."""
        name, namespace = service["metadata"]["name"], service["metadata"]["namespace"]
        selector = service["spec"].get("selector")
        chosen = [pod for (where, _), pod in self.pods.items() if where == namespace and selector and
                  all(pod["metadata"].get("labels", {}).get(key) == value for key, value in selector.items())]
        slices = []
        families = ["IPv6" if ":" in ip else "IPv4" for ip in service["spec"]["clusterIPs"]]
        for family in families:
            endpoints = [{
                "addresses": [ip["ip"]], "nodeName": "node",
                "conditions": {key: pod["status"]["conditions"][0]["status"] == "True" for key in ("ready", "serving")},
                "targetRef": {"kind": "Pod", "name": pod["metadata"]["name"], "namespace": namespace},
            } for pod in chosen for ip in pod["status"]["podIPs"] if (":" in ip["ip"]) == (family == "IPv6")]
            slices.append({
                "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": family,
                "metadata": {"name": f"{name}-{family.lower()}", "namespace": namespace,
                             "labels": {"kubernetes.io/service-name": name}},
                "ports": [{"name": port.get("name", ""), "port": target(port, chosen), "protocol": "TCP",
                           "appProtocol": port.get("appProtocol")} for port in service["spec"]["ports"]],
                "endpoints": endpoints})
        self.write(f"endpoints-{namespace}-{name}.yaml", slices)


def target(port, pods):
    """The container's port that a Service's port means."""
    wanted = port.get("targetPort", port["port"])
    if isinstance(wanted, int):
        return wanted
    for pod in pods:
        for container in pod["spec"]["containers"]:
            for one in container.get("ports", []):
                if one.get("name") == wanted:
                    return one["containerPort"]
    return port["port"]
