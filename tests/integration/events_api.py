"""An API server as far as creating Events goes, for tests: HTTPS, a bearer token, and everything that can go wrong on demand.

Events() makes a certificate authority and the folder that a service account is mounted as. `behave` is called with each
connection (behind TLS) and its number, and talks as it likes; the default answers every POST with 201.
"""
import json
import pathlib
import socket
import ssl
import subprocess
import tempfile
import threading

NAME = "kubernetes.default.svc"


def openssl(*arguments):
    subprocess.run(["openssl", *map(str, arguments)], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


class Authority:
    def __init__(self, folder, name):
        self.folder, self.root, self.key = folder, folder / f"{name}.crt", folder / f"{name}.key"
        openssl("req", "-x509", "-nodes", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-days", 2,
                "-subj", f"/CN={name}", "-keyout", self.key, "-out", self.root,
                "-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign")

    def issue(self, name, dns):
        base = self.folder / name
        openssl("req", "-nodes", "-newkey", "rsa:2048", "-subj", f"/CN={name}", "-keyout", f"{base}.key", "-out", f"{base}.csr")
        (self.folder / "ext").write_text(f"subjectAltName=DNS:{dns},DNS:kubernetes,IP:10.96.0.1\n")
        openssl("x509", "-req", "-in", f"{base}.csr", "-CA", self.root, "-CAkey", self.key, "-days", 2,
                "-extfile", self.folder / "ext", "-out", f"{base}.crt")
        return f"{base}.crt", f"{base}.key"


class Gone(Exception):
    """The client hung up."""


class Connection:
    """One connection, behind TLS."""

    def __init__(self, api, tls):
        self.api, self.tls = api, tls
        self.bytes = b""

    def more(self):
        try:
            data = self.tls.recv(65536)
        except OSError as error:
            raise Gone from error
        if not data:
            raise Gone
        self.bytes += data

    def request(self):
        """The next one: (path, headers, body)."""
        while b"\r\n\r\n" not in self.bytes:
            self.more()
        head, self.bytes = self.bytes.split(b"\r\n\r\n", 1)
        lines = head.decode().split("\r\n")
        headers = dict(line.split(": ", 1) for line in lines[1:])
        length = int(headers["Content-Length"])
        while len(self.bytes) < length:
            self.more()
        body, self.bytes = self.bytes[:length], self.bytes[length:]
        method, path, version = lines[0].split(" ")
        assert (method, version) == ("POST", "HTTP/1.1"), lines[0]
        assert headers["Content-Type"] == "application/json", headers
        with self.api.changed:
            self.api.requests.append((path, headers, json.loads(body)))
            self.api.changed.notify_all()
        return path, headers, json.loads(body)

    def raw(self, data):
        try:
            self.tls.sendall(data)
        except OSError as error:
            raise Gone from error

    def answer(self, status, body=b"{}", *lines):
        head = [f"HTTP/1.1 {status} As-The-Test-Wants", "Content-Type: application/json", f"Content-Length: {len(body)}", *lines]
        self.raw("\r\n".join(head).encode() + b"\r\n\r\n" + body)

    def refuse(self, status, message, *lines):
        self.answer(status, json.dumps({"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": message,
                                        "code": status}).encode(), *lines)


def create(connection, _number):
    """What an API server does."""
    while True:
        _, headers, body = connection.request()
        if headers["Authorization"] != f"Bearer {connection.api.token}":
            connection.refuse(401, "Unauthorized")
        else:
            connection.answer(201, json.dumps(body).encode())


class Events:
    def __init__(self):
        self.scratch = tempfile.TemporaryDirectory(prefix="fl-events-")
        self.folder = pathlib.Path(self.scratch.name)
        self.account = self.folder / "account"
        self.account.mkdir()
        self.authority = Authority(self.folder, "root")
        self.changed = threading.Condition()
        self.requests, self.connections, self.failures = [], 0, []
        self.behave = create
        self.token = ""
        self.set_token("first")
        (self.account / "ca.crt").write_bytes(self.authority.root.read_bytes())
        self.port = 0
        self.listener = None
        self.open = set()
        self.context = self.make_context(*self.authority.issue("api", NAME))
        self.start()

    @staticmethod
    def make_context(cert, key):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(cert, key)
        return context

    def set_token(self, token, accept=True):
        temporary = self.account / "token.new"
        temporary.write_text(token + "\n")
        temporary.rename(self.account / "token")
        if accept:
            self.token = token

    def environment(self):
        return {"KUBERNETES_SERVICE_HOST": "127.0.0.1", "KUBERNETES_SERVICE_PORT": str(self.port)}

    def start(self):
        self.listener = socket.create_server(("127.0.0.1", self.port), backlog=64)
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, args=(self.listener,), daemon=True).start()

    def stop(self):
        """Nobody listens, and what was open is cut."""
        try:
            self.listener.shutdown(socket.SHUT_RDWR)
        except OSError:
            return  # it was stopped
        self.listener.close()
        for sock in list(self.open):
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def close(self):
        self.stop()
        self.scratch.cleanup()

    def accept(self, listener):
        while True:
            try:
                sock, _ = listener.accept()
            except OSError:
                return
            with self.changed:
                self.connections += 1
                number = self.connections
                self.changed.notify_all()
            threading.Thread(target=self.talk, args=(sock, number), daemon=True).start()

    def talk(self, sock, number):
        sock.settimeout(60)
        try:
            tls = self.context.wrap_socket(sock, server_side=True)
        except OSError as error:
            with self.changed:
                self.failures.append(str(error))
                self.changed.notify_all()
            sock.close()
            return
        self.open.add(tls)
        try:
            self.behave(Connection(self, tls), number)
        except Gone:
            pass
        finally:
            self.open.discard(tls)
            tls.close()

    def wait_for(self, condition, what, timeout=20):
        with self.changed:
            if not self.changed.wait_for(condition, timeout):
                raise AssertionError(f"never: {what}; {len(self.requests)} requests, {self.connections} connections, "
                                     f"{self.failures}")

    def bodies(self):
        with self.changed:
            return [body for _, _, body in self.requests]
