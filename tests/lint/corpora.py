#!/usr/bin/env python3
"""Every fuzzer has a corpus that is replayed as a test, and every corpus has its fuzzer.

A corpus that no test replays is a heap of past crashes that may come back; a fuzzer without seeds starts from nothing, and
in the ordinary presets tests nothing at all.

Argument: the list that CMake writes of what fl_fuzzer() was called with: a line "<source>|<corpus>" each, by paths from
the root. So what counts is the build, not what a CMakeLists.txt seems to say.
"""

import re

import rule


def read_wired(tree):
    for argument in tree.arguments:
        for line in (tree.root / argument).read_text().splitlines():
            source, _, corpus = line.partition("|")
            if source:
                yield source.strip(), corpus.strip().rstrip("/")


def corpora_of(tree):
    """Folder of a corpus → its files. A file that lies in corpus/ itself belongs to none."""
    found = {}
    for name in tree.files:
        match = re.fullmatch(r"(tests/fuzz/[^/]+/corpus)/(?:([^/]+)/)?(.+)", name)
        if match:
            found.setdefault(f"{match[1]}/{match[2]}" if match[2] else match[1], []).append(name)
    return found


def check(tree):
    wired = list(read_wired(tree))
    corpora = corpora_of(tree)
    for folder in sorted(corpora):
        if folder not in [corpus for _, corpus in wired]:
            yield rule.Finding(folder, folder, "no fuzzer replays this corpus")
    for source, corpus in wired:
        if source.endswith("_fuzz.c") and not corpora.get(corpus):
            yield rule.Finding(source, source, f"its corpus {corpus} is empty or missing")
    for name in tree.files:
        if re.fullmatch(r"tests/fuzz/.*_fuzz\.c", name) and name not in [source for source, _ in wired]:
            yield rule.Finding(name, name, "no fl_fuzzer() builds it")


FUZZER = "tests/fuzz/proxy/h1_fuzz.c"
SEED = "tests/fuzz/proxy/corpus/h1/get"
WIRED = {"wired": f"{FUZZER}|tests/fuzz/proxy/corpus/h1\n"}
SAMPLES = [
    ("wired", {FUZZER: "", SEED: "GET", **WIRED}, [], ["wired"]),
    ("not built", {FUZZER: "", "wired": ""}, [FUZZER], ["wired"]),
    ("no corpus", {FUZZER: "", **WIRED}, [FUZZER], ["wired"]),
    ("corpus without a fuzzer", {SEED: "GET", "wired": ""}, ["tests/fuzz/proxy/corpus/h1"], ["wired"]),
    ("a seed beside the folders", {FUZZER: "", SEED: "", "tests/fuzz/proxy/corpus/get": "", **WIRED}, ["tests/fuzz/proxy/corpus"], ["wired"]),
]

if __name__ == "__main__":
    rule.main(__file__, check, SAMPLES)
