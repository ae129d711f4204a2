#!/usr/bin/env python3
"""gRPC's interoperability cases, client and server of grpc-go, and Node's client (grpc.js): directly (so that client and server are known to agree), and
through two sidecars, on a port that is told to be gRPC and on one that must be detected. Left out: what needs a cloud's credentials,
and what this server has no answer to even directly (pick_first_unary, orca_per_rpc, orca_oob).

    interop.py PROXY CONTROL TOOLS
"""
import concurrent.futures
import pathlib
import sys
import time

import node
import two

CASES = ["empty_unary", "large_unary", "client_streaming", "server_streaming", "ping_pong", "empty_stream",
         "timeout_on_sleeping_server", "cancel_after_begin", "cancel_after_first_response", "status_code_and_message",
         "special_status_message", "custom_metadata", "unimplemented_method", "unimplemented_service", "rpc_soak", "channel_soak"]
SOAK = ["-soak_iterations=100", "-soak_per_iteration_max_acceptable_latency_ms=5000", "-soak_overall_timeout_seconds=60"]
TOGETHER = 4
GRPC_JS = "1.14.0"


def case(client, role, host, port, name):
    soak = SOAK if name.endswith("soak") else []
    status, text = two.run(role, [client, "-use_tls=false", f"-server_host={host}", f"-server_port={port}", f"-test_case={name}",
                                  *soak])
    return None if status == 0 else " ".join(text.split())[-300:]


def judge(client, title, role, host, port):
    begin = time.monotonic()
    with concurrent.futures.ThreadPoolExecutor(TOGETHER) as pool:
        results = dict(zip(CASES, pool.map(lambda name: case(client, role, host, port, name), CASES)))
    failures = [f"{title}: {name}: {text}" for name, text in results.items() if text is not None]
    two.alive()
    print(*failures, f"gRPC, {title}: {len(CASES) - len(failures)} of {len(CASES)} cases, {time.monotonic() - begin:.1f} s", sep="\n",
          flush=True)
    return len(failures)


def judge_node(title, role, host, port):
    """The same by @grpc/grpc-js, where Node is here."""
    modules = pathlib.Path(sys.argv[3]) / "grpc-js"
    if not node.install(modules, "@grpc/grpc-js", GRPC_JS):
        print("Node's client is skipped: Node with its package @grpc/grpc-js is not here", flush=True)
        return 0
    status, text = two.run(role, ["node", pathlib.Path(__file__).with_name("grpc.js"), f"{host}:{port}"], env=node.environment(modules))
    lines = [line for line in text.strip().splitlines()]
    failures = [line for line in lines if not line.endswith(": ok")]
    two.alive()
    print(*failures, f"gRPC, Node, {title}: {len(lines) - len(failures)} of {len(lines)} cases", sep="\n", flush=True)
    return max(len(failures), int(status != 0))


def main():
    client, server = (f"{sys.argv[3]}/grpc-interop-{name}" for name in ("client", "server"))
    two.up()
    for port in (two.PORTS["grpc"], two.PORTS["unknown"]):
        two.start("b", [server, f"-port={port}"], port=port)
    failed = judge(client, "directly", "b", "127.0.0.1", two.PORTS["grpc"])
    failed += judge(client, "through two sidecars", "a", two.SERVICE, two.PORTS["grpc"])
    failed += judge(client, "through two sidecars, detected", "a", two.SERVICE, two.PORTS["unknown"])
    failed += judge_node("directly", "b", "127.0.0.1", two.PORTS["grpc"])
    failed += judge_node("through two sidecars", "a", two.SERVICE, two.PORTS["grpc"])
    failed += judge_node("through two sidecars, detected", "a", two.SERVICE, two.PORTS["unknown"])
    two.check_carried("grpc")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
