"""The product's charts: rendered, or installed."""
import json
import os

import yaml

from . import image, place


def helm(*arguments, major=4, **options):
    return place.run(place.HERE / "helm", *arguments, env={**os.environ, "HELM_MAJOR": str(major)}, **options)


def settings(values):
    """--set-json options of {"a.b": anything}."""
    return [word for key, value in values.items() for word in ("--set-json", f"{key}={json.dumps(value)}")]


def render(values=None, namespace="fairlead-system", chart="fairlead", release="fairlead", major=4):
    """The objects that an installation would make, as dicts."""
    text = helm("template", release, place.CHARTS / chart, "--namespace", namespace, *settings(values or {}), major=major)
    return [thing for thing in yaml.safe_load_all(text) if thing]


def install(values=None, namespace="fairlead-system", chart="fairlead", release="fairlead", patience=120):
    """Installs or upgrades, and waits until all is ready."""
    return helm("upgrade", "--install", release, place.CHARTS / chart, "--namespace", namespace, "--create-namespace",
                "--wait", "--timeout", f"{patience}s", *settings(values or {}))


def with_images(agent=False, control=False):
    """Values by which an installation runs the release programs; without the control plane, unless asked for."""
    values = {} if control else {"control.mode": "none"}
    parts = ["webhook", "keeper", "cli", *(["cni"] if agent else []), *(["control"] if control else [])]
    for part in parts:
        repository, tag = image.load({"cni": "fairlead-agent", "cli": "fairlead"}.get(part, f"fairlead-{part}")).split(":")
        values |= {f"{part}.image.repository": repository, f"{part}.image.tag": tag}
    return {**values, "config.proxyImage": image.load("fairlead-proxy")}


def uninstall(namespace="fairlead-system", release="fairlead"):
    """Whatever pods are in the mesh."""
    return helm("uninstall", release, "--namespace", namespace, "--ignore-not-found", "--wait", "--no-hooks")
