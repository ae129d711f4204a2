"""Traffic by rules: a 90/10 split, a header route, a failed request that is sent again, a bad endpoint that gets none."""
import collections

from world import EXAMPLES

SPLIT, RETRIED, EJECTED = 300, 30, 40


class Traffic:
    def __init__(self, world):
        self.world, self.report = world, world.report

    def play(self):
        world = self.world
        for name in ("canary", "broken"):
            pod, _ = world.create(name)
            self.report.claim(world.run(pod), f"the pod {name} joins", world.why(pod))
            world.wait_serving(pod)
        world.cluster.apply("traffic.yaml", (EXAMPLES / "mesh/traffic.yaml").read_text())
        world.wait_in_force("traffic.yaml", lambda: world.ask("server", headers={"x-canary": "yes"}).text.count("version v2"))
        self.split()
        self.header()
        self.retried()
        self.ejected()

    def split(self):
        answers = self.world.ask("server", count=SPLIT)
        versions = collections.Counter(answers.lines("version "))
        share = versions["v2"] * 100 / SPLIT
        self.report.claim(sum(versions.values()) == SPLIT and 4 <= share <= 18,
                          f"a 90/10 split: {versions['v1']} requests went to version 1, {versions['v2']} to version 2",
                          f"{versions} {answers.text[-300:]}")

    def header(self):
        answers = self.world.ask("server", headers={"x-canary": "yes"}, count=20)
        self.report.claim(answers.lines("version ") == ["v2"] * 20, "a request with x-canary: yes goes to version 2", answers.text[-300:])

    def retried(self):
        before = self.world.sum(self.world.client, "fairlead_upstream_retries_total")
        statuses = self.world.ask("retried", count=RETRIED).statuses
        retries = self.world.sum(self.world.client, "fairlead_upstream_retries_total") - before
        self.report.claim(statuses == [200] * RETRIED and retries >= RETRIED // 4,
                          f"one of two pods fails, and every request is answered 200: {retries:.0f} of {RETRIED} were sent again",
                          f"{collections.Counter(statuses)}, {retries} retries")

    def ejected(self):
        statuses = self.world.ask("ejecting", count=EJECTED).statuses
        bad = [at for at, status in enumerate(statuses) if status != 200]
        self.report.claim(len(statuses) == EJECTED and len(bad) == 3 and max(bad) < EJECTED // 2,
                          "without retries the third failure in a row ejects the bad pod: the rest is answered 200",
                          f"failed: {bad}")
