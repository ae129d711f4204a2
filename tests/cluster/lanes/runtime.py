#!/usr/bin/env python3
"""containerd 2.4 as it is built here, CNI 1.1: what every runtime shows (support/runtime), and what this one does more."""

from support import chain, runtime
from support.api import is_ready
from support.lane import main
from support.place import NODE_NAME
from waiting import eventually

NEEDS = "node"

LATE = 180  # seconds: the kubelet forgets sandboxes that have ended once a minute


class Runtime(runtime.RuntimeLane):
    def test_habits(self):
        """What 2.4 does although the specification says otherwise, or does not say: the plugin is used to it."""
        self.pod("habits", runtime.SPEC)
        self.api.delete("v1", "Pod", "habits", self.space)
        self.api.wait_gone("v1", "Pod", "habits", self.space)
        calls = eventually(lambda: self.late_delete("habits"), "DEL comes once more, with no netns and no previous result", LATE)
        self.assertTrue(all("capabilities" in call["input"] for call in calls))

    @staticmethod
    def late_delete(pod):
        calls = chain.calls(pod=pod)
        return calls if any(call["command"] == "DEL" and not call["netns"] and "prevResult" not in call["input"] for call in calls) else None

    def test_status(self):
        """STATUS comes every few seconds and never makes the node NotReady: not with a wrong setting, nor with capture required."""
        for settings in ({"statusRequiresCapture": True}, {"backend": "none"}, {"statusRequiresCapture": "yes"}):
            with self.subTest(settings):
                chain.use(chain.PLUGIN, **settings)
                seen = len(chain.calls(command="STATUS"))
                eventually(lambda before=seen: len(chain.calls(command="STATUS")) >= before + 2, "STATUS comes twice more")
                self.assertTrue(is_ready(self.api.get("v1", "Node", NODE_NAME, None)))
        chain.use(chain.PLUGIN)


if __name__ == "__main__":
    main()
