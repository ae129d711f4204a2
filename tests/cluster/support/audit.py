"""The API server's audit log: what was asked, what admission did, and the annotations that webhooks put there.

What is recorded stands in config/audit.yaml. Events are written after the answer, so that they are waited for.
"""
import json

from waiting import eventually

from . import place

PATIENCE = 30


class Audit:
    """Events from now on."""

    def __init__(self):
        self.path = place.LOG / "audit.log"
        self.begin = self.path.stat().st_size if self.path.exists() else 0

    def events(self, verb=None, resource=None, name=None, namespace=None, user=None):
        with self.path.open("rb") as log:
            log.seek(self.begin)
            lines = log.read().splitlines(keepends=True)
        wanted = {"resource": resource, "name": name, "namespace": namespace}
        return [event for event in (json.loads(line) for line in lines if line.endswith(b"\n"))
                if (verb is None or event["verb"] == verb) and (user is None or event["user"]["username"] == user)
                and all(value is None or value_of(event, key) == value for key, value in wanted.items())]

    def wait(self, check=lambda event: True, patience=PATIENCE, **which):
        """The first event that fits and of which check is true."""
        return eventually(lambda: next((event for event in self.events(**which) if check(event)), None),
                          f"an audit event with {which}", patience)


def value_of(event, key):
    """A created object's name may stand in the request or in the answer alone."""
    value = event.get("objectRef", {}).get(key)
    if value is None and key == "name":
        value = (event.get("requestObject") or {}).get("metadata", {}).get("name")
    return value


def noted_by(event, webhook):
    """The annotations that webhooks whose name in the configuration ends so have put: {key: value}."""
    noted = (key.partition("/") + (value,) for key, value in (event.get("annotations") or {}).items())
    return {key: value for name, _, key, value in noted if name.endswith(webhook)}
