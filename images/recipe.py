"""What each image holds: a table, and the files that follow from it.

An image is one program: it, the loader and the libraries that it names, /etc/passwd, and for those that may have to trust servers of
the world Debian's CA roots. No shell, no other program, no package manager. Only the agent's holds more: what it puts on nodes, and iptables
for nodes whose kernel lacks nf_tables.
"""
import pathlib
import stat
import subprocess
import tempfile

from origin import Missing, TRIPLETS, debian as debian_for

MIB = 1024 * 1024
ROOTS = "/usr/share/ca-certificates/mozilla"  # Debian's own: what an administrator added is not taken over
IPTABLES = pathlib.PurePath("/usr/sbin/xtables-legacy-multi")  # restore and save of both families, by the name that it is called
IPTABLES_NAMES = [f"{family}-legacy-{verb}" for family in ("iptables", "ip6tables") for verb in ("restore", "save")]
EXTENSIONS = {"standard", "comment", "conntrack", "multiport", "owner", "tcp", "udp", "CT", "REDIRECT"}  # as our rules name them
STRIP = {"amd64": "strip", "arm64": "aarch64-linux-gnu-strip"}

#                     user    CA roots  what it is
IMAGES = {
    "fairlead-webhook": (65532, False, "admission: brings pods into the mesh"),
    "fairlead-keeper": (65532, False, "keeps the webhook's certificate"),
    "fairlead-control": (65532, True, "the control plane: configuration and identities of the proxies"),
    "fairlead-proxy": (1337, True, "the data plane: sidecar and gateway"),
    "fairlead-agent": (0, False, "the node agent: keeps the CNI plugin in its node's chain"),
    "fairlead": (65532, True, "the command line"),
}
LIMITS = {"fairlead-proxy": 12 * MIB}  # unpacked


class File:
    """One file of an image. data: bytes; link: where a symbolic link points; package: Debian's, or None for what is ours."""

    def __init__(self, data=b"", mode=0o644, link=None, package=None):
        self.data, self.mode, self.link, self.package = data, mode, link, package


class Image:
    """layers: [{path: File}], the one that changes least first: what comes from Debian, then what is ours."""

    def __init__(self, program, arch, build, payload=None):
        self.program, self.arch, self.build = program, arch, pathlib.Path(build)
        self.user, self.roots, self.purpose = IMAGES[program]
        self.limit = LIMITS.get(program)
        file = self.build / "bin" / program
        if not file.exists():
            raise Missing(f"{file} is not there: build the preset {self.build.name} first")
        system = debian_for(arch)
        debian = {path: debian_file(system, source) for path, source in system.libraries(file).items()}
        debian["/etc/passwd"] = File(passwd(self.user))
        if self.roots:
            debian["/etc/ssl/certs/ca-certificates.crt"] = ca_roots(system)
        ours = {f"/{program}": File(stripped(file, arch), 0o755)}
        if program == "fairlead-agent":
            debian |= iptables(system)
            ours |= tree(payload or self.build / "cni-payload", "/payload")
        self.layers = [debian, ours]

    @property
    def files(self):
        return {path: file for layer in self.layers for path, file in layer.items()}

    @property
    def size(self):
        return sum(len(file.data) for file in self.files.values())


def debian_file(system, path, mode=0o755):
    return File(path.read_bytes(), mode, package=system.package_of(path))


def passwd(user):
    lines = ["root:x:0:0:root:/:/sbin/nologin"] + ([f"fairlead:x:{user}:{user}:fairlead:/:/sbin/nologin"] if user else [])
    return "".join(f"{line}\n" for line in lines).encode()


def ca_roots(system):
    """As update-ca-certificates would make them of a fresh installation."""
    paths = sorted(system.at(ROOTS).glob("*.crt"))
    if not paths:
        raise Missing(f"{system.at(ROOTS)} holds no certificates: install the package ca-certificates")
    return File(b"".join(path.read_bytes() for path in paths), package=system.package_of(paths[0]))


def stripped(file, arch):
    """Without symbols and what debuggers read: the build keeps those. The build id stays."""
    with tempfile.TemporaryDirectory(prefix="fl-strip-") as folder:
        copy = pathlib.Path(folder) / "copy"
        done = subprocess.run([STRIP[arch], "--strip-all", "-o", copy, file], stderr=subprocess.PIPE, text=True, check=False)
        if done.returncode != 0:
            raise Missing(f"{STRIP[arch]} {file}: {done.stderr.strip()}")
        return copy.read_bytes()


def tree(folder, place):
    """All files of a folder; who may run them is the owner's bit for all."""
    if not folder.is_dir():
        raise Missing(f"{folder} is not there: build the preset {folder.parent.name} first")
    return {f"{place}/{path.relative_to(folder)}": File(path.read_bytes(), 0o755 if path.stat().st_mode & stat.S_IXUSR else 0o644)
            for path in sorted(folder.rglob("*")) if path.is_file()}


def iptables(system):
    """0.4 MB: the program under the names that cni/capture looks for, and of its hundred extensions those of our rules."""
    program = system.at(IPTABLES)
    if not program.exists():
        raise Missing(f"{program} is not there: install the package iptables")
    found = {path: debian_file(system, source) for path, source in system.libraries(program).items()}
    found[str(IPTABLES)] = debian_file(system, program)
    for name in IPTABLES_NAMES:
        found[str(IPTABLES.parent / name)] = File(mode=0o777, link=IPTABLES.name)
    for name in EXTENSIONS:
        path = f"/usr/lib/{TRIPLETS[system.arch]}/xtables/libxt_{name}.so"
        found[path] = debian_file(system, system.file(path), 0o644)
    return found
