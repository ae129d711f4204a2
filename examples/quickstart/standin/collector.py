"""A collector of spans: takes OTLP/HTTP requests (protobuf) on the node, and keeps what they say.

The few fields that are read are picked out of the wire format by number (opentelemetry/proto/trace/v1/trace.proto), so
that nothing has to be installed."""
import http.server
import threading

from . import netns

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5


def varint(data, at):
    value, shift = 0, 0
    while True:
        byte = data[at]
        value |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            return value, at


def fields(data):
    """(number, value) of each field of a message."""
    at = 0
    while at < len(data):
        key, at = varint(data, at)
        kind = key & 7
        if kind == VARINT:
            value, at = varint(data, at)
        elif kind == BYTES:
            size, at = varint(data, at)
            value, at = data[at:at + size], at + size
        else:
            size = {FIXED64: 8, FIXED32: 4}[kind]
            value, at = data[at:at + size], at + size
        yield key >> 3, value


def texts(attributes):
    """KeyValue messages whose value is a string."""
    found = {}
    for attribute in attributes:
        parts = dict(fields(attribute))
        value = dict(fields(parts.get(2, b"")))
        if 1 in value:
            found[parts[1].decode()] = value[1].decode()
    return found


def spans_of(request):
    """The spans of an ExportTraceServiceRequest: dicts of trace, span, parent, name, kind, service."""
    for number, resource_spans in fields(request):
        if number != 1:
            continue
        parts = list(fields(resource_spans))
        resource = [value for n, value in parts if n == 1]
        service = texts([v for n, v in fields(resource[0]) if n == 1]).get("service.name") if resource else None
        for scope in (value for n, value in parts if n == 2):
            for span in (value for n, value in fields(scope) if n == 2):
                known = {n: v for n, v in fields(span) if n != 9}
                yield {"trace": known[1].hex(), "span": known[2].hex(), "parent": known.get(4, b"").hex(),
                       "name": known.get(5, b"").decode(), "kind": known.get(6, 0), "service": service}


class Collector:
    """Listens in a network namespace until stop()."""

    def __init__(self, namespace, port=4318):
        self.spans, self.arrived = [], threading.Condition()
        collector = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                with collector.arrived:
                    collector.spans += spans_of(body)
                    collector.arrived.notify_all()
                self.send_response(200)
                self.send_header("Content-Type", "application/x-protobuf")
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_):
                pass

        with netns.entered(namespace):
            self.server = http.server.ThreadingHTTPServer(("0.0.0.0", port), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def wait(self, wanted, seconds=5):
        """The spans for which `wanted` answers true of all that came, as soon as it does."""
        with self.arrived:
            return self.arrived.wait_for(lambda: wanted(self.spans), seconds)

    def stop(self):
        self.server.shutdown()
        self.server.server_close()
