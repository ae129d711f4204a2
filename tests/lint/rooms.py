#!/usr/bin/env python3
"""Every component has a README that a newcomer can start from.

It tells the purpose, draws the layers, and names the files in reading order with the limits. Held
here: the README is there, holds a drawing, and names every room of the component, so that a room that is added later does
not stay in the dark. tests/, the lint suite, benchmarks and the cluster have one too; the cluster's has a row for each lane.
"""

import pathlib
import re

import rule

COMPONENTS = ("common", "webhook", "cni", "proxy", "control", "cli", "charts")
OTHERS = ("tests", "tests/lint", "tests/bench", "tests/cluster", "images")


def rooms_of(tree, component):
    """Sub-folders with files in them, and .c and .h files of the component itself by their stem."""
    rooms = set()
    for name in tree.files:
        parts = name.split("/")
        if parts[0] == component and len(parts) > 2:
            rooms.add(parts[1] + "/")
        elif parts[0] == component and name.endswith((".c", ".h")):
            rooms.add(pathlib.PurePath(name).stem)
    return sorted(rooms)


def check_component(tree, component):
    readme = f"{component}/README.md"
    rooms = rooms_of(tree, component)
    if not rooms:
        return
    if readme not in tree.files:
        yield rule.Finding(readme, readme, f"{component} has no README")
        return
    text = tree.text(readme)
    if "```" not in text:
        yield rule.Finding(f"{readme} drawing", readme, "holds no drawing of the layers (a fenced block)")
    for room in rooms:
        if not re.search(rf"(?<![\w/]){re.escape(room.rstrip('/'))}(?!\w)", text):
            yield rule.Finding(f"{readme} {room}", readme, f"does not name {component}/{room}")


def check_lanes(tree):
    readme = "tests/cluster/README.md"
    for name in tree.files:
        lane = re.fullmatch(r"tests/cluster/lanes/(\w+)\.py", name)
        if lane and readme in tree.files and f"| `{lane[1]}` |" not in tree.text(readme):
            yield rule.Finding(f"{readme} {lane[1]}", readme, f"has no row for the lane {lane[1]}")


def check(tree):
    for component in COMPONENTS:
        yield from check_component(tree, component)
    yield from check_lanes(tree)
    for folder in OTHERS:
        inside = any(name.startswith(folder + "/") for name in tree.files)
        if inside and f"{folder}/README.md" not in tree.files:
            yield rule.Finding(f"{folder}/README.md", folder, f"{folder} has no README")


GOOD = "# cni\n```\ncapture ← plugin ← main\n```\n"
SAMPLES = [
    ("complete", {"cni/README.md": GOOD, "cni/capture/plan.c": "", "cni/main.c": ""}, []),
    ("none", {"cni/main.c": ""}, ["cni/README.md"]),
    ("no drawing", {"cni/README.md": "# main\n", "cni/main.c": ""}, ["cni/README.md drawing"]),
    ("a room in the dark", {"cni/README.md": GOOD, "cni/agent/scan.c": ""}, ["cni/README.md agent/"]),
    ("a file in the dark", {"cni/README.md": GOOD, "cni/verbs.h": ""}, ["cni/README.md verbs"]),
    ("a name within a name", {"cni/README.md": GOOD + "pluginagent\n", "cni/agent/scan.c": ""}, ["cni/README.md agent/"]),
    ("the tests", {"tests/unit/x_test.c": ""}, ["tests/README.md"]),
    ("a lane in the dark", {"tests/README.md": "", "tests/cluster/lanes/a.py": "", "tests/cluster/lanes/b.py": "",
                            "tests/cluster/README.md": "| `a` | api |\n"}, ["tests/cluster/README.md b"]),
]

if __name__ == "__main__":
    rule.main(__file__, check, SAMPLES)
