#!/usr/bin/env python3
"""fairlead-control against tenants who mean harm: each may make anything in a namespace of its own, and nothing elsewhere. What the
others have stays as it was: they are seen, told and served."""
import concurrent.futures

from source import PATIENCE, Control
from support.lane import Lane, a_pod, main
from waiting import eventually

NEEDS = "api"
MINUTES = 15

MARKUP = "<" * 1_000_000  # a byte each in etcd, and six in JSON: "\u003c"


def fat_pod(name, space):
    pod = a_pod(name, space)
    pod["spec"]["containers"][0]["env"] = [{"name": "TEXT", "value": MARKUP}]
    return pod


class Hostile(Lane):
    def known(self, control, kind, count, what):
        eventually(lambda: control.metric("objects", kind) == count, what, PATIENCE)

    # -- objects that are larger on the way than where they are kept ----------------------------------------------------

    def test_pods_of_six_megabytes(self):
        """A watch's event of 6 MB, and pages of the list of 120: everybody's pods are seen all the same."""
        attacker, other = self.namespace("attacker"), self.namespace("other")
        before = Control(self)
        count = before.metric("objects", "Pod")
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda i: self.api.create(fat_pod(f"fat-{i}", attacker)), range(20)))
        self.api.create(a_pod("good", other))
        self.known(before, "Pod", count + 21, "the one that was there sees them, and what comes behind them")
        self.assertEqual(before.metric("failures_total", "Pod"), 0)
        after = Control(self)
        self.known(after, "Pod", count + 21, "one that starts now lists them")
        self.assertLess(after.memory()[1], 600 << 10)

    def test_pods_of_very_many_values(self):
        """Small in bytes, large as a tree: a page of them is taken in parts, so that memory stays what it is."""
        attacker, other = self.namespace("attacker"), self.namespace("other")
        pods = [a_pod(f"many-{i}", attacker) for i in range(12)]
        for pod in pods:
            pod["spec"]["containers"][0]["args"] = [""] * 200_000
            self.api.create(pod)
        self.api.create(a_pod("good", other))
        control = Control(self)
        # another test's pods may be going meanwhile
        eventually(lambda: control.metric("objects", "Pod") == len(self.api.list("v1", "Pod")), "all are listed", PATIENCE)
        self.assertGreaterEqual(control.metric("objects", "Pod"), 13)
        self.assertLess(control.memory()[1], 400 << 10)


if __name__ == "__main__":
    main()
