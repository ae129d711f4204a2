"""A program of the product as a process in the node's network: the API server reaches it at place.NODE_IP.

    webhook = Program(folder, "webhook-1", "fairlead-webhook", "--listen", …)
    port = webhook.wait("ready")["port"]           its log lines are JSON objects; waiting for one is waiting for an event
    webhook.said("injected", pod="web")            all lines so far that fit
    webhook.stop()

It ends with the lane, whatever happens to that.
"""
import json
import pathlib
import queue
import signal
import subprocess
import threading
import time

from . import place

PATIENCE = 30


class Program:
    def __init__(self, folder, name, program, *options, environment=None):
        self.name = name
        self.path = pathlib.Path(folder) / f"{name}.log"
        self.entries, self.lines = [], queue.Queue()
        self.process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", "--", place.PROGRAMS / program, *map(str, options)],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=environment)
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    @property
    def pid(self):
        return self.process.pid

    def _read(self):
        with self.path.open("wb", buffering=0) as log:
            for line in self.process.stdout:
                log.write(line)
                try:
                    entry = json.loads(line)
                except ValueError:
                    entry = {"message": line.decode(errors="replace").rstrip()}
                self.entries.append(entry)
                self.lines.put(entry)
        self.lines.put(None)

    def wait(self, message, patience=PATIENCE, **fields):
        """The next log line with this message and these fields, of those that nobody has waited for yet."""
        end = time.monotonic() + patience
        while True:
            try:
                entry = self.lines.get(timeout=max(0.01, end - time.monotonic()))
            except queue.Empty:
                raise AssertionError(f"{self.name} never said {message!r} {fields}:\n{self.tail()}") from None
            if entry is None:
                self.lines.put(None)
                raise AssertionError(f"{self.name} ended before it said {message!r} {fields}:\n{self.tail()}")
            if fits(entry, message, fields):
                return entry

    def said(self, message, **fields):
        return [entry for entry in list(self.entries) if fits(entry, message, fields)]

    def tail(self, lines=20):
        return "\n".join(self.path.read_text(errors="replace").splitlines()[-lines:]) if self.path.exists() else ""

    def send(self, number):
        self.process.send_signal(number)

    def stop(self, number=signal.SIGTERM, patience=PATIENCE):
        """Its exit code. A program that does not end when asked is killed, and that is an error."""
        late = False
        if self.process.poll() is None:
            self.process.send_signal(number)
            try:
                self.process.wait(patience)
            except subprocess.TimeoutExpired:
                late = True
                self.process.kill()
        code = self.process.wait()
        self.reader.join()
        self.process.stdout.close()
        assert not late, f"{self.name} did not end within {patience} s of {signal.Signals(number).name}"
        return code


def fits(entry, message, fields):
    return entry.get("message") == message and all(entry.get(key) == value for key, value in fields.items())
