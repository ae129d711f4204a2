"""Reads layers.txt: who may include whom."""

import re


class Layers:
    def __init__(self, text):
        self.above = {}  # (folder, lower) → names of that folder that may include it
        self.names = {}  # folder → every name that has a place
        self.limits = {}  # "folder/name" → the only names of the folder that it may include
        for number, line in enumerate(text.splitlines(), 1):
            if line.strip() and not line.startswith("#"):
                self._read(number, line)

    def _read(self, number, line):
        limit = re.fullmatch(r"(\w+)/(\w+) on ([\w, ]+)", line)
        order = re.fullmatch(r"(\w*): (.+)", line)
        if limit:
            folder, name, allowed = limit.groups()
            self.limits[f"{folder}/{name}"] = set(re.split(r", *", allowed.strip()))
            self.names.setdefault(folder, set()).add(name)
        elif order:
            self._read_order(order[1], [re.split(r", *", step.strip()) for step in order[2].split("←")])
        else:
            raise SystemExit(f"layers.txt:{number}: neither an order nor a limit: {line}")

    def _read_order(self, folder, steps):
        for i, step in enumerate(steps):
            self.names.setdefault(folder, set()).update(step)
            for lower in step:
                self.above.setdefault((folder, lower), set()).update(*steps[i + 1 :])

    def knows(self, folder, name):
        return name in self.names.get(folder, set())

    def allows(self, folder, source, target):
        if f"{folder}/{source}" in self.limits:
            return target in self.limits[f"{folder}/{source}"]
        return source == target or source in self.above.get((folder, target), set())
