"""Protocols of which nobody has said a word, through two sidecars: who speaks first is served, nothing waits for a
deadline that need not, and what a server says first is never seen on the wire where both are meshed.

    mesh_detect_test.py <fairlead-proxy> <fairlead-control>

That nothing stalls is told by what the sidecars count: a detection that the deadline ended is one that stalled.
"""
import contextlib
import ssl
import struct
import time

import mesh_support as mesh
import proxy_support as support
from mesh_support import ROOT_NAMESPACE, Control, Tcp, Wire, sidecar, thing
from proxy_support import ADDRESS, FOLDER, Origin, Reader, eventually

POD = ADDRESS["b", 4]
SERVICE = "10.96.0.20"
SECRET = b"5.7.44-secret-banner"


# -- servers as their protocols begin ---------------------------------------------------------------------------------

MYSQL_GREETING = struct.pack("<I", 74)[:3] + b"\0\x0a" + SECRET + b"\0" + b"\x07\0\0\0" + b"saltsalt\0" + b"\xff\xff\x08" * 10


def mysql_server(sock):
    sock.sendall(MYSQL_GREETING)
    reader = Reader(sock)
    size = int.from_bytes(reader.exactly(4)[:3], "little")
    assert reader.exactly(size).startswith(b"login")
    sock.sendall(b"\x07\0\0\x02\0\0\0\x02\0\0\0")


def mysql_client(reader):
    assert reader.exactly(len(MYSQL_GREETING)) == MYSQL_GREETING
    reader.sock.sendall(b"\x05\0\0\x01login")
    assert reader.exactly(11)[4] == 0


def smtp_server(sock):
    reader = Reader(sock)
    sock.sendall(b"220 " + SECRET + b" ESMTP\r\n")
    while True:
        line = reader.until(b"\r\n")
        if line.startswith(b"QUIT"):
            sock.sendall(b"221 bye\r\n")
            return
        sock.sendall(b"250 " + line)


def smtp_client(reader):
    assert reader.until(b"\r\n").startswith(b"220 ")
    reader.sock.sendall(b"EHLO client\r\n")
    assert reader.until(b"\r\n") == b"250 EHLO client\r\n"
    reader.sock.sendall(b"QUIT\r\n")
    assert reader.until(b"\r\n") == b"221 bye\r\n"
    assert reader.to_end() == b""


def ssh_server(sock):
    """Both sides speak at once."""
    sock.sendall(b"SSH-2.0-" + SECRET + b"\r\n")
    reader = Reader(sock)
    assert reader.until(b"\r\n").startswith(b"SSH-2.0-")
    sock.sendall(b"kexinit of the server")


def ssh_client(reader):
    reader.sock.sendall(b"SSH-2.0-client\r\n")
    assert reader.until(b"\r\n").startswith(b"SSH-2.0-")
    assert reader.exactly(21) == b"kexinit of the server"


def mongo_server(sock):
    reader = Reader(sock)
    while True:
        head = reader.exactly(16)
        body = reader.exactly(int.from_bytes(head[:4], "little") - 16)
        sock.sendall(head + body)


def mongo_client(reader):
    message = struct.pack("<iiii", 16 + 40, 1, 0, 2013) + b"\0" * 4 + b"hello".ljust(36, b"\0")
    for _ in range(3):
        reader.sock.sendall(message)
        assert reader.exactly(len(message)) == message


def redis_server(sock):
    reader = Reader(sock)
    while True:
        count = int(reader.until(b"\r\n")[1:])
        for _ in range(count):
            reader.exactly(int(reader.until(b"\r\n")[1:]) + 2)
        sock.sendall(b"+PONG\r\n")


def redis_client(reader):
    for _ in range(3):
        reader.sock.sendall(b"*1\r\n$4\r\nPING\r\n")
        assert reader.until(b"\r\n") == b"+PONG\r\n"


def http_client(reader):
    reader.sock.sendall(support.get("/x", host="server.demo").encode())
    line, fields = reader.head()
    assert line.split()[1] == "200" and reader.body(fields) == b"ok"


def tls_server(sock):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(FOLDER / "app" / "cert-chain.pem", FOLDER / "app" / "key.pem")
    with context.wrap_socket(sock, server_side=True) as tls:
        mesh.serve_echo(tls)


def tls_client(reader):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(["h2", "http/1.1"])
    with context.wrap_socket(reader.sock, server_hostname="secure.example") as tls:
        tls.sendall(b"inside of the application's own TLS")
        assert tls.recv(100) == b"inside of the application's own TLS"


PROTOCOLS = {  # name of the port: (number, server, client, whether the server may speak first)
    "db": (9101, mysql_server, mysql_client, True), "mail": (9102, smtp_server, smtp_client, True),
    "shell": (9103, ssh_server, ssh_client, True), "docs": (9104, mongo_server, mongo_client, False),
    "cache": (9105, redis_server, redis_client, False), "web": (9106, mesh.serve_http, http_client, False),
    "secure": (9107, tls_server, tls_client, False),
    "mysql": (9108, mysql_server, mysql_client, True)}  # by its name: nothing is looked at
WATCHED = [name for name in PROTOCOLS if name != "mysql"]


class World:
    """What the tests share: they run in their order."""


def services():
    endpoint = {"addresses": [POD], "conditions": {"ready": True},
                "targetRef": {"kind": "Pod", "name": "server", "namespace": "demo"}}
    return [
        thing("Service", "many", "demo", spec={
            "clusterIP": SERVICE, "clusterIPs": [SERVICE], "selector": {"app": "server"},
            "ports": [{"name": name, "port": number, "targetPort": number} for name, (number, *_) in PROTOCOLS.items()]}),
        thing("EndpointSlice", "many-1", "demo", "discovery.k8s.io/v1", {"kubernetes.io/service-name": "many"},
              addressType="IPv4", endpoints=[endpoint],
              ports=[{"name": name, "port": number} for name, (number, *_) in PROTOCOLS.items()])]


def set_mode(mode):
    World.control.put("mode", mesh.policy("PeerAuthentication", "mesh", ROOT_NAMESPACE, {"mtls": {"mode": mode}}))
    eventually(lambda: (mesh.status(POD, 9106, as_proxy=True) == 200) == (mode != "STRICT"), f"{mode} is not in force")


def speak(name, to=SERVICE, **how):
    number, _, client, _ = PROTOCOLS[name]
    one = Tcp(to, number, **how)
    with contextlib.suppress(OSError), one.sock:
        client(one)
        return True
    return False


def deadlines():
    return sum(proxy.metric("fairlead_detections_total", result="deadline") for proxy in (World.a, World.b))


def detected(proxy, result):
    return proxy.metric("fairlead_detections_total", result=result)


# -- tests ------------------------------------------------------------------------------------------------------------

def test_through_two_sidecars():
    World.control = Control(objects=mesh.world() + services())
    World.control.start()
    support.make_ca("ca")
    support.make_identity("app", "spiffe://elsewhere/ns/app/sa/app")
    World.origins = {name: Origin(number, server) for name, (number, server, *_) in PROTOCOLS.items()}
    World.b, World.a = sidecar("b"), sidecar("a")
    World.wire = Wire()
    for mode in ("STRICT", "PERMISSIVE"):
        set_mode(mode)
        for to in (SERVICE, POD):
            for turn in range(3):
                for name in PROTOCOLS:
                    before = deadlines()
                    assert speak(name, to), f"{name} under {mode}, turn {turn}: no answer"
                    assert deadlines() == before, f"{name} under {mode}, turn {turn}: it waited for the deadline"
    assert detected(World.a, "server_first") >= 2 * 2 * 3 * 2
    assert detected(World.a, "http1") >= 2 * 2 * 3
    assert not World.wire.has(SECRET), "what the server said first is on the wire"
    assert not World.wire.has(b"EHLO client")


def test_a_quiet_client_of_http():
    """Longer quiet than the deadline, and HTTP all the same; also where the memory says that its server speaks first."""
    before = detected(World.a, "http1")
    late = Tcp(SERVICE, 9106)
    time.sleep(1.2)  # the deadline of detection is one second
    http_client(late)
    late.close()
    assert detected(World.a, "http1") == before + 1
    World.origins["db"].serve = mesh.serve_http
    for _ in range(2):
        odd = Tcp(SERVICE, 9101)
        http_client(odd)
        odd.close()
    World.origins["db"].serve = mysql_server
    assert detected(World.a, "http1") == before + 3, "what was learned has chosen"
    assert speak("db")


def test_a_trickle():
    """One byte after the other is HTTP in the end, or opaque at the deadline; others are served meanwhile."""
    slow = Tcp(SERVICE, 9106)
    load = mesh.Load(lambda: speak("cache") and speak("mail"))
    for byte in support.get("/slow", host="server.demo").encode():
        slow.sock.sendall(bytes([byte]))
        time.sleep(0.05)
    line, _ = slow.head()
    assert line.split()[1] == "200"
    slow.close()
    load.stop()


def test_plaintext_under_permissive():
    """A client without a sidecar: the server's first bytes come at the deadline, not before; TLS of its own passes."""
    for name in WATCHED:
        assert speak(name, POD, as_proxy=True), f"{name} in the clear"
    before = detected(World.b, "deadline")
    quiet = Tcp(POD, 9102, as_proxy=True)
    assert quiet.until(b"\r\n").startswith(b"220 ")
    assert detected(World.b, "deadline") == before + 1, "told before it could be known that the client is not meshed"
    quiet.close()


def test_a_flood_while_it_is_held():
    """A server that says more than fits waits in its socket."""
    flooded = []

    def flood(sock):
        sock.settimeout(0.5)
        with contextlib.suppress(TimeoutError, OSError):
            while True:
                flooded.append(sock.send(b"x" * 65536))

    World.origins["mail"].serve = flood
    before = World.b.private_kib()
    clients = [Tcp(POD, 9102, as_proxy=True) for _ in range(20)]
    eventually(lambda: sum(flooded) >= 20 * 65536, "nobody was dialled")
    assert World.b.private_kib() - before < support.SMALL + 20 * 512
    for client in clients:
        client.close()
    World.origins["mail"].serve = smtp_server
    assert speak("mail")


def test_strict_refuses_what_is_not_of_the_mesh():
    set_mode("STRICT")
    begun = {name: len(origin.peers) for name, origin in World.origins.items()}
    silent = [Tcp(POD, number, as_proxy=True) for number, _, _, first in PROTOCOLS.values() if first]
    for name, (_, _, _, first) in PROTOCOLS.items():
        with contextlib.suppress(OSError, EOFError):
            assert first or not speak(name, POD, as_proxy=True), f"{name}: a stranger was served"
    for one in silent:
        one.sock.settimeout(0.1)
        with contextlib.suppress(TimeoutError):
            assert one.sock.recv(1) == b"", "a stranger was greeted"
        one.close()
    assert {name: len(origin.peers) for name, origin in World.origins.items()} == begun, "a server was told of a stranger"
    for name in PROTOCOLS:
        assert speak(name), f"{name} from the mesh"
    for proxy in (World.a, World.b):
        proxy.stop()


def main():
    mesh.skip_unless_possible()
    mesh.make_pods()
    support.run_tests([test_through_two_sidecars, test_a_quiet_client_of_http, test_a_trickle, test_plaintext_under_permissive,
                       test_a_flood_while_it_is_held, test_strict_refuses_what_is_not_of_the_mesh])


if __name__ == "__main__":
    main()
