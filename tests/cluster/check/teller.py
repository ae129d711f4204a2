"""An HTTP server that tells what it was asked, for pods that have the machine's Python.

    teller.py NAME [broken | flaky]     broken: 503 always; flaky: 503 and 200 by turns
"""
import http.server
import json
import socket
import sys
import threading

NAME, HOW = sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else ""
turn = threading.Lock()
count = 0


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        global count
        with turn:
            count += 1
            bad = HOW == "broken" or (HOW == "flaky" and count % 2 == 1)
        said = {"pod": NAME, "path": self.path, "host": self.headers["Host"], "count": count,
                "headers": {key.lower(): value for key, value in self.headers.items()}}
        body = json.dumps(said).encode() + b"\n"
        self.send_response(503 if bad else 200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class Server(http.server.ThreadingHTTPServer):
    def server_bind(self):
        socket.socket.bind(self.socket, self.server_address)
        self.server_name, self.server_port = NAME, self.server_address[1]


Server(("0.0.0.0", 8080), Handler).serve_forever()
