"""What every rule of the lint suite shares: the files of the tree, exceptions with reasons, the report, the self-test.

A rule is a program of its own: it defines check(tree), which yields findings, and SAMPLES, small trees with what the rule
must find in them, and hands both to main(). Run as `rule.py` it checks the project; as `rule.py --self-test` it checks
itself, so that a rule that has stopped to see anything cannot pass in silence.

Exceptions stand in <rule>.except beside the rule, one a line: the finding's key as the report prints it (shell wildcards
allowed), " -- ", the reason. One that matches nothing is a failure too: it would hide the next finding.
"""

import fnmatch
import pathlib
import subprocess
import sys
import tempfile

SKIPPED = 77  # ctest's SKIP_RETURN_CODE
ROOT = pathlib.Path(__file__).resolve().parents[2]


class Finding:
    """`key` is stable (no line numbers), so that an exception survives an edit; `place` is file:line for the reader."""

    def __init__(self, key, place, message):
        self.key, self.place, self.message = key, place, message

    def __str__(self):
        return f"{self.place}: {self.message}  [{self.key}]"


class Tree:
    """The files of a source tree, by path from its root. `arguments` are the rule's own (a build folder, a list)."""

    def __init__(self, root, arguments=()):
        self.root = pathlib.Path(root)
        self.arguments = list(arguments)
        self.files = sorted(self._tracked() or self._walked())

    def _tracked(self):
        """What git tracks or would track; none where this is no clone, or git refuses to look into it."""
        if not (self.root / ".git").exists():
            return []
        command = ["git", "-C", str(self.root), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False)
        names = done.stdout.decode().split("\0") if done.returncode == 0 else []
        return [name for name in names if name and (self.root / name).is_file()]

    def _walked(self):
        for path in self.root.rglob("*"):
            name = path.relative_to(self.root)
            if path.is_file() and name.parts[0] not in (".git", "build") and "__pycache__" not in name.parts:
                yield str(name)

    def text(self, name):
        return (self.root / name).read_text(encoding="utf-8", errors="replace")

    def sources(self, *folders):
        """.c and .h files, of these top folders where some are named."""
        for name in self.files:
            if name.endswith((".c", ".h")) and (not folders or name.split("/")[0] in folders):
                yield name


def read_exceptions(path):
    """Rows of (pattern, reason). A line without a reason is refused."""
    rows = []
    for number, line in enumerate(path.read_text().splitlines() if path.exists() else [], 1):
        if not line.strip() or line.startswith("#"):
            continue
        pattern, separator, reason = line.partition(" -- ")
        if not separator or not reason.strip():
            sys.exit(f"{path.name}:{number}: an exception needs its reason: <key> -- <reason>")
        rows.append((pattern.strip(), reason.strip()))
    return rows


def judge(findings, exceptions):
    """The findings that no exception covers, and the exceptions that cover none."""
    unused = {pattern for pattern, _ in exceptions}
    left = []
    for finding in findings:
        covered = [pattern for pattern, _ in exceptions if fnmatch.fnmatchcase(finding.key, pattern)]
        unused.difference_update(covered)
        if not covered:
            left.append(finding)
    return left, sorted(unused)


def write_sample(folder, files):
    for name, content in files.items():
        path = pathlib.Path(folder) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())


def self_test(check, samples):
    """Each sample is (name, files, keys expected[, arguments]); a sample with none expected must be clean."""
    failed = 0
    for name, files, expected, *arguments in samples:
        with tempfile.TemporaryDirectory() as folder:
            write_sample(folder, files)
            found = sorted(finding.key for finding in check(Tree(folder, *arguments)))
        if found != sorted(expected):
            failed += 1
            print(f"self-test '{name}': expected {sorted(expected)}, found {found}")
    if not any(expected for _, _, expected, *_ in samples):
        failed += 1
        print("self-test: no sample that the rule must catch")
    failed += exceptions_self_test()
    print(f"{len(samples)} samples, {failed} failed")
    return 1 if failed else 0


def exceptions_self_test():
    findings = [Finding("a.c strcpy", "a.c:1", ""), Finding("b.c strcpy", "b.c:1", "")]
    left, unused = judge(findings, [("a.* strcpy", "reason"), ("c.c *", "reason")])
    if [finding.key for finding in left] == ["b.c strcpy"] and unused == ["c.c *"]:
        return 0
    print("self-test: exceptions do not cover what they name, or an unused one goes unnoticed")
    return 1


def main(rule_file, check, samples):
    if sys.argv[1:2] == ["--self-test"]:
        sys.exit(self_test(check, samples))
    rule = pathlib.Path(rule_file)
    left, unused = judge(list(check(Tree(ROOT, sys.argv[1:]))), read_exceptions(rule.with_suffix(".except")))
    for finding in left:
        print(finding)
    for pattern in unused:
        print(f"{rule.stem}.except: covers nothing any more, take it out: {pattern}")
    if left or unused:
        sys.exit(f"{rule.stem}: {len(left)} findings, {len(unused)} unused exceptions (why the rule is: {rule.name})")


def skip(word):
    """The machine lacks what the rule needs."""
    print(f"SKIPPED: {word}")
    sys.exit(SKIPPED)
