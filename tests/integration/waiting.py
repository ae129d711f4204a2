"""What tests of real processes wait for."""
import socket
import time

PATIENCE = 20  # seconds that anything may take


def eventually(check, what, patience=PATIENCE):
    """The first value of check that is true: for what another process brings about and has no signal of its own."""
    end = time.monotonic() + patience
    while not (value := check()):
        assert time.monotonic() < end, f"never: {what}"
        time.sleep(0.01)
    return value


def free_port():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]
