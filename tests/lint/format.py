#!/usr/bin/env python3
"""C code stands as .clang-format has it, so that no diff and no review is about white space.

clang-format 14 decides (Debian 12's): another version breaks lines elsewhere, so with another one the rule is skipped.
"""

import pathlib
import re
import shutil
import subprocess

import rule

VERSION = 14


def find_program():
    for name in (f"clang-format-{VERSION}", "clang-format"):
        path = shutil.which(name)
        if path is None:
            continue
        text = subprocess.run([path, "--version"], stdout=subprocess.PIPE, check=True).stdout.decode()
        if re.search(rf"version {VERSION}\.", text):
            return path
    return None


def check(tree):
    program = find_program()
    names = list(tree.sources())
    if program is None or not names:
        return
    style = tree.root / ".clang-format"
    style = style if style.exists() else rule.ROOT / ".clang-format"
    command = [program, "--dry-run", "-Werror", "--ferror-limit=1", f"--style=file:{style}", *names]
    output = subprocess.run(command, cwd=tree.root, stderr=subprocess.PIPE, check=False).stderr.decode(errors="replace")
    seen = set()
    for match in re.finditer(r"^([^:\n]+):(\d+):\d+: error: ", output, re.MULTILINE):
        name = str(pathlib.PurePath(match[1]))
        if name not in seen:
            seen.add(name)
            yield rule.Finding(name, f"{name}:{match[2]}", "not formatted: clang-format -i")


SAMPLES = [
    ("formatted", {"a/x.c": "int x(void)\n{\n    return 0;\n}\n"}, []),
    ("not formatted", {"a/x.c": "int x(void) {\n  return 0;\n}\n", "a/y.h": "int  y;\n"}, ["a/x.c", "a/y.h"]),
]

if __name__ == "__main__":
    if find_program() is None:
        rule.skip(f"clang-format {VERSION} is not installed")
    rule.main(__file__, check, SAMPLES)
