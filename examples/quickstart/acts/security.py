"""Who may, and who may not: a caller refused by its identity, tokens, good and forged."""
import json
import string
import time

from standin import token
from world import EXAMPLES

ISSUER = "https://issuer.example"


class Security:
    def __init__(self, world):
        self.world, self.report = world, world.report

    def play(self):
        world = self.world
        world.intruder, _ = world.create("intruder")
        self.report.claim(world.run(world.intruder), "the pod intruder joins", world.why(world.intruder))
        answer = world.ask("server", pod=world.intruder)
        self.report.claim(answer.statuses == [200], "before there is a policy the intruder is answered", answer.text[-300:])
        real, forger = (token.Issuer(world.state, kid) for kid in ("real", "forger"))
        forger.kid = real.kid
        text = string.Template((EXAMPLES / "mesh/security.yaml").read_text()).substitute(JWKS=real.jwks())
        began = time.monotonic()
        world.cluster.apply("security.yaml", text)
        world.wait_in_force("security.yaml", lambda: world.ask("server", pod=world.intruder).statuses == [403])
        self.report.detail(f"the policy was in force after {(time.monotonic() - began) * 1000:.0f} ms")
        self.identity()
        self.tokens(real, forger)
        self.bad_keys()

    def identity(self):
        refused = self.world.ask("server", pod=self.world.intruder)
        served = self.world.ask("server")
        self.report.claim(refused.statuses == [403] and "RBAC: access denied" in refused.text,
                          "a caller is denied by its identity (403)", refused.text[-300:])
        self.report.claim(served.statuses == [200], "another one is not", served.text[-300:])

    def bad_keys(self):
        """A key set that is none: its own tokens are not good, and every other policy, also a later one, is enforced."""
        target = {"selector": {"matchLabels": {"app": "server"}}}
        self.world.cluster.write("badkeys.yaml", [
            {"apiVersion": "fairlead.io/v1alpha1", "kind": "RequestAuthentication", "metadata": {"name": "bad", "namespace": "demo"},
             "spec": {**target, "jwtRules": [{"issuer": "https://bad.example", "jwks": '{"keys": [{"kty": "RSA", "n": "abc"}]}'}]}},
            {"apiVersion": "fairlead.io/v1alpha1", "kind": "AuthorizationPolicy", "metadata": {"name": "later", "namespace": "demo"},
             "spec": {**target, "action": "DENY", "rules": [{"to": [{"operation": {"paths": ["/blocked"]}}]}]}}])
        self.world.wait_in_force("badkeys.yaml", lambda: self.world.ask("server", path="/blocked").statuses == [403])
        self.report.claim(self.world.ask("server").statuses == [200] and
                          self.world.ask("server", pod=self.world.intruder).statuses == [403],
                          "a key set that is none spoils nothing else: policies, also a later one, are enforced")
        self.world.cluster.remove("badkeys.yaml")

    def tokens(self, real, forger):
        now = int(time.time())
        claims = {"iss": ISSUER, "aud": "server", "sub": "somebody", "iat": now, "exp": now + 300}
        cases = (
            ("no token is refused below /secret (403)", None, 403),
            ("a good token is accepted", real.token(claims), 200),
            ("a forged one is refused (401)", forger.token(claims), 401),
            ("so is an expired one", real.token({**claims, "exp": now - 300}), 401),
            ("and one for somebody else (403)", real.token({**claims, "aud": "another"}), 403),
        )
        for text, bearer, status in cases:
            headers = {"authorization": f"Bearer {bearer}"} if bearer else {}
            answer = self.world.ask("server", path="/secret/map", headers=headers)
            self.report.claim(answer.statuses == [status], text, json.dumps([answer.statuses, answer.text[-200:]]))
