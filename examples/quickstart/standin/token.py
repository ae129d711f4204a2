"""Tokens as an identity provider makes them: JWTs signed with RS256, and the key set (JWKS) that tells who it is."""
import base64
import json
import re

from . import netns


def base64url(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


class Issuer:
    """A key of its own; `kid` names it."""

    def __init__(self, folder, kid):
        self.kid, self.key = kid, folder / f"{kid}.pem"
        netns.run("openssl", "genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-out", self.key)

    def jwks(self):
        """The public half as JSON text."""
        shown = netns.run("openssl", "rsa", "-in", self.key, "-noout", "-modulus").stdout
        modulus = bytes.fromhex(re.search(r"Modulus=([0-9A-F]+)", shown)[1])
        return json.dumps({"keys": [{"kty": "RSA", "use": "sig", "alg": "RS256", "kid": self.kid,
                                     "n": base64url(modulus), "e": "AQAB"}]})

    def token(self, claims):
        head = {"alg": "RS256", "typ": "JWT", "kid": self.kid}
        signed = ".".join(base64url(json.dumps(part).encode()) for part in (head, claims))
        work = self.key.with_suffix(".txt")
        work.write_text(signed)
        netns.run("openssl", "dgst", "-sha256", "-sign", self.key, "-out", work.with_suffix(".sig"), work)
        return f"{signed}.{base64url(work.with_suffix('.sig').read_bytes())}"
