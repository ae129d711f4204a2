"""The base of every lane: unittest, with what a scenario needs at hand and everything gone afterwards.

    NEEDS = "api"                                  the control plane alone; or "node": pods run

    class Something(Lane):
        def test_that_it_holds(self):
            space = self.namespace(labels={"fairlead.io/inject": "enabled"})
            pod = self.api.create(a_pod("web", space))
            …

    if __name__ == "__main__":
        main()
"""
import pathlib
import shutil
import sys
import tempfile
import time
import traceback
import unittest

from . import place
from .api import Api, ApiError
from .place import kubectl
from .program import Program

LOGS = place.LOG / "lanes" / pathlib.Path(sys.argv[0]).stem
TOLD = 3  # namespaces, the last ones
LONG = 5  # seconds
GONE = 240  # seconds that namespaces may take: hundreds queue in a cluster


def a_pod(name, namespace, labels=None, annotations=None, **spec):
    """A pod of one container that waits; **spec is laid over."""
    command = ["sh", "-c", 'trap "exit 0" TERM; while :; do sleep 1; done']
    return {"apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": name, "namespace": namespace, "labels": labels or {}, "annotations": annotations or {}},
            "spec": {"terminationGracePeriodSeconds": 1, "automountServiceAccountToken": False,
                     "containers": [{"name": "app", "image": place.BUSYBOX_IMAGE, "command": command}], **spec}}


def containers(pod):
    """Names, in the order in which they start."""
    return [one["name"] for key in ("initContainers", "containers") for one in pod["spec"].get(key, ())]


class both:
    """A method that may be called on a test or on the class: what it makes is gone after the one that it was called on."""

    def __init__(self, function):
        self.function, self.__doc__ = function, function.__doc__

    def __get__(self, test, owner):
        whom = owner if test is None else test
        after = owner.addClassCleanup if test is None else test.addCleanup
        return lambda *arguments, **options: self.function(whom, after, *arguments, **options)


class Lane(unittest.TestCase):
    api = None
    count = 0       # of names given
    spaces = []     # namespaces that are there: told about where a test fails
    left = []       # those that are being deleted
    programs = []   # that run: told about where a test fails

    @classmethod
    def setUpClass(cls):
        if Lane.api is None:
            Lane.api = Api()

    @staticmethod
    def unique(name):
        Lane.count += 1
        return f"{name}-{Lane.count}"

    @both
    def later(self, after, function, *arguments):
        """Calls it afterwards."""
        after(function, *arguments)

    @both
    def folder(self, after):
        """A new folder for files."""
        path = pathlib.Path(tempfile.mkdtemp(prefix="fl-lane-"))
        after(shutil.rmtree, path)
        return path

    @both
    def namespace(self, after, name="space", account=True, annotations=None, labels=None):
        """The name of a new namespace; with its default service account there, so that pods can be made."""
        name = self.unique(name)
        metadata = {"name": name, "labels": labels or {}, "annotations": annotations or {}}
        self.api.create({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata})
        Lane.spaces.append(name)
        after(self.leave, name)
        if account:
            self.api.wait("v1", "ServiceAccount", "default", name, lambda thing: thing is not None)
        return name

    @staticmethod
    def leave(name):
        Lane.api.delete("v1", "Namespace", name, missing_ok=True)
        Lane.spaces.remove(name)
        Lane.left.append(name)

    @both
    def create(self, after, thing):
        """Creates an object that is in no namespace of the test's own, and deletes it afterwards."""
        made = self.api.create(thing)
        after(self.api.delete, thing["apiVersion"], thing["kind"], made.name, made.namespace, missing_ok=True)
        return made

    @both
    def program(self, after, name, *options, **more):
        """A Program that runs."""
        started = Program(LOGS, self.unique(name), name, *options, **more)
        Lane.programs.append(started)
        after(self.end, started)
        return started

    @staticmethod
    def end(started):
        if started in Lane.programs:
            Lane.programs.remove(started)
        started.stop()

    def outcome(self, thing):
        """(created, None), or (None, the ApiError) where the API server or a webhook refused it."""
        try:
            return self.api.create(thing), None
        except ApiError as error:
            return None, error


class Result(unittest.TextTestResult):
    """A test that fails tells at once, and with it how its pods are and what the programs said last. One that takes long says so."""

    def startTest(self, test):
        self.began = time.monotonic()
        super().startTest(test)

    def stopTest(self, test):
        super().stopTest(test)
        seconds = time.monotonic() - self.began
        if seconds > LONG:
            self.stream.writeln(f"    after {seconds:.0f} s")

    def _tell(self, test, error):
        traceback.print_exception(*error, file=self.stream)
        for space in Lane.spaces[-TOLD:]:
            for kind in ("pods", "events"):
                self.stream.write(f"--- {kind} in {space}:\n{kubectl('-n', space, 'get', kind, check=False)[-4000:]}")
        for started in Lane.programs:
            self.stream.write(f"--- the end of {started.path}:\n{started.tail()}\n")
        self.stream.flush()
        del test

    def addError(self, test, err):
        super().addError(test, err)
        self._tell(test, err)

    def addFailure(self, test, err):
        super().addFailure(test, err)
        self._tell(test, err)

    def addSubTest(self, test, subtest, err):
        super().addSubTest(test, subtest, err)
        if err is not None:
            self._tell(subtest, err)

    def printErrors(self):
        """They were told."""


def wait_until_gone():
    for name in Lane.left:
        Lane.api.wait_gone("v1", "Namespace", name, patience=GONE)


def main():
    """As unittest.main: names of tests as arguments. Ctrl-C ends after the test that runs, so that it cleans up."""
    shutil.rmtree(LOGS, ignore_errors=True)
    LOGS.mkdir(parents=True)
    runner = unittest.TextTestRunner(resultclass=Result, verbosity=2)
    done = unittest.main(module="__main__", testRunner=runner, exit=False, catchbreak=True).result
    wait_until_gone()
    sys.exit(0 if done.wasSuccessful() else 1)
