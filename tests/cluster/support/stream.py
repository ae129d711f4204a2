"""Creations that go on while something else happens: none may fail.

    with Stream(self.api, lambda name: a_pod(name, space)) as stream:
        …rotate, kill, roll…
        stream.wait(100)                           # so many more were made
    self.assertEqual(stream.failures, [])
"""
import threading
import time

from waiting import eventually

from .api import PATIENCE, ApiError


class Stream:
    """Dry runs, which are admitted as others are and leave nothing; check(pod) may say what is wrong with one."""

    def __init__(self, api, make, threads=2, dry_run=True, check=lambda made: None):
        self.api, self.make, self.dry_run, self.check = api, make, dry_run, check
        self.failures, self.failed_at, self.made, self.next = [], [], 0, 0
        self.over, self.lock = threading.Event(), threading.Lock()
        self.threads = [threading.Thread(target=self._run, daemon=True) for _ in range(threads)]

    def _run(self):
        while not self.over.is_set():
            with self.lock:
                name, self.next = f"stream-{self.next}", self.next + 1
            try:
                wrong = self.check(self.api.create(self.make(name), dry_run=self.dry_run))
            except (ApiError, OSError) as error:
                wrong = str(error)
            with self.lock:
                self.made += 1
                if wrong:
                    self.failures.append(f"{name}: {wrong}")
                    self.failed_at.append(time.monotonic())
        self.api.close()

    def wait(self, more, patience=PATIENCE):
        goal = self.made + more
        eventually(lambda: self.made >= goal, f"{more} more creations", patience)

    def wait_settled(self, more, patience=PATIENCE):
        """Until so many came one after the other without a failure."""
        while True:
            before = len(self.failures)
            self.wait(more, patience)
            if len(self.failures) == before:
                return

    def trouble(self):
        """Failures in words: how many of how many, and the seconds from the first to the last."""
        span = self.failed_at[-1] - self.failed_at[0] if self.failed_at else 0
        return f"{len(self.failures)} of {self.made} failed, within {span:.1f} s"

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        for thread in self.threads:
            thread.join()
