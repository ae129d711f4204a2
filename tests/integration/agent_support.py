"""What the tests of fairlead-agent share: the process, with its log lines as they come, and its pages."""
import http.client
import json
import os
import re
import subprocess
import threading
import time

import waiting


class Agent:
    """The process. Waiting for a line is waiting for an event, not for time."""

    def __init__(self, program, folder, *options, environment=None, wrap=(), listen=True):
        self.port = waiting.free_port() if listen else None
        clean = {key: value for key, value in os.environ.items()
                 if not key.startswith("KUBERNETES_") and key != "NODE_NAME"}
        address = ("--listen", f"127.0.0.1:{self.port}") if listen else ("--listen", "none")
        self.history, self.changed, self.ended = [], threading.Condition(), False
        self.process = subprocess.Popen(
            [*wrap, program, "--conf-dir", folder / "conf", "--bin-dir", folder / "bin", *address, *options],
            env={**clean, **(environment or {})}, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE)
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.reader.start()

    def read(self):
        for line in self.process.stderr:
            with self.changed:
                self.history.append(json.loads(line))
                self.changed.notify_all()
        with self.changed:
            self.ended = True
            self.changed.notify_all()

    def wait(self, message, count=1, **fields):
        """The count-th line with that message and these fields."""
        def found():
            lines = [line for line in self.history if line["message"] == message and
                     all(line.get(key) == value for key, value in fields.items())]
            return lines[count - 1:count]

        with self.changed:
            self.changed.wait_for(lambda: found() or self.ended, waiting.PATIENCE)
            if not found():
                raise AssertionError(f"never: {message} {fields}; {self.history[-8:]}")
            return found()[0]

    def get(self, path):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=waiting.PATIENCE)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        finally:
            connection.close()

    def metrics(self):
        """Name with labels → value."""
        status, text = self.get("/metrics")
        assert status == 200, text
        return {match[1]: float(match[2]) for match in re.finditer(r"^([a-z_]+(?:\{[^}]*\})?) (\S+)$", text, re.MULTILINE)}

    def wait_metric(self, name, value):
        waiting.eventually(lambda: self.metrics()[name] >= value, f"{name} ≥ {value}")

    def wait_listening(self):
        def try_it():
            try:
                return self.get("/healthz")[0] == 200
            except OSError:
                assert self.process.poll() is None, self.history
                return False

        waiting.eventually(try_it, "it listens")

    def stop(self, signal=15):
        """Ends it; returns the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal)
        code = self.process.wait(waiting.PATIENCE)
        self.reader.join(waiting.PATIENCE)
        self.process.stderr.close()
        return code

    def kill(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.reader.join()
        self.process.stderr.close()

    def cpu_seconds(self):
        with open(f"/proc/{self.process.pid}/stat") as handle:
            fields = handle.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def private_bytes(self):
        with open(f"/proc/{self.process.pid}/smaps_rollup") as handle:
            return sum(int(line.split()[1]) * 1024 for line in handle if line.startswith("Private_"))

    def is_sanitized(self):
        """AddressSanitizer keeps what is freed: then memory tells nothing."""
        with open(f"/proc/{self.process.pid}/maps") as handle:
            return "libasan" in handle.read()

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))


def elapsed(function):
    start = time.monotonic()
    function()
    return time.monotonic() - start
