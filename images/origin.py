"""Where the files of an image come from: the libraries that a program asks for, and the Debian packages that brought them.

Nothing is run for that: readelf reads what a program names (DT_NEEDED, the loader), and the files are looked for where the loader of
Debian looks. So it works for programs of another architecture, whose packages cmake/sysroot unpacks into a folder (Debian).
"""
import functools
import os
import pathlib
import re
import subprocess

TRIPLETS = {"amd64": "x86_64-linux-gnu", "arm64": "aarch64-linux-gnu"}
TOP = pathlib.Path(__file__).resolve().parents[1]


class Missing(Exception):
    """Something that an image needs is not on this machine."""


def output(*words):
    done = subprocess.run([str(word) for word in words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=False,
                          env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C"})
    if done.returncode != 0:
        raise Missing(f"{' '.join(map(str, words))}: {done.stderr.strip() or done.returncode}")
    return done.stdout


@functools.cache
def named_by(file):
    """(loader or None, sonames) of an ELF file."""
    text = output("readelf", "--wide", "--program-headers", "--dynamic", file)
    loader = re.search(r"Requesting program interpreter: (\S+)\]", text)
    return loader and loader[1], re.findall(r"\(NEEDED\)\s+Shared library: \[(.+?)\]", text)


class Debian:
    """Debian as it is installed on this machine, or for another architecture as cmake/sysroot unpacked it."""

    def __init__(self, arch):
        self.arch, self.root = arch, pathlib.Path("/")
        if arch != "amd64":
            self.root = pathlib.Path(os.environ.get("FL_SYSROOT") or TOP / "build" / f"sysroot-{arch}").resolve()
            if not (self.root / "made-by").exists():
                raise Missing(f"{self.root} is not there: cmake/sysroot makes it")

    def at(self, path):
        """Where the file lies that an image has at this path."""
        return self.root / str(path).lstrip("/")

    def file(self, path):
        """The same, symbolic links followed; an error if there is none."""
        found = self.at(path).resolve()
        if not found.is_relative_to(self.root):
            raise Missing(f"{self.at(path)} leads out of {self.root}")
        return found

    def find(self, soname, who):
        for folder in ("/lib", "/usr/lib"):
            path = f"{folder}/{TRIPLETS[self.arch]}/{soname}"
            if self.at(path).exists():
                return self.file(path)
        raise Missing(f"{who} needs {soname}, which is not there for {self.arch}")

    def libraries(self, program):
        """{path in the image: file}: all that the loader maps for this program, the loader first."""
        loader, names = named_by(program)
        if loader is None:
            raise Missing(f"{program}: not a dynamically linked program")
        found = {loader: self.find(pathlib.Path(loader).name, program)}
        waiting = list(names)
        while waiting:
            soname = waiting.pop()
            place = f"/lib/{TRIPLETS[self.arch]}/{soname}"
            if place in found or soname == pathlib.Path(loader).name:
                continue
            found[place] = self.find(soname, program)
            waiting += named_by(found[place])[1]
        return found

    def ask(self, *words):
        return output("dpkg-query", f"--admindir={self.root / 'var/lib/dpkg'}", *words)

    @functools.cached_property
    def owners(self):
        """{path as dpkg knows it: package}, of all that an image may take from Debian: one question for all is a hundred times faster."""
        found = {}
        for line in self.ask("--search", "*.so*", "*/xtables-legacy-multi", "*/ca-certificates/mozilla/*").splitlines():
            names, _, path = line.rpartition(": ")
            found[path] = names.split(", ")[0]
        return found

    @functools.cache
    def about(self, package):
        form = "${Package}\t${Version}\t${Architecture}\t${source:Package}\t${source:Version}\n"
        return tuple(self.ask("--show", f"--showformat={form}", package).splitlines()[0].split("\t"))

    def package_of(self, file):
        """(name, version, architecture, source, source's version) of the Debian package that a file belongs to."""
        known = f"/{file.relative_to(self.root)}"
        for path in (known, known.removeprefix("/usr"), f"/usr{known}"):  # it knows some files by where they were before /usr was merged
            if path in self.owners:
                return self.about(self.owners[path])
        raise Missing(f"{file} belongs to no Debian package")


@functools.cache
def debian(arch):
    return Debian(arch)
