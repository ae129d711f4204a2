"""HTTP servers in pods that have the machine's Python (tests/cluster/check/teller.py), and the Services before them."""
from . import place

MACHINE = {"usr": "/usr", "lib": "/usr/lib", "lib64": "/usr/lib64"}  # volume: path of the machine


def config_map(space):
    text = (place.HERE / "check" / "teller.py").read_text()
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "teller", "namespace": space}, "data": {"teller.py": text}}


def pod(name, space, labels, *options):
    """It answers what it was asked, and what the options say; config_map() must be there."""
    volumes = [{"name": "teller", "configMap": {"name": "teller"}}, *({"name": key, "hostPath": {"path": path}} for key, path in MACHINE.items())]
    mounts = [{"name": "teller", "mountPath": "/teller"}, *({"name": key, "mountPath": f"/{key}", "readOnly": True} for key in MACHINE)]
    app = {"name": "app", "image": place.BUSYBOX_IMAGE, "command": ["/usr/bin/python3", "-B", "-u", "/teller/teller.py", name, *options],
           "ports": [{"name": "web", "containerPort": 8080}], "volumeMounts": mounts,
           "readinessProbe": {"tcpSocket": {"port": 8080}, "periodSeconds": 1}}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": space, "labels": labels}, "spec": {
        "terminationGracePeriodSeconds": 1, "automountServiceAccountToken": False, "containers": [app], "volumes": volumes}}


def service(name, space, **selector):
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": space}, "spec": {
        "selector": selector, "ports": [{"name": "http", "port": 80, "targetPort": "web", "appProtocol": "http"}]}}
