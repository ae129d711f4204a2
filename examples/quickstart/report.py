"""What a run says: each step with its time, and the claims, which decide how it ends."""
import os
import sys
import time


class Failed(Exception):
    """A claim that did not hold."""


def say(text):
    """Prints, also where nobody reads any more (a pager that was quit, a closed terminal): the run goes on to its end."""
    try:
        print(text, flush=True)
    except OSError:
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # pylint: disable=consider-using-with


class Report:
    """Prints each step with the time since the start, keeps the claims for the end."""

    def __init__(self):
        self.begin, self.claims = time.monotonic(), []

    def line(self, text):
        say(f"[{time.monotonic() - self.begin:6.2f}s] {text}")

    def detail(self, text):
        say(f"           {text}")

    def claim(self, holds, text, reason=""):
        self.claims.append((bool(holds), text))
        self.line(f"{'ok  ' if holds else 'FAIL'} {text}{'' if holds or not reason else f': {reason}'}")

    def end(self):
        failed = [text for holds, text in self.claims if not holds]
        say(f"\n{len(self.claims) - len(failed)} of {len(self.claims)} claims held"
            f" in {time.monotonic() - self.begin:.1f} s.")
        for text in failed:
            say(f"  did not hold: {text}")
        return not failed
