#!/usr/bin/env python3
"""WebSocket through two sidecars: the cases that Autobahn's test suite numbers 1 to 7, 9, 10, 12 and 13, as facts in a client of our own
that speaks frames octet by octet; the server is Node's ws. Each case directly, and through the mesh, where it must end the same way.

    websocket.py PROXY CONTROL TOOLS
"""
import pathlib
import struct
import sys
import tempfile
import time
import zlib

import node
import two

WS_VERSION = "8.21.0"
SKIPPED = 77
TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10
MASK = b"\x37\xfa\x21\x3d"
SERVER = """
const { WebSocketServer } = require('ws');
const server = new WebSocketServer({ port: +process.argv[2], host: '::', perMessageDeflate: {}, maxPayload: 64 << 20 });
server.on('connection', socket => {
  socket.on('message', (data, binary) => socket.send(data, { binary }));
  socket.on('error', () => {});
});
"""


class Ended(Exception):
    """The connection has ended."""


def masked(payload):
    count = len(payload)
    key = (MASK * (count // 4 + 1))[:count]
    return (int.from_bytes(payload, "big") ^ int.from_bytes(key, "big")).to_bytes(count, "big") if count else b""


def frame(opcode, payload=b"", fin=True, rsv=0):
    head = bytes([fin << 7 | rsv << 4 | opcode])
    size = len(payload)
    head += bytes([0x80 | size]) if size < 126 else b"\xfe" + struct.pack(">H", size) if size < 65536 else b"\xff" + struct.pack(">Q", size)
    return head + MASK + masked(payload)


class Connection:
    """A WebSocket after its handshake."""

    def __init__(self, dial, extension=""):
        self.sock, self.rest = dial(), bytearray()
        fields = f"Sec-WebSocket-Extensions: {extension}\r\n" if extension else ""
        self.sock.sendall(f"GET / HTTP/1.1\r\nHost: server\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: "
                          f"dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n{fields}\r\n".encode())
        while b"\r\n\r\n" not in self.rest:
            self.more()
        head, _, rest = bytes(self.rest).partition(b"\r\n\r\n")
        self.rest = bytearray(rest)
        assert head.startswith(b"HTTP/1.1 101 ") and b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" in head, head
        self.extension = extension != "" and b"permessage-deflate" in head

    def more(self):
        try:
            piece = self.sock.recv(1 << 18)
        except ConnectionError:
            piece = b""
        if not piece:
            raise Ended
        self.rest += piece

    def exactly(self, count):
        while len(self.rest) < count:
            self.more()
        part = bytes(self.rest[:count])
        del self.rest[:count]
        return part

    def frame(self):
        """(opcode, fin, rsv, payload)"""
        first, size = self.exactly(2)
        assert size < 128, "the server masks"
        size = struct.unpack(">H", self.exactly(2))[0] if size == 126 else struct.unpack(">Q", self.exactly(8))[0] if size == 127 else size
        return first & 15, bool(first & 128), first >> 4 & 7, self.exactly(size)

    def message(self, inflate=None):
        """(opcode, payload) of the next message or control frame."""
        opcode, fin, rsv, payload = self.frame()
        parts = [payload]
        while not fin:
            _, fin, _, payload = self.frame()
            parts.append(payload)
        payload = b"".join(parts)
        if rsv == 4:
            payload = inflate.decompress(payload + b"\0\0\xff\xff")
        return opcode, payload

    def send(self, data, chop=None):
        try:
            for at in range(0, len(data), chop or len(data) or 1):
                self.sock.sendall(data[at:at + (chop or len(data))])
        except OSError:
            pass  # it has gone already: that is read next

    def close(self):
        """The closing handshake by us."""
        self.send(frame(CLOSE, struct.pack(">H", 1000)))
        assert self.message() == (CLOSE, struct.pack(">H", 1000)), "no close"
        self.end()

    def end(self):
        """The server ends the connection."""
        try:
            while True:
                self.exactly(1)
        except Ended:
            pass


# A case: what is sent (bytes, or pieces of that many octets), the messages that must come back, how it ends: "clean" (we close), codes
# (the server closes with one of them, or drops the connection).
def case(sent, back=(), ends="clean", chop=None):
    return sent, list(back), ends, chop


PROTOCOL, DATA = (1002,), (1007,)
HELLO = "Hello-µ@ßöäüàá-UTF-8!!".encode()


def sizes():
    for name, opcode, octet in (("1.1", TEXT, b"*"), ("1.2", BINARY, b"\xfe")):
        for number, size in enumerate((0, 125, 126, 127, 128, 65535, 65536), 1):
            yield f"{name}.{number}", case(frame(opcode, octet * size), [(opcode, octet * size)])
        yield f"{name}.8", case(frame(opcode, octet * 65536), [(opcode, octet * 65536)], chop=997)


def pings():
    odd = b"\x00\xff\xfe\xfd\xfc\xfb\x00\xff"
    yield "2.1", case(frame(PING), [(PONG, b"")])
    yield "2.2", case(frame(PING, b"Hello, world!"), [(PONG, b"Hello, world!")])
    yield "2.3", case(frame(PING, odd), [(PONG, odd)])
    yield "2.4", case(frame(PING, b"\xfe" * 125), [(PONG, b"\xfe" * 125)])
    yield "2.5", case(frame(PING, b"\xfe" * 126), ends=PROTOCOL)
    yield "2.6", case(frame(PING, b"\xfe" * 125), [(PONG, b"\xfe" * 125)], chop=1)
    yield "2.7", case(frame(PONG))
    yield "2.8", case(frame(PONG, b"unsolicited"))
    yield "2.9", case(frame(PONG, b"unsolicited") + frame(PING, b"ping"), [(PONG, b"ping")])
    ten = [b"payload-%d" % number for number in range(10)]
    for name, chop in (("2.10", None), ("2.11", 1)):
        yield name, case(b"".join(frame(PING, one) for one in ten), [(PONG, one) for one in ten], chop=chop)


def reserved():
    good, echo = frame(TEXT, b"Hello, world!"), [(TEXT, b"Hello, world!")]
    yield "3.1", case(frame(TEXT, b"Hello, world!", rsv=1), ends=PROTOCOL)
    for name, rsv, chop in (("3.2", 2, None), ("3.3", 3, None), ("3.4", 4, 1)):
        yield name, case(good + frame(TEXT, b"Hello, world!", rsv=rsv) + frame(PING), echo, PROTOCOL, chop)
    yield "3.5", case(frame(BINARY, b"\x00\xff" * 4, rsv=5), ends=PROTOCOL)
    yield "3.6", case(frame(PING, b"Hello, world!", rsv=6), ends=PROTOCOL)
    yield "3.7", case(frame(CLOSE, rsv=7), ends=PROTOCOL)
    for section, codes in (("4.1", (3, 4, 5, 6, 7)), ("4.2", (11, 12, 13, 14, 15))):
        yield f"{section}.1", case(frame(codes[0]), ends=PROTOCOL)
        yield f"{section}.2", case(frame(codes[1], b"reserved opcode payload"), ends=PROTOCOL)
        yield f"{section}.3", case(good + frame(codes[2]) + frame(PING), echo, PROTOCOL)
        yield f"{section}.4", case(good + frame(codes[3], b"reserved opcode payload") + frame(PING), echo, PROTOCOL)
        yield f"{section}.5", case(good + frame(codes[4], b"reserved opcode payload") + frame(PING), echo, PROTOCOL, 1)


def fragments():
    one, both = b"fragment1", b"fragment1fragment2"
    start, rest = frame(TEXT, one, fin=False), frame(0, b"fragment2")
    yield "5.1", case(frame(PING, one, fin=False) + rest, ends=PROTOCOL)
    yield "5.2", case(frame(PONG, one, fin=False) + rest, ends=PROTOCOL)
    for name, chop in (("5.3", None), ("5.4", 19), ("5.5", 1)):
        yield name, case(start + rest, [(TEXT, both)], chop=chop)
    for name, chop in (("5.6", None), ("5.7", 19), ("5.8", 1)):
        yield name, case(start + frame(PING, b"ping payload") + rest, [(PONG, b"ping payload"), (TEXT, both)], chop=chop)
    for name, fin, chop in (("5.9", True, None), ("5.10", True, 19), ("5.11", True, 1), ("5.12", False, None), ("5.13", False, 19),
                            ("5.14", False, 1)):
        yield name, case(frame(0, b"non-continuation payload", fin=fin) + frame(TEXT, b"Hello, world!"), ends=PROTOCOL, chop=chop)
    yield "5.15", case(start + rest + frame(0, b"fragment3", fin=False) + frame(TEXT, b"fragment4"), [(TEXT, both)], PROTOCOL)
    for name, fin in (("5.16", False), ("5.17", True)):
        yield name, case((frame(0, one, fin=fin) + frame(TEXT, b"fragment2", fin=False) + frame(0, b"fragment3")) * 2, ends=PROTOCOL)
    yield "5.18", case(start + frame(TEXT, b"fragment2"), ends=PROTOCOL)
    pieces = [b"fragment%d" % number for number in range(1, 6)]
    many = frame(TEXT, pieces[0], fin=False) + frame(0, pieces[1], fin=False) + frame(PING, b"pongme 1!") + frame(0, pieces[2], fin=False) \
        + frame(0, pieces[3], fin=False) + frame(PING, b"pongme 2!") + frame(0, pieces[4])
    for name, chop in (("5.19", None), ("5.20", 1)):
        yield name, case(many, [(PONG, b"pongme 1!"), (PONG, b"pongme 2!"), (TEXT, b"".join(pieces))], chop=chop)


def utf8():
    yield "6.1.1", case(frame(TEXT), [(TEXT, b"")])
    yield "6.1.2", case(frame(TEXT, fin=False) + frame(0, fin=False) + frame(0), [(TEXT, b"")])
    yield "6.1.3", case(frame(TEXT, fin=False) + frame(0, b"middle frame payload", fin=False) + frame(0), [(TEXT, b"middle frame payload")])
    yield "6.2.1", case(frame(TEXT, HELLO), [(TEXT, HELLO)])
    yield "6.2.2", case(frame(TEXT, HELLO[:12], fin=False) + frame(0, HELLO[12:]), [(TEXT, HELLO)])
    octets = lambda text: frame(TEXT, text[:1], fin=False) + b"".join(frame(0, text[i:i + 1], fin=False) for i in range(1, len(text))) + frame(0)  # noqa: E731
    yield "6.2.3", case(octets(HELLO), [(TEXT, HELLO)])
    kosme = "κόσμε".encode()
    yield "6.2.4", case(octets(kosme), [(TEXT, kosme)])
    bad = kosme + b"\xed\xa0\x80edited"
    yield "6.3.1", case(frame(TEXT, bad), ends=DATA)
    yield "6.3.2", case(octets(bad), ends=DATA)
    beyond = kosme + b"\xf4\x90\x80\x80"
    yield "6.4.1", case(frame(TEXT, beyond[:12], fin=False) + frame(0, beyond[12:], fin=False) + frame(0, b"edited"), ends=DATA)
    yield "6.4.2", case(frame(TEXT, beyond[:13], fin=False) + frame(0, beyond[13:], fin=False) + frame(0, b"edited"), ends=DATA)
    yield "6.4.3", case(frame(TEXT, beyond + b"edited"), ends=DATA, chop=13)
    yield "6.4.4", case(frame(TEXT, beyond + b"edited"), ends=DATA, chop=1)
    good = [kosme, b"\x00", "\u0080".encode(), "\u0800".encode(), "\U00010000".encode(), b"\x7f", "\u07ff".encode(), "\uffff".encode(),
            "\U0010ffff".encode(), "\ud7ff".encode(), "\ue000".encode(), "\ufffd".encode(), "\ufffe".encode(), "\U0001fffe".encode(),
            "\U000ffffe".encode(), "\U000fffff".encode(), b"\xef\xbb\xbf", kosme * 500]
    for number, text in enumerate(good, 1):
        yield f"6.5+{number}", case(frame(TEXT, text), [(TEXT, text)])
    wrong = [b"\xf8\x88\x80\x80\x80", b"\xfc\x84\x80\x80\x80\x80", b"\xf7\xbf\xbf\xbf", b"\xfb\xbf\xbf\xbf\xbf", b"\xf4\x90\x80\x80", b"\x80", b"\xbf",
             b"\x80\xbf", b"\x80\xbf\x80", b"\x80\xbf" * 3, bytes(range(0x80, 0xc0)), b"".join(bytes([i, 32]) for i in range(0xc0, 0xe0)),
             b"".join(bytes([i, 32]) for i in range(0xe0, 0xf0)), b"".join(bytes([i, 32]) for i in range(0xf0, 0xf8)), b"\xc0", b"\xe0\x80", b"\xf0\x80\x80",
             b"\xdf", b"\xef\xbf", b"\xf7\xbf\xbf", b"\xfe", b"\xff", b"\xfe\xfe\xff\xff", b"\xc0\xaf", b"\xe0\x80\xaf", b"\xf0\x80\x80\xaf",
             b"\xc1\xbf", b"\xe0\x9f\xbf", b"\xf0\x8f\xbf\xbf", b"\xc0\x80", b"\xe0\x80\x80", b"\xf0\x80\x80\x80", b"\xed\xa0\x80", b"\xed\xad\xbf",
             b"\xed\xae\x80", b"\xed\xaf\xbf", b"\xed\xb0\x80", b"\xed\xbe\x80", b"\xed\xbf\xbf", b"\xed\xa0\x80\xed\xb0\x80", b"\xed\xaf\xbf\xed\xbf\xbf",
             kosme[:3], kosme[:1], b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce"]
    for number, text in enumerate(wrong, 1):
        yield f"6.8+{number}", case(frame(TEXT, text), ends=DATA)


def closes():
    def code(number, reason=b""):
        return frame(CLOSE, struct.pack(">H", number) + reason)

    good, echo, bye = frame(TEXT, b"Hello World!"), [(TEXT, b"Hello World!")], (CLOSE, struct.pack(">H", 1000))
    yield "7.1.1", case(good, echo)
    yield "7.1.2", case(code(1000) * 2, [bye], ())
    yield "7.1.3", case(code(1000) + frame(PING), [bye], ())
    yield "7.1.4", case(code(1000) + good, [bye], ())
    yield "7.1.5", case(frame(TEXT, b"fragment1", fin=False) + code(1000) + frame(0, b"fragment2"), [bye], ())
    yield "7.1.6", case(frame(TEXT, b"x" * (256 << 10)) + good + code(1000) + frame(PING), [(TEXT, b"x" * (256 << 10)), *echo, bye], ())
    yield "7.3.1", case(frame(CLOSE), [(CLOSE, b"")], ())
    yield "7.3.2", case(frame(CLOSE, b"a"), ends=PROTOCOL)
    yield "7.3.3", case(code(1000), [bye], ())
    yield "7.3.4", case(code(1000, b"Hello World!"), [None], ())
    yield "7.3.5", case(code(1000, b"*" * 123), [None], ())
    yield "7.3.6", case(code(1000, b"*" * 124), ends=PROTOCOL)
    yield "7.5.1", case(code(1000, b"\xce\xba\xed\xa0\x80edited"), ends=(1007, 1002))
    for number, one in enumerate((1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999), 1):
        yield f"7.7.{number}", case(code(one), [(CLOSE, struct.pack(">H", one))], ())
    for number, one in enumerate((0, 999, 1004, 1005, 1006, 1016, 1100, 2000, 2999), 1):
        yield f"7.9.{number}", case(code(one), ends=PROTOCOL)
    for number, one in enumerate((5000, 65535), 1):
        yield f"7.13.{number}", case(code(one), ends=PROTOCOL)


def limits():
    for name, opcode in (("9.1", TEXT), ("9.2", BINARY)):
        for number, size in enumerate((64 << 10, 256 << 10, 1 << 20, 4 << 20, 8 << 20, 16 << 20), 1):
            yield f"{name}.{number}", case(frame(opcode, b"*" * size), [(opcode, b"*" * size)])
    for name, opcode in (("9.3", TEXT), ("9.4", BINARY)):
        for number, size in enumerate((64, 256, 1 << 10, 4 << 10, 16 << 10, 64 << 10, 256 << 10, 1 << 20, 4 << 20), 1):
            total = 4 << 20
            sent = frame(opcode, b"*" * size, fin=False) + frame(0, b"*" * size, fin=False) * (total // size - 1) + frame(0)
            yield f"{name}.{number}", case(sent, [(opcode, b"*" * total)])
    for name, opcode in (("9.5", TEXT), ("9.6", BINARY)):
        for number, chop in enumerate((64, 128, 256, 512, 1024, 2048), 1):
            yield f"{name}.{number}", case(frame(opcode, b"*" * (1 << 20)), [(opcode, b"*" * (1 << 20))], chop=chop)
    for name, opcode in (("9.7", TEXT), ("9.8", BINARY)):
        for number, size in enumerate((0, 16, 64, 256, 1024, 4096), 1):
            yield f"{name}.{number}", case(frame(opcode, b"*" * size) * 1000, [(opcode, b"*" * size)] * 1000)
    sent = frame(TEXT, b"*" * 1300, fin=False) + frame(0, b"*" * 1300, fin=False) * 49 + frame(0, b"*" * (65536 - 50 * 1300))
    yield "10.1.1", case(sent, [(TEXT, b"*" * 65536)])


def run_case(dial, sent, back, ends, chop):
    connection = Connection(dial)
    with connection.sock:
        feeder = None
        if len(sent) > 65536:  # echoes come while we send
            import threading
            feeder = threading.Thread(target=connection.send, args=(sent, chop), daemon=True)
            feeder.start()
        else:
            connection.send(sent, chop)
        for wanted in back:
            got = connection.message()
            if wanted is None:
                assert got[0] == CLOSE, got[0]
            else:
                assert got == wanted, f"{got[0]} with {len(got[1])} octets, not {wanted[0]} with {len(wanted[1])}"
        if feeder is not None:
            feeder.join()
        if ends == "clean":
            connection.close()
            return
        try:
            while ends:
                opcode, payload = connection.message()
                assert opcode == CLOSE and struct.unpack(">H", payload[:2])[0] in ends, (opcode, payload[:30])
                break
        except Ended:
            pass
        connection.end()


EXTENSIONS = {"12": "permessage-deflate", "13.1": "permessage-deflate; client_no_context_takeover",
              "13.2": "permessage-deflate; server_no_context_takeover", "13.3": "permessage-deflate; client_max_window_bits=9",
              "13.4": "permessage-deflate; server_max_window_bits=9",
              "13.5": "permessage-deflate; server_no_context_takeover; client_no_context_takeover; server_max_window_bits=9"}


def run_compressed(dial, extension, size):
    """A hundred messages, each other one in fragments."""
    connection = Connection(dial, extension)
    assert connection.extension, "no compression"
    bits, fresh = 9 if "client_max" in extension else 15, "client_no" in extension
    deflate, inflate = zlib.compressobj(wbits=-bits), zlib.decompressobj(wbits=-15)
    body = (b'{"id": 4711, "name": "WebSocket", "text": "compressed by both ends"} ' * (size // 70 + 1))[:size]
    with connection.sock:
        for number in range(100 if size < 65536 else 20):
            packed = (deflate.compress(body) + deflate.flush(zlib.Z_SYNC_FLUSH))[:-4]
            half = len(packed) // 2
            connection.send(frame(TEXT, packed, rsv=4) if number % 2 else
                            frame(TEXT, packed[:half], fin=False, rsv=4) + frame(0, packed[half:]))
            if "server_no" in extension:
                inflate = zlib.decompressobj(wbits=-15)
            got = connection.message(inflate)
            assert got == (TEXT, body), f"message {number}: {len(got[1])} octets"
            if fresh:
                deflate = zlib.compressobj(wbits=-bits)
        connection.close()


def cases():
    """name: what to call with `dial`"""
    for group in (sizes, pings, reserved, fragments, utf8, closes, limits):
        for name, one in group():
            yield name, lambda dial, one=one: run_case(dial, *one)
    for name, extension in EXTENSIONS.items():
        for number, size in enumerate((16, 64, 256, 1024, 4096, 8192, 16384, 32768, 65536, 131072), 1):
            yield f"{name}.{number}", lambda dial, extension=extension, size=size: run_compressed(dial, extension, size)


def judge(title, dial):
    begin, failures, count = time.monotonic(), [], 0
    for name, run in cases():
        count += 1
        try:
            run(dial)
        except Ended:
            failures.append(f"{title}: {name}: the connection ended")
        except (AssertionError, OSError, zlib.error) as error:
            failures.append(f"{title}: {name}: {str(error)[:200] or type(error).__name__}")
    print(*failures, f"WebSocket, {title}: {count - len(failures)} of {count} cases, {time.monotonic() - begin:.1f} s", sep="\n", flush=True)
    return len(failures)


def main():
    modules = pathlib.Path(sys.argv[3]) / "node"
    if not node.install(modules, "ws", WS_VERSION):
        print("skipped: Node with its package ws is not here")
        return SKIPPED
    two.up()
    port = two.PORTS["http"]
    with tempfile.NamedTemporaryFile("w", suffix=".js") as script:
        script.write(SERVER)
        script.flush()
        two.start("b", ["node", script.name, port], port=port, env=node.environment(modules))
        failed = judge("directly", lambda: two.support.dial("b", "127.0.0.1", port))
        failed += judge("through two sidecars", lambda: two.support.dial("a", two.SERVICE, port))
    two.alive()
    two.check_carried("http")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
