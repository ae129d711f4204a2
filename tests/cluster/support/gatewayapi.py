"""Gateway API on the cluster, and what a lane makes of it.

    gatewayapi.install(cls)                        the CRDs of its release, until the class is through
    gateway("edge", space, listeners=[…])          objects
    conditions(thing)["Programmed"]                ("True", "Programmed"); of a list of conditions as well
"""
from . import place
from .place import kubectl

VERSION = "gateway.networking.k8s.io/v1"
CRDS = place.BIN / "gateway-api" / "standard"
CONTROLLER, MESH = "fairlead.io/gateway-controller", "fairlead.io/mesh-controller"


def install(lane):
    kubectl("apply", "--server-side", "--force-conflicts", "-f", CRDS)
    lane.addClassCleanup(kubectl, "delete", "--ignore-not-found", "--wait", "-f", CRDS)
    kubectl("wait", "--for=condition=Established", "--timeout=60s", "-f", CRDS)
    lane.api.paths.clear()


def gateway_class(name="fairlead", controller=CONTROLLER):
    return {"apiVersion": VERSION, "kind": "GatewayClass", "metadata": {"name": name}, "spec": {"controllerName": controller}}


def listener(port=80, protocol="HTTP", name=None, **more):
    return {"name": name or f"p{port}", "port": port, "protocol": protocol, **more}


def gateway(name, namespace, listeners=None, class_name="fairlead", **spec):
    return {"apiVersion": VERSION, "kind": "Gateway", "metadata": {"name": name, "namespace": namespace},
            "spec": {"gatewayClassName": class_name, "listeners": listeners or [listener()], **spec}}


def http_route(name, namespace, parents, backend="web", port=80):
    return {"apiVersion": VERSION, "kind": "HTTPRoute", "metadata": {"name": name, "namespace": namespace},
            "spec": {"parentRefs": parents, "rules": [{"backendRefs": [{"name": backend, "port": port}]}]}}


def conditions(thing):
    """{type: (status, reason)}"""
    rows = thing if isinstance(thing, list) else (thing or {}).get("status", {}).get("conditions", [])
    return {row["type"]: (row["status"], row["reason"]) for row in rows}
