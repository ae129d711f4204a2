#!/usr/bin/env python3
"""The node agent as the chart installs it: it puts the plugin into the node's chain and keeps it there, while pods start all the time.

Each pod of a stream is injected, and its app's first act is a call that is answered only to who is captured (support/agent). So a
stream without failures says: every sandbox was made, and no app started uncaptured.
"""
import json
import shutil
import threading

from support import chain, chart, image, place
from support.agent import HOME, PLUGIN, SANDBOX, Agent, end_sandbox
from support.lane import Lane, a_pod, main
from support.place import kubectl, on_node
from support.stream import Stream
from waiting import eventually

NEEDS = "node"
MINUTES = 20

AFTER = 6  # pods that must start well after each event


class TheAgent(Lane):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.before = chain.FILE.read_text()
        cls.agent = Agent(cls)

    def tearDown(self):
        self.assertEqual(self.agent.events(SANDBOX), [], "a sandbox failed")

    def stream(self):
        """Pods that start, tell, and go, two at a time."""
        prefix = self.unique("caller")
        return Stream(self.api, lambda name: self.agent.caller(f"{prefix}-{name}"), dry_run=False, check=self.agent.finishes)

    def well(self, stream):
        self.assertEqual(stream.failures, [], stream.trouble())

    # -- installed ----------------------------------------------------------------------------------------------------

    def test_a_installed(self):
        """At the end of the node's list, by itself; everything of others as it was; the plugin alone captures."""
        usual, found = json.loads(self.before), json.loads(chain.FILE.read_text())
        own = found["plugins"].pop()
        self.assertEqual(found, usual)
        self.assertEqual((own["type"], own["capabilities"]), (PLUGIN, chain.CAPABILITIES))
        self.assertEqual(len(self.agent.versions()), 1)
        self.assertTrue((chain.BIN / PLUGIN).exists())
        self.assertIn("fairlead capture", self.agent.captured("web"))
        captured = self.agent.metric("fairlead_cni_repairs_total")
        with self.stream() as stream:
            stream.wait(AFTER)
        self.well(stream)
        self.assertEqual(self.agent.metric("fairlead_cni_repairs_total"), captured, "the agent had to do the plugin's work")

    def test_a_stranger_is_not_answered(self):
        """What the streams rely on: without capture, nobody answers."""
        space = self.namespace("outside")
        app = {"name": "app", "image": place.BUSYBOX_IMAGE, "command": self.agent.call()}
        self.api.create(a_pod("stranger", space, restartPolicy="Never", containers=[app]))
        done = self.api.wait("v1", "Pod", "stranger", space, lambda pod: pod["status"].get("phase") in ("Succeeded", "Failed"))
        self.assertEqual(done["status"]["phase"], "Failed")

    def test_a_user_namespaced(self):
        self.assertIsNone(self.agent.finishes(self.api.create(self.agent.caller("own-users", hostUsers=False))))

    # -- the agent comes and goes -------------------------------------------------------------------------------------

    def test_killed(self):
        """kill -9, three times; the plugin works on, the kubelet starts the agent again."""
        with self.stream() as stream:
            for _ in range(3):
                stream.wait(AFTER // 2)
                before = self.agent.process()
                on_node("kill", "-9", before)
                eventually(lambda gone=before: self.comes(gone), "another process", 90)
            stream.wait(AFTER)
        self.well(stream)

    def comes(self, gone):
        try:
            return self.agent.process() != gone
        except StopIteration:
            return False

    def test_away(self):
        """No agent at all: the plugin needs nobody."""
        self.agent.away()
        self.addCleanup(self.agent.back)
        with self.stream() as stream:
            stream.wait(2 * AFTER)
        self.well(stream)
        self.assertEqual(self.agent.chained()[-1], PLUGIN)
        self.assertIn("fairlead capture", self.agent.captured("web"))

    def test_rewritten(self):
        """Another installer writes its list anew, without the plugin, ten times a second. (By renaming: who writes in place has runtimes
        read half of it, and that is a sandbox that fails, agent or not.)"""
        over, count = threading.Event(), 0

        def rewrite():
            nonlocal count
            while not over.wait(0.1):
                chain.put()
                count += 1
        writer = threading.Thread(target=rewrite)
        writer.start()
        try:
            with self.stream() as stream:
                eventually(lambda: count >= 100, "100 rewrites", 120)
                stream.wait(AFTER)
        finally:
            over.set()
            writer.join()
        self.well(stream)
        eventually(lambda: self.agent.chained()[-1] == PLUGIN, "the plugin is in the chain")
        self.assertEqual(self.agent.chained().count(PLUGIN), 1)

    def test_reboot(self):
        """The node starts again: runtime and kubelet first, every sandbox made anew, and no agent until all runs."""
        self.agent.away()
        self.addCleanup(self.agent.back)
        before = self.api.get("v1", "Pod", "web", self.agent.space)
        for name in ("containerd", "kubelet"):
            place.run(place.HERE / "restart", name)
        end_sandbox(before)

        def again():
            pod = self.api.get("v1", "Pod", "web", self.agent.space)
            rows = pod["status"]["containerStatuses"] + pod["status"]["initContainerStatuses"]
            return pod["status"].get("podIP") != before["status"]["podIP"] and all(row.get("ready") for row in rows)
        eventually(again, "the pod has another sandbox, and is Ready", 120)
        self.assertIn("fairlead capture", self.agent.captured("web"))
        with self.stream() as stream:
            stream.wait(AFTER)
        self.well(stream)

    # -- versions -----------------------------------------------------------------------------------------------------

    def test_upgrade_and_rollback(self):
        """Another version of the plugin, and back, under a stream: each whole, in a folder of its own, and the old one goes."""
        first, = self.agent.versions()
        repository, tag = image.load("fairlead-agent", tag="next", payload=self.another_payload()).split(":")
        with self.stream() as stream:
            stream.wait(AFTER // 2)
            self.agent.change(**{"cni.image.repository": repository, "cni.image.tag": tag})
            eventually(lambda: len(self.agent.versions()) == 1 and self.agent.versions() != [first], "the new version alone")
            stream.wait(AFTER)
            chart.helm("rollback", "fairlead", "--namespace", "fairlead-system", "--wait")
            self.agent.wait_settled()
            eventually(lambda: self.agent.versions() == [first], "the old version alone")
            stream.wait(AFTER)
        self.well(stream)

    def another_payload(self):
        """The same with a byte more behind a library: its digest names another folder."""
        folder = self.folder() / "payload"
        shutil.copytree(image.PAYLOAD, folder)
        with (folder / "files" / "libcjson.so.1").open("ab") as file:
            file.write(b"\0")
        return folder

    # -- the end ------------------------------------------------------------------------------------------------------

    def plain(self):
        """A stream of pods that have nothing to do with the mesh, in a namespace of their own, and its name."""
        space, prefix = self.namespace("plain"), self.unique("plain")
        app = {"name": "app", "image": place.BUSYBOX_IMAGE, "command": ["true"]}

        def runs(pod):
            try:
                self.api.wait("v1", "Pod", pod["metadata"]["name"], space, lambda pod: pod["status"].get("phase") == "Succeeded")
                return None
            except AssertionError as error:
                return str(error)
        return Stream(self.api, lambda name: a_pod(f"{prefix}-{name}", space, restartPolicy="Never", containers=[app]),
                      dry_run=False, check=runs), space

    def clean(self):
        """Nothing of ours is on the node, and everything of others is."""
        self.assertEqual(json.loads(chain.FILE.read_text()), json.loads(self.before))
        self.assertEqual([path.name for path in chain.BIN.iterdir() if path.name.startswith(PLUGIN)], [])
        self.assertEqual([path.name for path in chain.FILE.parent.iterdir()], [chain.FILE.name])

    def test_z_uninstall(self):
        """The agents take everything away and are Ready when it is gone; pods start all the time, and those that run stay captured."""
        stream, space = self.plain()
        with stream:
            stream.wait(AFTER)
            self.agent.change(**{"cni.uninstall": True})
            self.clean()
            stream.wait(AFTER)
            self.assertIn("fairlead capture", self.agent.captured("web"))
            chart.uninstall()
            self.api.wait_gone("v1", "Namespace", HOME)
            stream.wait(AFTER)
        self.well(stream)
        self.assertEqual(self.agent.events(SANDBOX, space=space), [])

    def test_zz_the_daemonset_is_gone(self):
        """A plain `helm uninstall` leaves the plugin, which is in nobody's way; the DaemonSet once more, alone, takes it off the node."""
        chart.install(self.agent.values)
        stream, space = self.plain()
        with stream:
            chart.uninstall()
            self.api.wait_gone("v1", "Namespace", HOME)
            self.assertEqual(self.agent.chained()[-1], PLUGIN)
            stream.wait(AFTER)
            self.api.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {
                "name": HOME, "labels": {"pod-security.kubernetes.io/enforce": "privileged"}}})
            self.addCleanup(self.api.delete, "v1", "Namespace", HOME)
            text = chart.helm("template", "fairlead", place.CHARTS / "fairlead", *chart.settings({
                **self.agent.values, "cni.uninstall": True, "cni.events": False}),
                "--show-only", "templates/cni/account.yaml", "--show-only", "templates/cni/daemonset.yaml")
            kubectl("apply", "-f", "-", text=text)
            self.agent.wait_settled()
            self.clean()
            stream.wait(AFTER)
        self.well(stream)
        self.assertEqual(self.agent.events(SANDBOX, space=space), [])


if __name__ == "__main__":
    main()
