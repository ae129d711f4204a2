"""An app with every kind of probe, for pods that have the machine's Python: HTTP on 8080, TCP on 9000, gRPC health on 9090.

What it is asked it says on standard output. SIGTERM ends it.
"""
import concurrent.futures
import http.server
import signal
import socket
import threading

import grpc


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        body = b"app_answers_total 1\n" if self.path == "/metrics" else b"hello\n"
        print("asked", self.path, flush=True)
        self.send_response(200)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class Server(http.server.ThreadingHTTPServer):
    def server_bind(self):
        socket.socket.bind(self.socket, self.server_address)
        self.server_name, self.server_port = "app", self.server_address[1]


class Health(grpc.GenericRpcHandler):
    def service(self, details):
        print("asked", details.method, flush=True)
        return grpc.unary_unary_rpc_method_handler(lambda request, context: b"\x08\x01")


def main():
    tcp = socket.create_server(("0.0.0.0", 9000))
    server = grpc.server(concurrent.futures.ThreadPoolExecutor(2), handlers=[Health()])
    assert server.add_insecure_port("0.0.0.0:9090") == 9090
    server.start()
    web = Server(("0.0.0.0", 8080), Handler)
    threading.Thread(target=web.serve_forever, daemon=True).start()
    print("serves", flush=True)
    signal.sigwait({signal.SIGTERM})
    print("ends", flush=True)
    tcp.close()


signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
main()
