"""What is on the wire between two pods: captures the node's frames and judges the bytes of every TCP stream.

A stream passes when everything in it, in both directions, is TLS records and nothing else: content types 20 to 23, legacy
version 3.1 or 3.3, lengths within the limit (RFC 8446 §5.1), the first record of the client a ClientHello."""
import collections
import select
import socket
import struct
import threading

from . import netns

ETH_P_ALL, ETH_P_IP, ETH_P_IPV6, TCP, SO_RCVBUFFORCE = 3, 0x0800, 0x86DD, 6, 33


class Capture:
    """Records TCP payloads on every device of the node's namespace (each frame passes two: the pods' ends of the bridge),
    from its making to stop()."""

    def __init__(self, namespace):
        with netns.entered(namespace):
            self.socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
            self.socket.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 16 << 20)
        self.segments = collections.defaultdict(dict)  # (source, destination) → sequence number → bytes
        self.syn, self.frames = {}, 0
        self.wake_in, self.wake_out = socket.socketpair()
        self.thread = threading.Thread(target=self.collect, daemon=True)
        self.thread.start()

    def collect(self):
        while True:
            ready, _, _ = select.select([self.socket, self.wake_out], [], [])
            if self.socket in ready:
                self.take(self.socket.recv(65536 + 64))
            elif self.wake_out in ready:
                return

    def take(self, frame):
        kind = struct.unpack_from("!H", frame, 12)[0]
        if kind == ETH_P_IP and frame[23] == TCP:
            size = (frame[14] & 15) * 4
            total = struct.unpack_from("!H", frame, 16)[0]
            ends = socket.inet_ntop(socket.AF_INET, frame[26:30]), socket.inet_ntop(socket.AF_INET, frame[30:34])
            segment = frame[14 + size:14 + total]
        elif kind == ETH_P_IPV6 and frame[20] == TCP:
            total = struct.unpack_from("!H", frame, 18)[0]
            ends = socket.inet_ntop(socket.AF_INET6, frame[22:38]), socket.inet_ntop(socket.AF_INET6, frame[38:54])
            segment = frame[54:54 + total]
        else:
            return
        self.frames += 1
        source, destination, sequence = struct.unpack_from("!HHI", segment)
        flow = (ends[0], source), (ends[1], destination)
        if segment[13] & 2:
            self.syn[flow] = sequence
            sequence += 1
        payload = segment[(segment[12] >> 4) * 4:]
        if payload:
            known = self.segments[flow].get(sequence, b"")
            self.segments[flow][sequence] = max(known, payload, key=len)

    def stop(self):
        """Takes what is still queued, then ends."""
        self.wake_in.send(b"x")
        self.thread.join()
        self.socket.close()
        self.wake_in.close()
        self.wake_out.close()

    def streams(self, address):
        """The payload of every flow to or from an address: (source, destination) → bytes, in sequence order."""
        found = {}
        for flow, segments in self.segments.items():
            if address not in (flow[0][0], flow[1][0]):
                continue
            data, expected = b"", self.syn.get(flow, min(segments) - 1) + 1
            for sequence in sorted(segments):
                payload = segments[sequence]
                if sequence < expected:
                    payload, sequence = payload[expected - sequence:], expected
                if sequence != expected:
                    raise RuntimeError(f"a gap in the capture of {flow}")
                data, expected = data + payload, expected + len(payload)
            found[flow] = data
        return found


def not_tls(data, from_client):
    """Why these bytes are not TLS records alone; None where they are. A last record may be cut by the capture's end."""
    offset = 0
    while offset < len(data):
        if len(data) - offset < 5:
            return None if offset else "too short for a record"
        kind, major, minor, length = struct.unpack_from("!BBBH", data, offset)
        if not 20 <= kind <= 23 or major != 3 or minor not in (1, 3) or length > 16384 + 256:
            return f"at byte {offset}: {data[offset:offset + 24]!r}"
        if offset == 0 and (kind != 22 or data[5] != (1 if from_client else 2)):
            return "does not begin with a handshake"
        offset += 5 + length
    return None
