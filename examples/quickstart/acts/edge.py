"""The way in from outside: a Gateway with HTTP and HTTPS, into the mesh by mutual TLS."""
import base64
import string

from standin import netns
from world import EXAMPLES

HOST = "shop.example"


class Edge:
    def __init__(self, world):
        self.world, self.report = world, world.report

    def play(self):
        world = self.world
        world.openssl_leaf(world.pki, "edge", f"DNS:{HOST}")
        encoded = {f"TLS_{part.upper()}": base64.b64encode((world.pki / f"edge.{part}").read_bytes()).decode()
                   for part in ("crt", "key")}
        world.cluster.apply("gateway.yaml", string.Template((EXAMPLES / "mesh/gateway.yaml").read_text()).substitute(encoded))
        world.edge, _ = world.create("edge")
        container = world.edge.spec["containers"][0]
        world.edge.start(container, world.edge.volumes, {"gateway": world.programs["fairlead-proxy"]})
        world.cluster.run(world.edge)
        started = world.edge.wait_started(container, 10)
        self.report.claim(started, "a proxy in the gateway role takes its listeners from the control plane", world.why(world.edge, "gateway"))
        self.check("http", 8080)
        self.check("https", 8443, "--cacert", str(world.pki / "root.crt"))
        code, status, _ = self.curl("http", 8080, "other.example")
        self.report.claim(code == 0 and status == 404, "a host that no route names is answered 404", f"exit {code}, {status}")

    def curl(self, scheme, port, host, *options):
        address = self.world.edge.ip(4)
        done = netns.inside(self.world.node, "curl", "-sS", "-m", "5", "--noproxy", "*", "--resolve", f"{host}:{port}:{address}",
                            "-D", "-", "-w", "\n%{http_code}", *options, f"{scheme}://{host}:{port}/", check=False)
        text, _, status = done.stdout.rpartition("\n")
        return done.returncode, int(status or 0), text + done.stderr

    def check(self, scheme, port, *options):
        code, status, text = self.curl(scheme, port, HOST, *options)
        self.report.claim(code == 0 and status == 200 and "treasure" in text and "x-came-through: edge" in text,
                          f"a request from outside over {scheme.upper()} reaches the server through the gateway",
                          f"exit {code}, {status}: {text[-300:]}")
