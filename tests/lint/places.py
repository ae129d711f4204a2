#!/usr/bin/env python3
"""The tree names no place of one machine, and no host that a build or a test would have to reach.

A path of somebody's disk breaks on the next one, and tells about the first. A host name in a URL or an image reference is
a dependency that nobody declared: the build, the tests and the quickstart run on what Debian has and on nothing else.
Allowed are names that are reserved (RFC 2606, RFC 6761), have no dot or a last part of one letter, addresses, and the hosts in places.except (what
is read by people, or fixed by a format). Nor does it hold what such a machine built: outside of corpora everything is text.
"""

import os
import re
import subprocess

import rule

HOME = re.compile(r"(?<![\w.$}])/(?:home|Users)/[a-z]\w*|(?<![\w.$}/])/root/\w+")
URL = re.compile(r"\b(?:https?|git|ssh|ftp)://(?:[^/\s@\"'<>`]*@)?([A-Za-z0-9.-]+)", re.IGNORECASE)
IMAGE = re.compile(r"^\s*(?:-\s*)?[\"']?image[\"']?\s*[:=]\s*[\"']?([A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+)(?::\d+)?/", re.MULTILINE)
RESERVED = re.compile(r"(?:^|\.)(?:example(?:\.(?:com|net|org))?|test|invalid|local|localhost|svc|internal|[a-z])$")
ADDRESS = re.compile(r"[\d.]+")


def own_folders(tree):
    """Where this very copy lies: the folder, the clone that it is a work tree of, the user's home."""
    folders = {str(tree.root), os.path.realpath(tree.root)}
    command = ["git", "-C", str(tree.root), "rev-parse", "--path-format=absolute", "--git-common-dir"]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False)
    if done.returncode == 0:
        folders.add(os.path.dirname(done.stdout.decode().strip()))
    return {folder for folder in folders if folder.count("/") > 1}


def is_text(tree, name):
    with open(tree.root / name, "rb") as file:
        return b"\0" not in file.read(4096)


def hosts_in(text):
    for pattern in (URL, IMAGE):
        for match in pattern.finditer(text):
            host = match[1].lower().rstrip(".")
            if "." in host and not RESERVED.search(host) and not ADDRESS.fullmatch(host):
                yield match.start(), host


def check(tree):
    folders = own_folders(tree)
    own = re.compile("|".join(re.escape(folder) + r"(?![\w-])" for folder in sorted(folders)) or r"(?!)")
    for name in tree.files:
        if "/corpus/" in name:
            continue
        if not is_text(tree, name):
            yield rule.Finding(f"{name} bytes", name, "no text: a program, or what else is built, not written")
            continue
        text = tree.text(name)
        for pattern in (HOME, own):
            for match in pattern.finditer(text):
                line = text.count("\n", 0, match.start()) + 1
                yield rule.Finding(f"{name} {match[0]}", f"{name}:{line}", f"a path of one machine: {match[0]}")
        for offset, host in hosts_in(text):
            line = text.count("\n", 0, offset) + 1
            yield rule.Finding(f"{name} {host}", f"{name}:{line}", f"a host: {host}")


def sample(name, text, *found):
    return name, {"a.txt": text}, [f"a.txt {place}" for place in found]


SAMPLES = [
    sample("a home", "cd /home/jane/src\n", "/home/jane"),
    sample("another home", 'path = "/Users/jane"\n', "/Users/jane"),
    sample("root's home", "source /root/env\n", "/root/env"),
    sample("parts of other paths", "/var/lib/x/home/jane $HOME/root/x a/root/x /rootfs/x\n"),
    sample("a folder that places.except has", "/home/kubernetes/src\n", "/home/kubernetes"),
    sample("a URL", "see https://www.mesh.nowhere/x\n", "www.mesh.nowhere"),
    sample("a URL with a user", "git://jane@mesh.nowhere:99/x\n", "mesh.nowhere"),
    sample("an image", "  image: images.mesh.nowhere:5000/nginx:1\n", "images.mesh.nowhere"),
    sample("an image in JSON", '"image": "mesh.nowhere/nginx"\n', "mesh.nowhere"),
    sample("an image without a host", "image: nginx:1.22\nimage: library/nginx\n"),
    sample("labels are not hosts", "fairlead.io/inject: enabled\napiVersion: admission.k8s.io/v1\n"),
    sample("reserved names", "http://api.example.com/ https://webhook.fairlead.svc:443/ http://x.test http://[::1]:1/\n"),
    sample("a program", "\x7fELF\0", "bytes"),
    sample("names and addresses", "http://localhost:15000/ http://server/ http://10.0.0.1:80/\n"),
]


def with_own_folder():
    """The sample's own folder, which nobody knows before it is made: written by a script in the sample's place."""

    def check_in_place(tree):
        (tree.root / "b.txt").write_text(f"cd {tree.root}/build\n")
        return [rule.Finding("b.txt", "", "") for finding in check(rule.Tree(tree.root)) if str(tree.root) in finding.key]

    return rule.self_test(check_in_place, [("this copy's folder", {"a.txt": ""}, ["b.txt"])])


if __name__ == "__main__":
    import sys

    if sys.argv[1:2] == ["--self-test"] and with_own_folder() != 0:
        sys.exit(1)
    rule.main(__file__, check, SAMPLES)
