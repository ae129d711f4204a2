#!/usr/bin/env python3
"""The cases of http1/*.txt over sockets: requests of a hostile client to the proxy, and answers of a hostile server behind it.
What the server sees is counted: a request that the table does not let pass never arrives whole.

    http1.py PROXY
"""
import pathlib
import socket
import sys
import threading
import time

from one import One, connect, listen, timed

HERE = pathlib.Path(__file__).resolve().parent / "http1"


# -- the form of the tables -------------------------------------------------------------------------------------------

def expand(text):
    out, at = bytearray(), 0
    while at < len(text):
        one = text[at]
        at += 1
        if one == "~":
            out += b"\r\n"
        elif one == "<" and text[at].isdigit():
            star, close = text.index("*", at), text.index(">", at)
            out += expand(text[star + 1:close]) * int(text[at:star])
            at = close + 1
        elif one != "\\":
            out += one.encode()
        else:
            one = text[at]
            at += 1
            if one == "x":
                out.append(int(text[at:at + 2], 16))
                at += 2
            else:
                out += {"r": b"\r", "n": b"\n", "t": b"\t"}.get(one, one.encode())
    return bytes(out)


def read(name, columns):
    """[verdict, …, name, bytes] of each line."""
    for line in (HERE / name).read_text().splitlines():
        if not line.startswith("#"):
            *start, text = line.split(" | ", columns - 1)
            yield [*start, expand(text)]


# -- reading answers --------------------------------------------------------------------------------------------------

class Broken(Exception):
    """The other side ended in the middle."""


class Reader:
    def __init__(self, sock):
        self.sock, self.rest = sock, b""

    def more(self):
        try:
            piece = self.sock.recv(65536)
        except ConnectionError:
            piece = b""
        if not piece:
            raise Broken
        self.rest += piece

    def until(self, mark):
        while mark not in self.rest:
            self.more()
        part, self.rest = self.rest.split(mark, 1)
        return part

    def exactly(self, count):
        while len(self.rest) < count:
            self.more()
        part, self.rest = self.rest[:count], self.rest[count:]
        return part

    def head(self):
        line, *fields = self.until(b"\r\n\r\n").decode("latin-1").split("\r\n")
        return line, {name.lower(): value.strip() for name, value in (field.split(":", 1) for field in fields)}

    def body(self, fields, until_close=False):
        if fields.get("transfer-encoding") == "chunked":
            body = b""
            while size := int(self.until(b"\r\n").split(b";")[0], 16):
                body += self.exactly(size)
                assert self.exactly(2) == b"\r\n"
            while self.until(b"\r\n"):
                pass
            return body
        if "content-length" not in fields and until_close:
            self.to_end()
            return self.rest
        return self.exactly(int(fields.get("content-length", 0)))

    def answer(self, method="GET"):
        """(status, body); 1xx before it are skipped."""
        while True:
            line, fields = self.head()
            status = int(line.split()[1])
            if status >= 200:
                bare = method == "HEAD" or status in (204, 304)
                return status, b"" if bare else self.body(fields, until_close=True)

    def to_end(self):
        try:
            while True:
                self.more()
        except Broken:
            return self.rest


# -- the server that is behind it -------------------------------------------------------------------------------------

class Origin:
    """Counts the requests that arrive whole. `/case` is answered by `case` (bytes, whether the connection stays), all else by
    200."""

    def __init__(self):
        self.listener, self.port = listen()
        self.whole, self.strange, self.connections, self.case = [], [], 0, (b"", False)
        threading.Thread(target=self.loop, daemon=True).start()

    def loop(self):
        while True:
            sock, _ = self.listener.accept()
            self.connections += 1
            threading.Thread(target=self.one, args=(sock, self.connections), daemon=True).start()

    def one(self, sock, number):
        reader = Reader(sock)
        try:
            while True:
                line, fields = reader.head()
                reader.body(fields)
                self.whole.append((line, number))
                if not self.answer(sock, line):
                    return
        except Broken:
            pass
        except (ValueError, AssertionError) as error:  # what a proxy sends on is in the strict form
            self.strange.append(repr(error))
        except OSError:
            pass
        finally:
            sock.close()

    def answer(self, sock, line):
        if line.split()[1] != "/case":
            sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
            return True
        text, stays = self.case
        sock.sendall(text)
        if not stays:
            sock.shutdown(socket.SHUT_WR)
        return stays


# -- a hostile client -------------------------------------------------------------------------------------------------

def send(sock, text):
    try:
        sock.sendall(text)
    except OSError:
        pass  # it has answered and gone: that is read next


def judge_request(port, verdict, text):
    """Nothing, or what was wrong."""
    words = verdict.split()
    with connect(port) as sock:
        send(sock, text)
        if words[-1] == "wait":
            sock.shutdown(socket.SHUT_WR)
        reader = Reader(sock)
        for word in words:
            try:
                if word in ("ok", "last"):
                    answer = reader.answer()
                    if answer != (200, b"ok"):
                        return f"{answer[0]}, not 200"
                elif word == "wait":
                    if b" 200 " in reader.to_end():
                        return "answered, though it was not whole"
                else:
                    status = reader.answer()[0]
                    if status != int(word):
                        return f"{status}, not {word}"
            except Broken:
                if word in ("ok", "last"):
                    return "no answer"
        if words[-1] != "ok" and reader.to_end():
            return "octets behind the last answer" if words[-1] != "wait" else None
    return None


def count_wanted(verdict):
    return sum(word in ("ok", "last") for word in verdict.split())


def requests(origin, port, name):
    failures, count = [], 0
    for verdict, title, text in read(name, 3):
        before = len(origin.whole)
        try:
            wrong = judge_request(port, verdict, text)
        except TimeoutError:
            wrong = "neither an answer nor an end"
        passed = len(origin.whole) - before
        if wrong is None and passed != count_wanted(verdict):
            wrong = f"{passed} requests have arrived"
        if wrong is None and origin.strange:
            wrong = f"the server got {origin.strange.pop()}"
        if wrong is not None:
            failures.append(f"{name}: {title}: {wrong} ({verdict} is right)")
        count += 1
    return count, failures


# -- a hostile server -------------------------------------------------------------------------------------------------

def judge_response(origin, port, verdict, method, text):
    words = verdict.split()
    stays = words[0] not in ("cut", "502", "503") and "close" not in words
    origin.case = (text, stays)
    with connect(port) as sock:
        sock.sendall(f"{method} /case HTTP/1.1\r\nHost: a\r\n\r\n".encode())
        try:
            status = Reader(sock).answer(method)[0]
        except Broken:
            return None if words[0] == "cut" else "the connection ended"
    used = origin.whole[-1][1]
    if words[0] == "cut":
        return None if status == 502 else f"{status}, whole"
    if status != int(words[0]):
        return f"{status}, not {words[0]}"
    with connect(port) as sock:
        sock.sendall(b"GET /next HTTP/1.1\r\nHost: a\r\n\r\n")
        answer = Reader(sock).answer()
    if answer != (200, b"ok"):
        return f"the next one got {answer}"
    if "dirty" in words and origin.whole[-1][1] == used:
        return "the connection was used again"
    return None


def responses(origin, port, name):
    failures, count = [], 0
    for verdict, method, title, text in read(name, 4):
        try:
            wrong = judge_response(origin, port, verdict, method, text)
        except (Broken, TimeoutError):
            wrong = "no answer"
        if wrong is not None:
            failures.append(f"{name}: {title}: {wrong} ({verdict} is right)")
        count += 1
    return count, failures


def main():
    origin, failed = Origin(), 0
    with One(sys.argv[1], origin.port) as proxy:
        for run, port, name in ((requests, proxy.http1, "requests.txt"), (requests, proxy.lenient, "requests-lenient.txt"),
                                (responses, proxy.http1, "responses.txt")):
            begin = time.monotonic()
            count, failures = run(origin, port, name)
            print(*failures, f"{name}: {count - len(failures)} of {count} cases, {timed(begin)}", sep="\n", flush=True)
            failed += len(failures)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
