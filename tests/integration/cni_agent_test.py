"""fairlead-agent, the whole program, on a node that is a pair of folders: it installs, restarts, is killed at random moments, shares
the node with another, uninstalls, posts Events, and goes on when others are gone.

usage: cni_agent_test.py PATH-OF-fairlead-agent PATH-OF-the-payload [unittest arguments]
"""
import json
import os
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import unittest

import events_api
from agent_support import Agent
from waiting import PATIENCE, eventually

CONFLIST = {"cniVersion": "1.0.0", "name": "podnet", "plugins": [
    {"type": "bridge", "bridge": "cni0", "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.88.0.0/24"}]]}},
    {"type": "portmap", "capabilities": {"portMappings": True}}]}
NAME = "10-podnet.conflist"
OURS = "fairlead-cni"


class Node(unittest.TestCase):
    def setUp(self):
        scratch = tempfile.TemporaryDirectory(prefix="fl-agent-")
        self.addCleanup(scratch.cleanup)
        self.folder = pathlib.Path(scratch.name)
        for name in ("conf", "bin"):
            (self.folder / name).mkdir()

    def write_conflist(self, thing=None):
        """As other CNIs do: a whole file, renamed into place."""
        (self.folder / "new").write_text(json.dumps(thing or CONFLIST))
        (self.folder / "new").rename(self.folder / "conf" / NAME)

    def types(self):
        """Of the plugins in the chain. The file is JSON at every moment."""
        return [plugin["type"] for plugin in json.loads((self.folder / "conf" / NAME).read_text())["plugins"]]

    def is_installed(self):
        return self.types() == ["bridge", "portmap", OURS] and (self.folder / "bin" / OURS).exists()

    def agent(self, *options, payload=None, repair=False, **more):
        """Without repair: pods of other tests on this machine are none of ours."""
        options = options if repair else (*options, "--no-repair")
        agent = Agent(PROGRAM, self.folder, "--payload", payload or PAYLOAD, *options, **more)
        self.addCleanup(agent.kill)
        return agent

    def run_agent(self, *options):
        """To its end; (exit code, lines)."""
        agent = self.agent(*options, listen=False)
        code = agent.process.wait(PATIENCE)
        agent.reader.join()
        return code, agent.history

    def assert_version_runs(self):
        """What is installed is a plugin that answers."""
        answer = subprocess.run([self.folder / "bin" / OURS], env={"CNI_COMMAND": "VERSION"}, input=b'{"cniVersion":"1.0.0"}',
                                stdout=subprocess.PIPE, check=True)
        self.assertIn("1.0.0", json.loads(answer.stdout)["supportedVersions"])


class Installing(Node):
    def test_a_writer_who_makes_it_change_all_the_time(self):
        """Costs a bounded number of lines; the last state is told in the end."""
        self.write_conflist()
        agent = self.agent("--no-events")
        agent.wait("installed")
        start = time.monotonic()
        in_the_way = self.folder / "conf" / "05-x.conflist"
        for _ in range(300):
            in_the_way.write_text("{")
            agent.wait_listening()
            eventually(lambda: agent.get("/readyz")[0] == 503, "it is not installed")
            in_the_way.unlink()
            eventually(lambda: agent.get("/readyz")[0] == 200, "it is installed")
        last = eventually(lambda: (line := [line for line in agent.history if "conflist" in line and "unsaid" in line][-1])["unsaid"] and
                          line["state"] == "installed" and line, "the last state, and how many were not told")
        lines = [line for line in agent.history if "unsaid" in line]
        self.assertLess(len(lines), 40 + time.monotonic() - start)
        self.assertGreater(last["unsaid"], 0)

    def test_installs_and_leaves_it(self):
        self.write_conflist()
        agent = self.agent("--no-events")
        agent.wait("installed")
        agent.wait_listening()
        self.assertTrue(self.is_installed())
        self.assert_version_runs()
        status, text = agent.get("/readyz")
        self.assertEqual(status, 200)
        self.assertIn(NAME, text)
        metrics = agent.metrics()
        self.assertEqual(metrics["fairlead_cni_install_ready"], 1)
        self.assertEqual(metrics['fairlead_cni_install_state{state="installed"}'], 1)
        self.assertEqual(metrics['fairlead_cni_reasserts_total{what="conflist"}'], 0)
        self.assertEqual(agent.stop(), 0)
        self.assertTrue(self.is_installed(), "SIGTERM removes nothing")
        again = self.agent("--no-events")
        line = again.wait("installed")
        self.assertEqual(line["written"], "nothing")
        self.assertEqual(again.stop(signal.SIGINT), 0)

    def test_puts_back(self):
        self.write_conflist()
        agent = self.agent("--no-events")
        agent.wait("installed")
        for count in range(1, 4):
            self.write_conflist()
            eventually(self.is_installed, "it is in the chain again")
            agent.wait_metric('fairlead_cni_reasserts_total{what="conflist"}', count)
        (self.folder / "bin" / OURS).unlink()
        eventually(self.is_installed, "the plugin is there again")
        agent.wait_metric('fairlead_cni_reasserts_total{what="payload"}', 1)
        self.assert_version_runs()

    def test_node_boots(self):
        """The main plugin, and its folder, come later."""
        (self.folder / "conf").rmdir()
        agent = self.agent("--no-events")
        agent.wait_listening()
        agent.wait("not installed", state="waiting")
        status, text = agent.get("/readyz")
        self.assertEqual((status, text.split(":")[0]), (503, "waiting"))
        (self.folder / "conf").mkdir()
        self.write_conflist()
        eventually(self.is_installed, "installed once there is something to chain into")
        agent.wait("installed")
        self.assertEqual(agent.get("/readyz")[0], 200)
        (self.folder / "conf" / NAME).unlink()
        agent.wait("not installed", count=2)
        self.assertEqual(agent.get("/readyz")[0], 503)

    def test_half_written(self):
        (self.folder / "conf" / NAME).write_text(json.dumps(CONFLIST)[:100])
        agent = self.agent("--no-events")
        agent.wait("not installed", state="unreadable")
        self.assertEqual((self.folder / "conf" / NAME).read_text(), json.dumps(CONFLIST)[:100])
        self.write_conflist()
        eventually(self.is_installed, "installed once it is whole")

    def test_no_payload(self):
        self.write_conflist()
        agent = self.agent("--no-events", payload=self.folder / "nowhere")
        line = agent.wait("not installed", state="failed")
        self.assertIn("nowhere", line["reason"])
        self.assertEqual(self.types(), ["bridge", "portmap"], "nothing is named that is not there")

    def test_killed_at_random_moments(self):
        """Whatever moment: the chain is whole, and the next one completes it."""
        chance = random.Random(7)
        for round in range(25):
            shutil.rmtree(self.folder / "bin")
            (self.folder / "bin").mkdir()
            self.write_conflist()
            agent = self.agent("--no-events", listen=False)
            # Not a wait for anything: the moments that a power cut may choose.
            threading.Event().wait(chance.random() * 0.03)
            agent.kill()
            types = self.types()
            self.assertIn(types, (["bridge", "portmap"], ["bridge", "portmap", OURS]))
            if OURS in types:
                self.assert_version_runs()
        agent = self.agent("--no-events")
        agent.wait("installed")
        self.assertTrue(self.is_installed())
        self.assert_version_runs()
        self.assertEqual(os.listdir(self.folder / "conf"), [NAME])

    def test_two_at_once(self):
        self.write_conflist()
        first = self.agent("--no-events")
        first.wait("installed")
        second = self.agent("--no-events")
        second.wait("installed")
        first.wait("not installed", state="standby")
        self.write_conflist()
        eventually(self.is_installed, "one of them puts it back")
        self.assertEqual(second.stop(), 0)
        first.wait("installed", count=2)
        self.write_conflist()
        eventually(self.is_installed, "the first one took over")

    def test_hangup(self):
        self.write_conflist()
        agent = self.agent("--no-events")
        agent.wait("installed")
        agent.process.send_signal(signal.SIGHUP)
        agent.wait("looking at everything again")
        agent.wait("installed", count=2)
        self.assertEqual(agent.stop(), 0)

    def test_port_is_taken(self):
        self.write_conflist()
        first = self.agent("--no-events")
        first.wait_listening()
        second = self.agent("--no-events", "--listen", f"127.0.0.1:{first.port}", listen=False)
        second.wait("no metrics and probes are served; it is tried again")
        second.wait("installed")
        first.stop()
        second.wait("metrics and probes are served")


class Uninstalling(Node):
    def setUp(self):
        super().setUp()
        self.write_conflist()
        agent = self.agent("--no-events")
        agent.wait("installed")
        self.assertEqual(agent.stop(), 0)

    def assert_gone(self):
        self.assertEqual(self.types(), ["bridge", "portmap"])
        self.assertEqual(os.listdir(self.folder / "bin"), [])
        self.assertEqual(os.listdir(self.folder / "conf"), [NAME])

    def test_and_ends(self):
        code, history = self.run_agent("--uninstall", "--grace", "50")
        self.assertEqual((code, history[-1]["message"]), (0, "uninstalled"))
        self.assert_gone()
        code, history = self.run_agent("--uninstall", "--grace", "0")
        self.assertEqual(code, 0, "there is nothing to take away, and that is fine")

    def test_and_stays(self):
        agent = self.agent("--uninstall", "--stay", "--grace", "50")
        agent.wait("uninstalled")
        agent.wait_listening()
        self.assertEqual(agent.get("/readyz"), (200, "uninstalled\n"))
        self.assert_gone()
        self.assertEqual(agent.stop(), 0)

    def test_cannot(self):
        """A file that may name the plugin cannot be read: it stays, for a chain that names what is gone makes no pods."""
        broken = self.folder / "conf" / "20-broken.conflist"
        broken.write_text('{"plugins": [{"type": "fairlead-cni"}')
        code, history = self.run_agent("--uninstall", "--grace", "0")
        self.assertEqual((code, history[-1]["message"]), (1, "not uninstalled"))
        self.assertIn("20-broken", history[-1]["error"])
        self.assertTrue((self.folder / "bin" / OURS).exists())
        agent = self.agent("--uninstall", "--stay", "--grace", "0")
        agent.wait("not uninstalled")
        agent.wait_listening()
        self.assertEqual(agent.get("/readyz")[0], 503)
        broken.unlink()
        agent.wait("uninstalled")
        self.assertEqual(agent.get("/readyz")[0], 200)


class Events(Node):
    def setUp(self):
        super().setUp()
        self.api = events_api.Events()
        self.addCleanup(self.api.close)

    def posting(self, *options, **more):
        return self.agent("--node", "node-1", "--service-account", self.api.account, *options,
                          environment=self.api.environment(), **more)

    def reasons(self):
        return [body["reason"] for body in self.api.bodies()]

    def test_node(self):
        """A failure and its end, about the node; its healthy life is no Event."""
        self.write_conflist()
        agent = self.posting(payload=self.folder / "payload")
        self.api.wait_for(lambda: self.api.requests, "an Event")
        path, _, event = self.api.requests[0]
        self.assertEqual(path, "/api/v1/namespaces/default/events")
        self.assertEqual(event["reason"], "CNIInstallFailed")
        self.assertEqual(event["type"], "Warning")
        self.assertEqual(event["involvedObject"], {"apiVersion": "v1", "kind": "Node", "name": "node-1", "uid": "node-1"})
        self.assertEqual(event["source"], {"component": "fairlead-agent", "host": "node-1"})
        self.assertIn("payload", event["message"])
        shutil.copytree(PAYLOAD, self.folder / "payload")
        agent.process.send_signal(signal.SIGHUP)
        agent.wait("installed")
        self.api.wait_for(lambda: len(self.api.requests) == 2, "another")
        self.write_conflist()
        self.api.wait_for(lambda: len(self.api.requests) == 3, "another")
        self.assertEqual(self.reasons(), ["CNIInstallFailed", "CNIInstalled", "CNIRestored"])
        agent.wait_listening()
        agent.wait_metric('fairlead_cni_events_total{result="posted"}', 3)
        for count in range(1, 6):
            self.write_conflist()
            agent.wait_metric('fairlead_cni_reasserts_total{what="conflist"}', count + 1)
        agent.wait_metric('fairlead_cni_events_total{result="repeated"}', 5)
        self.assertEqual(len(self.api.requests), 3)

    def test_api_is_away(self):
        """Nothing but counts and a line; what the agent is for goes on. Once it is back, what waited is told."""
        self.api.stop()
        self.write_conflist()
        agent = self.posting()
        agent.wait("installed")
        self.write_conflist()
        eventually(self.is_installed, "put back")
        agent.wait("Events wait")
        self.api.start()
        self.api.wait_for(lambda: self.api.requests, "what waited")
        self.assertEqual(self.reasons(), ["CNIRestored"])

    def test_api_is_hostile(self):
        """It takes connections and never answers, or without end: chain and probes do not wait for it."""
        def behave(connection, number):
            connection.request()
            while number % 2:
                connection.raw(b"HTTP/1.1 201 x\r\nA: " + b"b" * 60000)
            connection.more()

        self.api.behave = behave
        self.write_conflist()
        agent = self.posting()
        agent.wait("installed")
        agent.wait_listening()
        for _ in range(20):
            self.write_conflist()
            eventually(self.is_installed, "put back")
            self.assertEqual(agent.get("/healthz")[0], 200)
        self.assertEqual(agent.stop(), 0)

    def test_nobody_to_post_to(self):
        self.write_conflist()
        agent = self.agent("--node", "node-1", payload=self.folder / "payload")
        line = agent.wait("no Events are posted")
        self.assertIn("KUBERNETES_SERVICE_HOST", line["reason"])
        agent.wait_listening()
        agent.wait_metric('fairlead_cni_events_total{result="off"}', 1)

    def test_no_node_name(self):
        agent = self.agent("--service-account", self.api.account, environment=self.api.environment())
        agent.wait("no Events about the node are posted")
        other = self.agent("--service-account", self.api.account, environment={**self.api.environment(), "NODE_NAME": "n"})
        other.wait("started", node="n")

    def test_not_wanted(self):
        agent = self.posting("--no-events", payload=self.folder / "payload")
        agent.wait("not installed")
        agent.wait_listening()
        agent.wait_metric('fairlead_cni_events_total{result="off"}', 1)
        self.assertEqual(self.api.requests, [])


class Less(Node):
    """What it lacks is named, and the rest goes on."""

    def assert_installs_without_repair(self, agent, says):
        self.assertIn(says, agent.wait("repair is off")["reason"])
        agent.wait("installed")
        agent.wait_listening()
        status, text = agent.get("/readyz")
        self.assertEqual(status, 200)
        self.assertIn("repair is off: ", text)
        self.assertIn(says, text)

    def test_capabilities(self):
        self.write_conflist()
        agent = self.agent("--no-events", repair=True, wrap=("setpriv", "--bounding-set=-sys_ptrace,-net_admin"))
        self.assert_installs_without_repair(agent, "CAP_SYS_PTRACE")
        self.assertIn("CAP_NET_ADMIN", agent.wait("repair is off")["reason"])
        self.assertNotIn("SYS_ADMIN", agent.wait("repair is off")["reason"])

    def test_capability_for_iptables(self):
        """Needed by that back end alone."""
        for backend, lacks in (("iptables", True), ("nftables", False)):
            with self.subTest(backend):
                self.write_conflist()
                agent = self.agent("--no-events", f"--backend={backend}", repair=True, wrap=("setpriv", "--bounding-set=-net_raw"))
                if lacks:
                    self.assert_installs_without_repair(agent, "CAP_NET_RAW")
                else:
                    agent.wait("repair is on")
                agent.kill()

    def test_host_pid(self):
        self.write_conflist()
        agent = self.agent("--no-events", repair=True, wrap=("unshare", "--pid", "--fork", "--kill-child", "--mount-proc"))
        self.assert_installs_without_repair(agent, "hostPID")


class Options(unittest.TestCase):
    def run_it(self, *arguments):
        result = subprocess.run([PROGRAM, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                timeout=PATIENCE)
        return result.returncode, result.stdout, result.stderr

    def test_help(self):
        code, out, err = self.run_it("--help")
        self.assertEqual((code, err), (0, ""))
        for option in ("--conf-dir", "--uninstall", "--service-account", "kubeadm", "Exit codes"):
            self.assertIn(option, out)
        code, out, _ = self.run_it("--version")
        self.assertEqual((code, out.split()[0]), (0, "fairlead-agent"))

    def test_wrong(self):
        rows = (
            (("--platform", "gcp"), ("kubeadm", "openshift", '"gcp"')),
            (("--mode", "chain"), ("chained or standalone", '"chain"')),
            (("--backend", "nft"), ("auto, nftables or iptables", '"nft"')),
            (("--conf-dir", "etc"), ("absolute path", '"etc"')),
            (("--bin-dir", ""), ("absolute path", '""')),
            (("--payload", "x"), ("absolute path",)),
            (("--proc", "x"), ("absolute path",)),
            (("--service-account", "x"), ("absolute path",)),
            (("--conflist", "a/b"), ("--conf-dir", '"a/b"')),
            (("--grace", "5s"), ("milliseconds", '"5s"')),
            (("--node", "n" * 300), ("253",)),
            (("--log-level", "loud"), ("error, warning, info",)),
            (("--log-format", "xml"), ("json or text",)),
            (("--stay",), ("--uninstall",)),
            (("--grace",), ("needs a value",)),
            (("--bogus",), ("unknown option", '"--bogus"')),
            (("now",), ("options alone", '"now"')),
        )
        for arguments, says in rows:
            with self.subTest(arguments):
                code, out, err = self.run_it(*arguments)
                self.assertEqual((code, out), (2, ""))
                for text in says:
                    self.assertIn(text, err)

    def test_wrong_address(self):
        code, _, err = self.run_it("--listen", "localhost:1", "--no-events", "--conf-dir", "/nowhere", "--bin-dir", "/nowhere")
        self.assertEqual(code, 1)
        self.assertIn("--listen", err)


if __name__ == "__main__":
    PROGRAM = pathlib.Path(sys.argv.pop(1)).resolve()
    PAYLOAD = pathlib.Path(sys.argv.pop(1)).resolve()
    unittest.main()
