#!/usr/bin/env python3
"""Shell scripts pass shellcheck: an unquoted word or a forgotten failure in a script that runs as root is expensive.

A script is a file that ends in .sh or whose first line names sh or bash.
"""

import json
import re
import shutil
import subprocess

import rule

SHEBANG = re.compile(rb"#!\s*(/usr)?/bin/(env\s+)?(ba|da)?sh\b")


def is_script(tree, name):
    if name.endswith(".sh"):
        return True
    with open(tree.root / name, "rb") as file:
        return bool(SHEBANG.match(file.read(64)))


def check(tree):
    names = [name for name in tree.files if is_script(tree, name)]
    if not names:
        return
    command = ["shellcheck", "--external-sources", "--format=json1", *names]
    output = subprocess.run(command, cwd=tree.root, stdout=subprocess.PIPE, check=False).stdout
    for comment in json.loads(output)["comments"]:
        place = f"{comment['file']}:{comment['line']}"
        yield rule.Finding(f"{comment['file']} SC{comment['code']}", place, comment["message"])


SAMPLES = [
    ("quoted", {"run": '#!/bin/sh\nset -eu\necho "$1"\n'}, []),
    ("not quoted", {"run": "#!/usr/bin/env bash\nrm -r $1\n"}, ["run SC2086"]),
    ("by its ending", {"a/x.sh": "#!/bin/sh\ncd /tmp\n"}, ["a/x.sh SC2164"]),
    ("another language", {"run.py": "#!/usr/bin/env python3\nrm -r $1\n", "text": "rm -r $1\n"}, []),
]

if __name__ == "__main__":
    if shutil.which("shellcheck") is None:
        rule.skip("shellcheck is not installed")
    rule.main(__file__, check, SAMPLES)
