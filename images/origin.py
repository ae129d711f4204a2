"""Where the files of an image come from: the libraries that a program asks for, and the Debian packages that brought them.

Nothing is run for that: readelf reads what a program names (DT_NEEDED, the loader), and the files are looked for where the loader of
Debian looks. So it works for programs of another architecture, whose libraries lie beside ours (Multi-Arch).
"""
import functools
import pathlib
import re
import subprocess

TRIPLETS = {"amd64": "x86_64-linux-gnu", "arm64": "aarch64-linux-gnu"}
CROSS_ROOT = "/usr/{}/lib"  # of libc6-<arch>-cross, where there is no Multi-Arch libc6


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


def folders(arch):
    triplet = TRIPLETS[arch]
    return [pathlib.Path(f"/lib/{triplet}"), pathlib.Path(f"/usr/lib/{triplet}"), pathlib.Path(CROSS_ROOT.format(triplet))]


def find(soname, arch, who):
    for folder in folders(arch):
        if (folder / soname).exists():
            return (folder / soname).resolve()
    raise Missing(f"{who} needs {soname}, which is not there for {arch}")


def libraries(file, arch):
    """{path in the image: file}: all that the loader maps for this program, the loader first."""
    loader, names = named_by(file)
    if loader is None:
        raise Missing(f"{file}: not a dynamically linked program")
    found = {loader: find(pathlib.Path(loader).name, arch, file)}
    waiting = list(names)
    while waiting:
        soname = waiting.pop()
        place = f"/lib/{TRIPLETS[arch]}/{soname}"
        if place in found or soname == pathlib.Path(loader).name:
            continue
        found[place] = find(soname, arch, file)
        waiting += named_by(found[place])[1]
    return found


@functools.cache
def owners():
    """{path as dpkg knows it: package}, of all that an image may take from Debian: one question for all is a hundred times faster."""
    found = {}
    for line in output("dpkg-query", "--search", "*.so*", "*/xtables-legacy-multi", "*/ca-certificates/mozilla/*").splitlines():
        names, _, path = line.rpartition(": ")
        found[path] = names.split(", ")[0]
    return found


@functools.cache
def about(package):
    form = "${Package}\t${Version}\t${Architecture}\t${source:Package}\t${source:Version}\n"
    return tuple(output("dpkg-query", "--show", f"--showformat={form}", package).splitlines()[0].split("\t"))


def package_of(file):
    """(name, version, architecture, source, source's version) of the Debian package that a file belongs to."""
    for path in (str(file), str(file).removeprefix("/usr"), f"/usr{file}"):  # it knows some files by where they were before /usr was merged
        if path in owners():
            return about(owners()[path])
    raise Missing(f"{file} belongs to no Debian package")
