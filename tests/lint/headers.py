#!/usr/bin/env python3
"""Every header compiles alone, and twice.

The header is the contract (STYLE, "One header per module, one page, readable alone"). One that needs another to be
included before it breaks the next file that includes it first, and tells its reader half.

Arguments: -I folders for generated headers. One compiler run over a small file a header.
"""

import os
import pathlib
import re
import subprocess
import tempfile

import rule

FLAGS = ["-fsyntax-only", "-std=gnu17", "-D_GNU_SOURCE", '-DFL_VERSION="0"', "-Wall", "-Wextra", "-Werror"]


def stub_of(name):
    return name.replace("/", "@") + ".c"


def check(tree):
    headers = [name for name in tree.sources() if name.endswith(".h")]
    if not headers:
        return
    with tempfile.TemporaryDirectory() as folder:
        stubs = []
        for name in headers:
            stub = pathlib.Path(folder) / stub_of(name)
            stub.write_text(f'#include "{name}"\n#include "{name}"\n')
            stubs.append(str(stub))
        compiler = os.environ.get("CC", "gcc")
        command = [compiler, *FLAGS, "-I", str(tree.root), *tree.arguments, *stubs]
        output = subprocess.run(command, stderr=subprocess.PIPE, check=False).stderr.decode(errors="replace")
    yield from findings(tree, headers, output)


def findings(tree, headers, output):
    """An error names the stub in which it came up, either at its place or as "included from"."""
    seen = set()
    current = None
    for line in output.splitlines():
        for name in headers:
            if stub_of(name) in line:
                current = name
        match = re.match(r"(?P<path>[^:]+):(?P<line>\d+):\d+: (?:fatal )?error: (?P<message>.*)", line)
        if match and current and current not in seen:
            seen.add(current)
            place = match["path"].removeprefix(str(tree.root) + "/")
            yield rule.Finding(current, f"{place}:{match['line']}", f"{current} does not compile alone: {match['message']}")


SAMPLES = [
    ("stands alone", {"a/x.h": "#ifndef X\n#define X\n#include <stddef.h>\nsize_t x(void);\n#endif\n"}, []),
    ("needs another", {"a/x.h": "#ifndef X\n#define X\nsize_t x(void);\n#endif\n"}, ["a/x.h"]),
    ("no guard", {"a/x.h": "struct x {\n    int y;\n};\n"}, ["a/x.h"]),
    (
        "the fault lies deeper",
        {"a/x.h": '#ifndef X\n#define X\n#include "a/y.h"\n#endif\n', "a/y.h": "#ifndef Y\n#define Y\nuint8_t y;\n#endif\n"},
        ["a/x.h", "a/y.h"],
    ),
    ("no such include", {"a/x.h": '#include "a/none.h"\n'}, ["a/x.h"]),
]

if __name__ == "__main__":
    rule.main(__file__, check, SAMPLES)
