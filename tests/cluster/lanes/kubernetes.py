#!/usr/bin/env python3
"""The cluster itself, without anything of ours: what the other lanes rely on."""
from support.lane import Lane, main
from support.place import HERE, run

NEEDS = "node"


class Kubernetes(Lane):
    def test_facts(self):
        said = run(HERE / "check" / "run")
        facts = [line for line in said.splitlines() if line.startswith("ok ")]
        self.assertEqual(len(facts), 28, said)


if __name__ == "__main__":
    main()
