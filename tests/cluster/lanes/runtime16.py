#!/usr/bin/env python3
"""Debian 12's containerd 1.6, runc 1.1 and CNI plugins 1.1 under the same kubelet; CNI 1.0: what every runtime shows
(support/runtime), and all of lane `mesh`: injected pods that really run."""
from mesh import RealPods  # noqa: F401 (its tests are run here)
from support import chain, runtime
from support.lane import main

NEEDS = "debian"
MINUTES = 15


class Debian(runtime.RuntimeLane):
    # Its name stands before RealPods: once the mesh is installed, its policies refuse pods that bring a capture annotation.
    def test_version(self):
        """1.0.0 is all that this containerd knows: no STATUS, no GC, and DEL as the specification has it."""
        self.assertEqual(chain.usual()["cniVersion"], "1.0.0")
        self.assertEqual(chain.calls(command="STATUS"), [])
        self.assertEqual(chain.calls(command="GC"), [])


if __name__ == "__main__":
    main()
