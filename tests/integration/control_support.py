"""fairlead-control on a folder of YAML, for tests: started with free ports, ended by its id."""
import json
import pathlib
import signal
import subprocess
import tempfile
import threading
import urllib.error
import urllib.request

WAIT_S = 30


class Control:
    """with Control(program, {"web.yaml": "…"}) as control: control.write("web.yaml", text); control.plaintext"""

    def __init__(self, program, files, *options, prefix=()):
        self.folder = tempfile.TemporaryDirectory()
        self.path = pathlib.Path(self.folder.name)
        for name, text in files.items():
            (self.path / name).write_text(text)
        self.lines, self.started = [], threading.Event()
        self.process = subprocess.Popen(
            [*prefix, program, "--source", f"directory:{self.path}", "--listen", "none",
             "--listen-plaintext", "127.0.0.1:0", "--http", "127.0.0.1:0", *options],
            stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        self.reader = threading.Thread(target=self.read)
        self.reader.start()

    def read(self):
        for line in self.process.stderr:
            entry = json.loads(line) if line.startswith("{") else {"message": line}
            self.lines.append(entry)
            if entry["message"] == "ready":
                self.ready = entry
                self.started.set()
        self.started.set()

    def __enter__(self):
        if not self.started.wait(WAIT_S) or not hasattr(self, "ready"):
            self.__exit__()
            raise AssertionError(f"fairlead-control did not start: {self.lines}")
        self.plaintext = f"127.0.0.1:{self.ready['plaintext_port']}"
        self.http = f"http://127.0.0.1:{self.ready['http_port']}"
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(WAIT_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.reader.join()
        self.process.stderr.close()
        self.folder.cleanup()

    def write(self, name, text):
        """Renamed into place, as an editor does."""
        (self.path / f".{name}").write_text(text)
        (self.path / f".{name}").rename(self.path / name)

    def get(self, path):
        try:
            with urllib.request.urlopen(self.http + path, timeout=WAIT_S) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    def json(self, path):
        return json.loads(self.get(path)[1])
