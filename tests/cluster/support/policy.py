"""How a rule of a ValidatingAdmissionPolicy is shown: hostile objects with and without it, harmless ones beside them."""
import copy

from waiting import eventually

from .api import ApiError
from .lane import Lane
from .release import ADMISSION, BINDING


def changed(pod, change):
    """A copy of the pod that `change` was let at."""
    pod = copy.deepcopy(pod)
    change(pod)
    return pod


class PolicyLane(Lane):
    """How a rule is shown."""

    def refused_by(self, policy, act):
        """None where `act` passes; else the error's text, which must be that policy's."""
        try:
            act()
        except ApiError as error:
            self.assertIn(f"ValidatingAdmissionPolicy '{policy}' with binding '{policy}' denied request: ", error.message)
            return error.message.split(" denied request: ", 1)[1]
        return None

    def check(self, policy, hostile, harmless):
        """hostile: {case: (act, what its message says)}; harmless: {case: act}. Acts leave nothing behind (dry runs)."""
        first = next(iter(hostile.values()))[0]
        eventually(lambda: self.refused_by(policy, first), f"{policy} is in force")
        for case, (act, says) in hostile.items():
            with self.subTest(policy, hostile=case):
                told = self.refused_by(policy, act)
                self.assertIsNotNone(told, "passed")
                self.assertRegex(told, says)
        for case, act in harmless.items():
            with self.subTest(policy, harmless=case):
                act()
        binding = self.api.get(ADMISSION, BINDING, policy)
        self.api.delete(ADMISSION, BINDING, policy)
        try:
            eventually(lambda: self.refused_by(policy, first) is None, f"{policy} is no longer in force")
            for case, (act, _) in hostile.items():
                with self.subTest(policy, unbound=case):
                    act()
        finally:
            for key in ("resourceVersion", "uid", "creationTimestamp", "managedFields", "generation"):
                binding["metadata"].pop(key, None)
            self.api.create(binding)

    def pod(self, pod):
        """The act of making it."""
        return lambda: self.api.create(pod, dry_run=True)

    def table(self, base, rows):
        """{case: (act, says)} of {case: (change, says)}: changes of one pod."""
        return {case: (self.pod(changed(base, change)), says) for case, (change, says) in rows.items()}

    @staticmethod
    def may(act):
        """Whether RBAC lets it: for rights that were given just now."""
        try:
            act()
            return True
        except ApiError as error:
            return error.status != 403

    def almighty(self, who, probe):
        """The account with all the rights there are: it is the policy that holds it. probe: what it may make then."""
        system, name = who[0].split(":")[2:]
        self.create({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {"name": f"hostile-{name}"},
                     "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
                     "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": system}]})
        api = self.api.impersonate(*who)
        self.addCleanup(api.close)
        eventually(lambda: self.may(lambda: api.create(probe, dry_run=True)), f"{name} has its rights")
        return api
