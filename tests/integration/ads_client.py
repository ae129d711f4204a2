"""A raw ADS client over Python's grpc, with just enough protobuf to speak: for tests of fairlead-control.

    stream = ads_client.Stream("127.0.0.1:15012", "sidecar~…", form="delta", metadata={"FAIRLEAD_DISCOVERY": "on-demand"})
    stream.ask(CDS)                       # delta: subscribe=, unsubscribe=, known={name: version}
    answer = stream.next()                # .type, .nonce, .resources {name: (version, bytes)}, .removed
    stream.acknowledge(answer)            # or stream.refuse(answer, "why")
"""
import queue
import threading

import grpc

from wire import field, fields

PREFIX = "type.googleapis.com/envoy."
CDS, EDS = PREFIX + "config.cluster.v3.Cluster", PREFIX + "config.endpoint.v3.ClusterLoadAssignment"
LDS, RDS = PREFIX + "config.listener.v3.Listener", PREFIX + "config.route.v3.RouteConfiguration"
SDS = PREFIX + "extensions.transport_sockets.tls.v3.Secret"
SERVICE = "/envoy.service.discovery.v3.AggregatedDiscoveryService/"
WAIT_S = 20


def texts(message, number):
    return [value.decode() for key, value in fields(message) if key == number]


class Answer:
    def __init__(self, message, delta):
        parts = fields(message)
        text = {key: value.decode() for key, value in parts if key in (1, 4, 5) and isinstance(value, bytes)}
        self.version, self.type, self.nonce = text.get(1, ""), text.get(4, ""), text.get(5, "")
        self.removed = [value.decode() for key, value in parts if key == 6] if delta else []
        self.resources, self.ttl = {}, {}
        for key, value in parts:
            if key == 2:
                self.take(value, delta)

    def take(self, value, delta):
        inner = dict(fields(value))
        if not delta:
            resource = inner.get(2, b"")
            self.resources[dict(fields(resource))[1].decode()] = (None, resource)
            return
        name = inner[3].decode()
        self.resources[name] = (inner[1].decode(), dict(fields(inner[2])).get(2, b""))
        if 6 in inner:
            self.ttl[name] = dict(fields(inner[6])).get(1, 0)


class Stream:
    def __init__(self, address, node, form="delta", metadata=None, channel=None, headers=None):
        self.delta = form == "delta"
        self.channel = channel or grpc.insecure_channel(address, [("grpc.max_receive_message_length", 1 << 26)])
        self.node = field(1, node) + field(3, b"".join(
            field(1, field(1, key) + field(2, field(3, value))) for key, value in (metadata or {}).items()))
        self.requests, self.answers = queue.Queue(), queue.Queue()
        self.names = {}
        method = "DeltaAggregatedResources" if self.delta else "StreamAggregatedResources"
        self.call = self.channel.stream_stream(SERVICE + method, request_serializer=None, response_deserializer=None)(
            iter(self.requests.get, None), metadata=headers)
        threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        try:
            for message in self.call:
                self.answers.put(Answer(message, self.delta))
        except grpc.RpcError as error:
            self.answers.put(error)

    def send(self, message):
        self.requests.put((field(1 if self.delta else 2, self.node) if self.node else b"") + message)
        self.node = None

    def ask(self, kind, subscribe=(), unsubscribe=(), known=None, nonce="", error=None):
        detail = b"\x08\x0d" + field(2, error) if error else None
        if self.delta:
            self.send(field(2, kind) + b"".join(field(3, name) for name in subscribe)
                      + b"".join(field(4, name) for name in unsubscribe)
                      + b"".join(field(5, field(1, name) + field(2, version)) for name, version in (known or {}).items())
                      + (field(6, nonce) if nonce else b"") + (field(7, detail) if detail else b""))
        else:
            self.names[kind] = list(subscribe) or self.names.get(kind, [])
            self.send(b"".join(field(3, name) for name in self.names[kind]) + field(4, kind)
                      + (field(5, nonce) if nonce else b"") + (field(6, detail) if detail else b""))

    def next(self, wait_s=WAIT_S):
        answer = self.answers.get(timeout=wait_s)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def quiet(self, wait_s=0.3):
        """Whether nothing comes for so long."""
        try:
            answer = self.answers.get(timeout=wait_s)
        except queue.Empty:
            return True
        self.answers.put(answer)
        return False

    def acknowledge(self, answer):
        self.ask(answer.type, nonce=answer.nonce)

    def refuse(self, answer, reason):
        self.ask(answer.type, nonce=answer.nonce, error=reason)

    def close(self):
        self.requests.put(None)
        self.call.cancel()
        self.channel.close()
