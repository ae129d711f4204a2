#!/usr/bin/env python3
"""The release programs as images: they start in a pod, without root, with nothing in the image but what they need."""
import re

from support import image
from support.lane import Lane, main
from support.place import kubectl

NEEDS = "node"

PROGRAMS = ("fairlead-webhook", "fairlead-proxy", "fairlead-control")


def restricted_pod(name, namespace, reference, *arguments):
    """A pod that ends, in the form that Pod Security restricted wants; the image's user is the pod's."""
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": namespace}, "spec": {
        "restartPolicy": "Never", "automountServiceAccountToken": False,
        "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [{"name": "program", "image": reference, "args": list(arguments), "securityContext": {
            "allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}}}]}}


def has_ended(pod):
    return pod and pod["status"].get("phase") in ("Succeeded", "Failed")


class Images(Lane):
    def test_programs_start(self):
        space = self.namespace("images", labels={"pod-security.kubernetes.io/enforce": "restricted"})
        for program in PROGRAMS:
            with self.subTest(program):
                self.api.create(restricted_pod(program, space, image.load(program), "--version"))
                pod = self.api.wait("v1", "Pod", program, space, has_ended)
                said = kubectl("-n", space, "logs", program)
                self.assertEqual(pod["status"]["phase"], "Succeeded", said)
                self.assertTrue(re.search(r"\b\d+\.\d+\.\d+\b", said), said)


if __name__ == "__main__":
    main()
