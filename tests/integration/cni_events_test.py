"""The agent's way to the API server (cni/agent/post, event), by itself: what an API server, or whoever stands in its place,
may do to it. Whatever that is, the loop goes on and every Event comes to an end.

usage: cni_events_test.py PATH-OF-event_poster [unittest arguments]
"""
import os
import pathlib
import queue
import socket
import subprocess
import sys
import threading
import time
import unittest

import events_api
from waiting import PATIENCE


class Poster:
    """The process; its lines as they come."""

    def __init__(self, account, environment):
        clean = {key: value for key, value in os.environ.items() if not key.startswith("KUBERNETES_")}
        self.process = subprocess.Popen([PROGRAM, account], env={**clean, **environment}, stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, text=True)
        self.lines = queue.Queue()
        threading.Thread(target=self.read, daemon=True).start()
        self.first = self.next()

    def read(self):
        for line in self.process.stdout:
            self.lines.put(line.rstrip("\n"))
        self.lines.put(None)

    def next(self):
        return self.lines.get(timeout=PATIENCE + 20)

    def post(self, *names):
        self.process.stdin.write("".join(name + "\n" for name in names))
        self.process.stdin.flush()

    def settled(self):
        """The next "done" line, without what was said on the way."""
        while True:
            line = self.next()
            if line is None or line.startswith("done "):
                return line and line[5:].split(" ", 1)

    def results(self, count):
        return [self.settled()[0] for _ in range(count)]

    def finish(self):
        """No more is posted; returns (turns, the longest of them in ms)."""
        self.process.stdin.close()
        while (line := self.next()) is not None:
            if line.startswith("turns "):
                _, turns, _, longest = line.split()
                assert self.process.wait(PATIENCE) == 0
                return int(turns), int(longest)
        raise AssertionError(f"ended: {self.process.wait(PATIENCE)}")

    def kill(self):
        self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()


class Post(unittest.TestCase):
    def setUp(self):
        self.api = events_api.Events()
        self.addCleanup(self.api.close)

    def poster(self, **environment):
        poster = Poster(self.api.account, {**self.api.environment(), **environment})
        self.addCleanup(poster.kill)
        return poster

    def test_many_on_one_connection(self):
        poster = self.poster()
        poster.post(*(f"e{i}" for i in range(50)))
        self.assertEqual(poster.results(50), ["posted"] * 50)
        self.assertEqual([body["name"] for body in self.api.bodies()], [f"e{i}" for i in range(50)])
        self.assertEqual(self.api.connections, 1)
        path, headers, _ = self.api.requests[0]
        self.assertEqual(path, "/api/v1/namespaces/shop/events")
        self.assertEqual(headers["Authorization"], "Bearer first")
        poster.finish()

    def test_connection_is_not_kept(self):
        gone = threading.Event()

        def behave(connection, number):
            try:
                events_api.create(connection, number)
            finally:
                gone.set()

        self.api.behave = behave
        poster = self.poster()
        poster.post("a")
        self.assertEqual(poster.results(1), ["posted"])
        self.assertTrue(gone.wait(PATIENCE))

    def test_token_is_read_again(self):
        poster = self.poster()
        poster.post("a")
        self.assertEqual(poster.results(1), ["posted"])
        self.api.set_token("second")
        poster.post("b")
        self.assertEqual(poster.results(1), ["posted"])
        self.assertEqual(self.api.requests[-1][1]["Authorization"], "Bearer second")

    def test_token_that_is_being_replaced(self):
        self.api.token = "second"  # the API server knows it; the file comes later
        poster = self.poster()
        poster.post("a")
        self.api.wait_for(lambda: self.api.requests, "a request")
        self.api.set_token("second")
        self.assertEqual(poster.results(1), ["posted"])

    def test_wrong_authority(self):
        other = events_api.Authority(self.api.folder, "other")
        self.api.context = self.api.make_context(*other.issue("evil", events_api.NAME))
        poster = self.poster()
        poster.post("a")
        self.assertIn("trusted root", poster.next())
        self.assertEqual(self.api.requests, [])
        self.api.context = self.api.make_context(*self.api.authority.issue("good", events_api.NAME))
        self.assertEqual(poster.results(1), ["posted"])

    def test_wrong_name(self):
        self.api.context = self.api.make_context(*self.api.authority.issue("kubelet", "node-7.example"))
        poster = self.poster()
        poster.post("a")
        self.api.wait_for(lambda: self.api.connections >= 1, "a connection")
        self.assertIn("name", poster.next())
        self.assertEqual(self.api.requests, [], "the token went to a stranger")

    def test_refused(self):
        for status in (403, 404, 400, 422, 301):
            with self.subTest(status):
                def behave(connection, _number):
                    connection.request()
                    connection.refuse(status, 'events is forbidden: User "x"')

                self.api.behave = behave
                poster = self.poster()
                poster.post("a")
                result, reason = poster.settled()
                self.assertEqual(result, "refused")
                self.assertIn(f"{status}: events is forbidden", reason)

    def test_there_already(self):
        def behave(connection, _number):
            connection.request()
            connection.refuse(409, "already exists")

        self.api.behave = behave
        poster = self.poster()
        poster.post("a")
        self.assertEqual(poster.results(1), ["posted"])

    def test_too_much_to_do(self):
        times = []

        def behave(connection, number):
            connection.request()
            times.append(time.monotonic())
            if number == 1:
                connection.refuse(429, "too many", "Retry-After: 2")
            else:
                connection.answer(201)

        self.api.behave = behave
        poster = self.poster()
        poster.post("a")
        self.assertEqual(poster.results(1), ["posted"])
        self.assertGreaterEqual(times[1] - times[0], 1.99)

    def test_broken_server_gets_four_tries(self):
        def behave(connection, _number):
            connection.request()
            connection.refuse(500, "etcd is away")

        self.api.behave = behave
        poster = self.poster()
        poster.post("a")
        result, reason = poster.settled()
        self.assertEqual(result, "failed")
        self.assertIn("etcd is away", reason)
        self.assertEqual(len(self.api.requests), 4)

    def test_no_storm_while_it_is_away(self):
        poster = self.poster()
        self.api.stop()
        poster.post(*(f"e{i}" for i in range(100)))
        results = poster.results(100 - 64)
        self.assertEqual(results, ["dropped"] * 36)
        listener = socket.create_server(("127.0.0.1", self.api.port))
        self.addCleanup(listener.close)
        listener.settimeout(PATIENCE)
        listener.accept()[0].close()  # an attempt, cut at once
        listener.close()
        self.api.start()
        self.assertEqual(poster.results(64), ["posted"] * 64)
        self.assertLessEqual(self.api.connections, 2)

    def assert_survives(self, what, behave, patience_result=("failed", "posted")):
        with self.subTest(what):
            self.api.behave = behave
            began = time.monotonic()
            poster = self.poster()
            poster.post("a", "b")
            for _ in range(2):
                self.assertIn(poster.settled()[0], patience_result)
            turns, _longest = poster.finish()
            # A timer of 10 ms went on meanwhile: a tenth of its turns is enough on a busy machine.
            self.assertGreaterEqual(turns, int((time.monotonic() - began) * 10))

    def test_noise_then_good(self):
        """Each kind of nonsense ends the connection; the next, good one takes what waits."""
        pieces = {
            "nothing": b"",
            "no HTTP": b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
            "binary": bytes(range(256)) * 8,
            "two lengths": b"HTTP/1.1 201 x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n{}",
            "half a head": b"HTTP/1.1 201 x\r\nContent-Le",
            "an endless head": b"HTTP/1.1 201 x\r\n" + b"A: b\r\n" * 100000,
        }
        for what, data in pieces.items():
            def behave(connection, number):
                connection.request()
                if number == self.bad:
                    connection.raw(data)
                else:
                    connection.answer(201)
                    events_api.create(connection, number)

            self.bad = self.api.connections + 1
            self.assert_survives(what, behave, ("posted",))

    def test_endless_body(self):
        """The status has come: what follows is cut, and the Event is settled."""
        def behave(connection, _number):
            connection.request()
            connection.raw(b"HTTP/1.1 201 Created\r\n\r\n")
            while True:
                connection.raw(b"x" * 65536)

        self.assert_survives("endless body", behave, ("posted",))

    def test_body_that_never_comes(self):
        def behave(connection, _number):
            connection.request()
            connection.raw(b"HTTP/1.1 201 Created\r\nContent-Length: 5\r\n\r\n")
            connection.more()

        self.api.behave = behave
        poster = self.poster()
        poster.post("a")
        self.assertEqual(poster.results(1), ["posted"])

    def test_never_answers(self):
        def behave(connection, number):
            connection.request()
            if number > 1:
                connection.answer(201)
            connection.more()

        self.api.behave = behave
        poster = self.poster()
        poster.post("a")
        self.assertIn("did not answer in time", poster.next())
        self.assertEqual(poster.results(1), ["posted"])

    def test_tls_never_begins(self):
        self.api.stop()
        listener = socket.create_server(("127.0.0.1", self.api.port))
        self.addCleanup(listener.close)
        listener.settimeout(PATIENCE)
        poster = self.poster()
        poster.post("a")
        silent = listener.accept()[0]
        self.addCleanup(silent.close)
        self.assertIn("could not be reached in time", poster.next())

    def test_slow_answer(self):
        def behave(connection, _number):
            connection.request()
            for byte in b"HTTP/1.1 201 Created\r\nContent-Length: 2\r\n\r\n{}":
                connection.raw(bytes([byte]))
            connection.more()

        self.assert_survives("byte by byte", behave, ("posted",))


class NobodyToPostTo(unittest.TestCase):
    def setUp(self):
        self.api = events_api.Events()
        self.addCleanup(self.api.close)

    def assert_off(self, says, account=None, **environment):
        poster = Poster(account or self.api.account, environment)
        self.addCleanup(poster.kill)
        self.assertTrue(poster.first.startswith("off "), poster.first)
        self.assertIn(says, poster.first)

    def test_no_cluster(self):
        self.assert_off("no pod of a cluster")

    def test_host_is_a_name(self):
        self.assert_off('got "api.example"', KUBERNETES_SERVICE_HOST="api.example", KUBERNETES_SERVICE_PORT="443")

    def test_no_port(self):
        self.assert_off('got "https"', KUBERNETES_SERVICE_HOST="10.96.0.1", KUBERNETES_SERVICE_PORT="https")

    def test_no_token(self):
        (self.api.account / "token").unlink()
        self.assert_off("No such file", **self.api.environment())

    def test_bad_tokens(self):
        for token in ("", "a\r\nX-Evil: b", "a b", "x" * 20000):
            with self.subTest(token[:20]):
                (self.api.account / "token").write_text(token)
                self.assert_off("token", **self.api.environment())

    def test_ipv6_in_brackets(self):
        poster = Poster(self.api.account, {"KUBERNETES_SERVICE_HOST": "[::1]", "KUBERNETES_SERVICE_PORT": "1"})
        self.addCleanup(poster.kill)
        self.assertEqual(poster.first, "ready")


if __name__ == "__main__":
    PROGRAM = pathlib.Path(sys.argv.pop(1)).resolve()
    unittest.main()
