#!/usr/bin/env python3
"""Each program needs the libraries that needed.txt allows it, and no others.

A library slips in through a library: one more call in common and the plugin, which must run on hosts that have nothing,
wants TLS. Only the linked program shows it.

Arguments: --sanitized where the build is (its runtimes are allowed then), and the programs.
"""

import pathlib
import re
import shutil
import subprocess

import rule

EVERYBODY = {"libc.so.6", "libm.so.6", "ld-linux-x86-64.so.2", "ld-linux-aarch64.so.1"}
SANITIZERS = re.compile(r"lib(asan|ubsan|lsan|gcc_s|stdc\+\+|rt|dl|pthread|resolv)\.so\.\d+")


def read_allowed(text):
    allowed = {}
    for line in text.splitlines():
        program, separator, libraries = line.partition(":")
        if separator and not line.startswith("#"):
            allowed[program.strip()] = set(libraries.split())
    return allowed


def needed_by(path):
    command = ["readelf", "--dynamic", "--wide", str(path)]
    output = subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout.decode()
    return re.findall(r"\(NEEDED\)[^\[]*\[([^\]]+)\]", output)


def findings(program, libraries, allowed, sanitized):
    if program not in allowed:
        yield rule.Finding(f"{program} unknown", program, "has no line in needed.txt")
        return
    for library in libraries:
        if library in EVERYBODY or library in allowed[program] or (sanitized and SANITIZERS.fullmatch(library)):
            continue
        yield rule.Finding(f"{program} {library}", program, f"needs {library}, which needed.txt does not allow it")


def check(tree):
    if shutil.which("readelf") is None:
        rule.skip("readelf is not installed")
    sanitized = "--sanitized" in tree.arguments
    table = tree.root / "needed.txt"  # of a sample
    table = table if table.exists() else pathlib.Path(__file__).with_name("needed.txt")
    allowed = read_allowed(table.read_text())
    for argument in tree.arguments:
        path = tree.root / argument
        if argument == "--sanitized":
            continue
        if not path.exists():
            print(f"{path.name} is not built, so not looked at")
        else:
            yield from findings(path.name, needed_by(path), allowed, sanitized)


def program_of_this_machine():
    """Some dynamic program of this machine, and what it needs."""
    path = shutil.which("readelf")
    return path, [library for library in needed_by(path) if library not in EVERYBODY] if path else []


def samples():
    path, libraries = program_of_this_machine()
    if path is None or not libraries:
        return [("no program to look at", {}, ["missing"])]
    keys = [f"readelf {library}" for library in libraries]
    return [
        ("nothing allowed", {"needed.txt": "readelf:\n"}, keys, [path]),
        ("all allowed", {"needed.txt": f"readelf: {' '.join(libraries)}\n"}, [], [path]),
        ("not in the table", {"needed.txt": "# readelf: libc.so.6\n"}, ["readelf unknown"], [path]),
        ("sanitizers cover no other", {"needed.txt": "readelf:\n"}, keys, ["--sanitized", path]),
    ]


if __name__ == "__main__":
    if shutil.which("readelf") is None:
        rule.skip("readelf is not installed")
    rule.main(__file__, check, samples())
