#!/usr/bin/env python3
"""Runs the suites of this folder against the programs of a build folder, one after another.

    run.py BUILD [SUITE…]

Programs of others that are Go modules are built into build/conformance first. What is missing is skipped with a word. Exits 0
where nothing failed.
"""
import os
import pathlib
import re
import shutil
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
TOP = HERE.parents[1]
sys.path.insert(0, str(HERE.parent / "integration"))
import xds_go  # noqa: E402

TOOLS = TOP / "build/conformance"
SKIPPED = 77
MODULES = {"h2spec": "github.com/summerwind/h2spec/cmd/h2spec", "grpc-interop-client": "google.golang.org/grpc/interop/client",
           "grpc-interop-server": "google.golang.org/grpc/interop/server", "peer": "./peer", "load": "./load"}
# suite: (needs tools, needs the control plane)
SUITES = {"http1": (False, False), "h2spec": (True, False), "interop": (True, True), "clients": (True, True), "websocket": (True, True)}
PATIENCE = 900  # seconds for a suite that hangs


def build_tools():
    """The reason why there are none, or None."""
    try:
        go = xds_go.find_go()
    except xds_go.Missing as missing:
        return str(missing)
    for name, package in MODULES.items():
        done = subprocess.run([go, "build", "-buildvcs=false", "-o", TOOLS / name, package], cwd=HERE / "go", capture_output=True, text=True,
                              check=False, env={**os.environ, "GOTOOLCHAIN": "local", "GOFLAGS": "-mod=readonly"})
        if re.search(r"dial tcp|no such host|i/o timeout|proxyconnect|module lookup disabled", done.stderr):
            return "the modules of tests/conformance/go cannot be fetched"
        if done.returncode != 0:
            raise SystemExit(done.stderr)
    return None


def run(name, words):
    """How it came out."""
    print(f"== {name}", flush=True)
    begin = time.monotonic()
    try:
        status = subprocess.run(words, timeout=PATIENCE, check=False).returncode
    except subprocess.TimeoutExpired:
        return f"FAILED, not done after {PATIENCE} s"
    how = "skipped" if status == SKIPPED else "passed" if status == 0 else f"FAILED (exit code {status})"
    return f"{how}, {time.monotonic() - begin:.0f} s"


def main():
    programs, names = pathlib.Path(sys.argv[1]) / "bin", sys.argv[2:] or list(SUITES)
    unknown = set(names) - set(SUITES)
    if unknown:
        raise SystemExit(f"no suite {', '.join(unknown)}; there are {', '.join(SUITES)}")
    why = build_tools() if any(SUITES[name][0] for name in names) else None
    results = {}
    for name in names:
        needs_tools, needs_control = SUITES[name]
        if needs_tools and why:
            results[name] = f"skipped: {why}"
            continue
        words = ["/usr/bin/python3", "-B", HERE / f"{name}.py", programs / "fairlead-proxy",
                 *([programs / "fairlead-control"] if needs_control else []), *([TOOLS] if needs_tools else [])]
        results[name] = run(name, words)
        if results[name].startswith("FAILED") and os.environ.get("CI") == "true":
            print(f"== {name}: CI's machine may be busy with others: once more, and that counts", flush=True)
            results[name] = run(name, words)
    for name, result in results.items():
        print(f"{name:10} {result}", flush=True)
    failed = [name for name, result in results.items() if result.startswith("FAILED")]
    return 1 if failed else 0


if __name__ == "__main__":
    shutil.rmtree(HERE / "__pycache__", ignore_errors=True)
    sys.exit(main())
