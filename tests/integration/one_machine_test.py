#!/usr/bin/env python3
"""docs/one-machine.md does what it says: its commands are run as they stand there, in a network namespace of their own, so
that the ports are free.

usage: one_machine_test.py PROGRAMS
"""
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import unittest

TREE = pathlib.Path(__file__).resolve().parents[2]
PROGRAMS = None


class OneMachine(unittest.TestCase):
    def test_the_commands_of_the_document(self):
        blocks = re.findall(r"```sh\n(.*?)```", (TREE / "docs/one-machine.md").read_text(), re.S)
        self.assertEqual(len(blocks), 1)
        here = pathlib.Path(tempfile.mkdtemp(prefix="fairlead-one-machine-"))
        self.addCleanup(shutil.rmtree, here, ignore_errors=True)
        script = "set -euo pipefail\ntrap 'kill $(jobs -p)' EXIT\n" + blocks[0]
        process = subprocess.Popen(["unshare", "--net", "bash", "-c", "ip link set lo up\n" + script], cwd=TREE, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                   stderr=subprocess.STDOUT, text=True, start_new_session=True,
                                   env={**os.environ, "BIN": PROGRAMS, "HERE": str(here)})
        try:
            output = process.communicate(timeout=60)[0]
        finally:
            try:
                os.killpg(process.pid, signal.SIGKILL)   # the session that this test made
            except ProcessLookupError:
                pass
        logs = "\n".join(f"{log.name}: {log.read_text()[-2000:]}" for log in here.glob("*.log"))
        self.assertEqual(process.returncode, 0, f"{output}\n{logs}")
        self.assertIn("# An ingress on one machine", output)
        self.assertRegex(output, r"edge\.shop +gateway +yes ")
        self.assertRegex(output, r"outbound\|80\|\|web\.shop\.svc\.cluster\.local")
        self.assertIn("type: ResolvedRefs", output)
        self.assertEqual((here / "state").stat().st_mode & 0o777, 0o700)


if __name__ == "__main__":
    if os.geteuid() != 0 or shutil.which("unshare") is None:
        print("skipped: needs root for a network namespace")
        sys.exit(77)
    PROGRAMS = sys.argv[1]
    unittest.main(argv=sys.argv[:1])
