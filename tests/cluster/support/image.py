"""Images of the product's programs, made from the release build and given to the node's containerd. Nothing is pulled.

The agent's has /payload, and, for nodes whose kernel lacks nf_tables, Debian's iptables of the old implementation: the program that is
both restore and save, its libraries, and of its hundred extensions those that our rules are made of. 0.4 MB.
"""
import pathlib
import shutil
import tempfile

from . import place

USERS = {"fairlead-proxy": "1337:1337", "fairlead-agent": "0:0"}
PAYLOAD = place.PROGRAMS.parent / "cni-payload"  # what fairlead-agent puts on nodes: launcher, files/

IPTABLES = pathlib.Path("/usr/sbin/xtables-legacy-multi")
IPTABLES_NAMES = [f"{family}-legacy-{verb}" for family in ("iptables", "ip6tables") for verb in ("restore", "save")]
EXTENSIONS = {"standard", "comment", "conntrack", "multiport", "owner", "tcp", "udp", "CT", "REDIRECT"}  # as rules name them


def iptables(folder):
    """What stands around the program: the names that cni/capture/iptablestool looks for, and the extensions."""
    source = next(pathlib.Path("/usr/lib").glob("*/xtables"))
    programs, extensions = (folder / path.relative_to("/") for path in (IPTABLES.parent, source))
    for path in (programs, extensions):
        path.mkdir(parents=True)
    for name in IPTABLES_NAMES:
        (programs / name).symlink_to(IPTABLES.name)
    for name in sorted(EXTENSIONS):
        shutil.copy(source / f"libxt_{name}.so", extensions)  # REDIRECT's is a link to all of NAT's


def load(program, tag="test", user=None, payload=PAYLOAD):
    """The image's name: fairlead.local/<program without fairlead->:<tag>, entrypoint /<program>."""
    user = user or USERS.get(program, "65532:65532")
    name = f"fairlead.local/{program.removeprefix('fairlead-')}:{tag}"
    with tempfile.TemporaryDirectory(prefix="fl-image-") as scratch:
        options, more = [], []
        if program == "fairlead-agent":
            iptables(pathlib.Path(scratch))
            options, more = ["--helper", IPTABLES], [f"{payload}=/payload", f"{scratch}=/"]
        place.run(place.HERE / "load-image", "--program", place.PROGRAMS / program, *options, "--user", user, name, *more)
    return name
