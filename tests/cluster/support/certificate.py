"""Certificates of a test's own, by openssl."""
import base64
import pathlib
import subprocess

from . import place


def openssl(*arguments):
    subprocess.run(["openssl", *map(str, arguments)], check=True, stdin=subprocess.DEVNULL, capture_output=True)


class Authority:
    """A root in a folder, and certificates of it."""

    def __init__(self, folder, name="root"):
        self.folder, self.name = pathlib.Path(folder), name
        self.certificate, self.key = self.folder / f"{name}.crt", self.folder / f"{name}.key"
        openssl("req", "-x509", "-nodes", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-days", "2",
                "-subj", f"/CN={name}", "-keyout", self.key, "-out", self.certificate,
                "-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign")

    def issue(self, name, *alternatives, usage="serverAuth"):
        """(certificate, key), for the node's address or for what is given: "DNS:a.b", "IP:10.0.0.1"."""
        base = self.folder / name
        alternatives = alternatives or (f"IP:{place.NODE_IP}",)
        extensions = self.folder / f"{name}.ext"
        extensions.write_text(f"subjectAltName={','.join(alternatives)}\nextendedKeyUsage={usage}\n")
        openssl("req", "-nodes", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-subj", f"/CN={name}",
                "-keyout", f"{base}.key", "-out", f"{base}.csr")
        openssl("x509", "-req", "-in", f"{base}.csr", "-CA", self.certificate, "-CAkey", self.key, "-CAcreateserial",
                "-days", "2", "-extfile", extensions, "-out", f"{base}.crt")
        return pathlib.Path(f"{base}.crt"), pathlib.Path(f"{base}.key")

    @property
    def bundle(self):
        """As caBundle members have it."""
        return base64.b64encode(self.certificate.read_bytes()).decode()
