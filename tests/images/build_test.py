#!/usr/bin/env python3
"""The images that images/build makes: the same twice, nothing in them but what belongs there, and what the papers beside them say is true.

Arguments: the folder of a preset's build, its architecture, and what runs a program of it that this machine does not. In a pod they are tried by tests/cluster/lanes/images.py, from a clean clone by images/reproduce.
"""
import gzip
import hashlib
import io
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import unittest

TOP = pathlib.Path(__file__).resolve().parents[2]
BUILD, ARCH, EMULATOR = (pathlib.Path(sys.argv[1]).resolve(), sys.argv[2], sys.argv[3:4]) if len(sys.argv) > 2 else (TOP / "build" / "dev", "amd64", [])
EPOCH = 1700000000
TRIPLET, LOADER, MACHINE = {"amd64": ("x86_64-linux-gnu", "/lib64/ld-linux-x86-64.so.2", "Advanced Micro Devices X86-64"),
                            "arm64": ("aarch64-linux-gnu", "/lib/ld-linux-aarch64.so.1", "AArch64")}[ARCH]
SYSROOT = pathlib.Path("/") if ARCH == "amd64" else pathlib.Path(os.environ.get("FL_SYSROOT") or TOP / "build" / f"sysroot-{ARCH}")
ROOTS = "/etc/ssl/certs/ca-certificates.crt"
PROGRAMS = ["fairlead-webhook", "fairlead-keeper", "fairlead-control", "fairlead-proxy", "fairlead-agent", "fairlead"]


def build(*words, **environment):
    return subprocess.run([sys.executable, "-B", str(TOP / "images" / "build"), "--arch", ARCH, *map(str, words)], capture_output=True, text=True, check=False,
                          env={**os.environ, "SOURCE_DATE_EPOCH": str(EPOCH), **environment})


def sha256(data):
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


class Archive:
    """An OCI archive, read back; every digest on the way is checked."""

    def __init__(self, path):
        self.bytes = path.read_bytes()
        with tarfile.open(fileobj=io.BytesIO(self.bytes)) as tar:
            self.members = tar.getmembers()
            self.blobs = {member.name: tar.extractfile(member).read() for member in self.members if member.isfile()}
        self.index = json.loads(self.blobs["index.json"])
        self.manifest = json.loads(self.blob(self.index["manifests"][0]))
        self.config = json.loads(self.blob(self.manifest["config"]))
        self.squeezed = [self.blob(layer) for layer in self.manifest["layers"]]
        self.layers = [gzip.decompress(data) for data in self.squeezed]
        self.files = {}
        for data in self.layers:
            with tarfile.open(fileobj=io.BytesIO(data)) as tar:
                for member in tar.getmembers():
                    if not member.isdir():
                        self.files[f"/{member.name}"] = (member, tar.extractfile(member).read() if member.isfile() else b"")

    def blob(self, descriptor):
        data = self.blobs[f"blobs/sha256/{descriptor['digest'].partition(':')[2]}"]
        assert (sha256(data), len(data)) == (descriptor["digest"], descriptor["size"]), descriptor
        return data

    def unpack(self, folder):
        for data in self.layers:
            with tarfile.open(fileobj=io.BytesIO(data)) as tar:
                tar.extractall(folder)


class Images(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.scratch = pathlib.Path(tempfile.mkdtemp(prefix="fl-images-"))
        cls.addClassCleanup(shutil.rmtree, cls.scratch)
        cls.out = cls.scratch / "out"
        done = build("--build", BUILD, cls.out)
        assert done.returncode == 0, done.stderr
        cls.rows = {row["program"]: row for row in json.loads((cls.out / "images.json").read_text())}
        cls.archives = {program: Archive(cls.out / f"{program}.oci.tar") for program in PROGRAMS}

    def test_twice(self):
        """Other folder, other umask, other time zone, other language: the same bytes, papers too."""
        other = self.scratch / "a" / "deeper" / "one"
        subprocess.run(["sh", "-c", 'umask 077; exec "$0" "$@"', sys.executable, "-B", TOP / "images" / "build", "--arch", ARCH,
                        "--build", BUILD, other],
                       check=True, stdout=subprocess.DEVNULL, cwd="/",
                       env={**os.environ, "SOURCE_DATE_EPOCH": str(EPOCH), "TZ": "Pacific/Auckland", "LC_ALL": "C.UTF-8", "PYTHONHASHSEED": "7"})
        self.assertEqual(sorted(path.name for path in other.iterdir()), sorted(path.name for path in self.out.iterdir()))
        for path in self.out.iterdir():
            self.assertEqual(sha256(path.read_bytes()), sha256((other / path.name).read_bytes()), path.name)

    def test_another_time(self):
        """The time is in it: so the test above compares something."""
        other = self.scratch / "later"
        self.assertEqual(build("--build", BUILD, "fairlead-webhook", other, SOURCE_DATE_EPOCH="1700000001").returncode, 0)
        self.assertNotEqual(Archive(other / "fairlead-webhook.oci.tar").bytes, self.archives["fairlead-webhook"].bytes)

    def test_form(self):
        for program, archive in self.archives.items():
            with self.subTest(program):
                self.assertEqual(json.loads(archive.blobs["oci-layout"]), {"imageLayoutVersion": "1.0.0"})
                self.assertEqual(archive.index["manifests"][0]["digest"], self.rows[program]["digest"])
                self.assertEqual(archive.config["rootfs"], {"type": "layers", "diff_ids": [sha256(data) for data in archive.layers]})
                self.assertEqual(sum(map(len, archive.squeezed)), self.rows[program]["compressed"])
                used = [entry["digest"] for entry in (archive.index["manifests"][0], archive.manifest["config"], *archive.manifest["layers"])]
                self.assertEqual(sorted(archive.blobs), sorted(["index.json", "oci-layout", *(f"blobs/sha256/{one[7:]}" for one in used)]))
                for data in archive.squeezed:
                    self.assertEqual((data[3], data[4:8]), (0, bytes(4)), "gzip has a name or a time")
                for data in (archive.bytes, *archive.layers):
                    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
                        members = tar.getmembers()
                    for kind in (True, False):
                        names = [member.name for member in members if member.isdir() is kind]
                        self.assertEqual(names, sorted(names))
                    self.assertEqual({(one.uid, one.gid, one.uname, one.gname, one.mtime) for one in members}, {(0, 0, "", "", EPOCH)})

    def test_nothing_else(self):
        """The program, its loader and libraries, a list of users, roots for those that trust servers of the world: so no shell."""
        for program, archive in self.archives.items():
            roots = {ROOTS} if program in ("fairlead", "fairlead-control", "fairlead-proxy") else set()
            more = {path for path in archive.files if program == "fairlead-agent" and
                    (path.startswith(("/payload/", "/usr/sbin/ip")) or path == "/usr/sbin/xtables-legacy-multi" or "/xtables/" in path)}
            rest = set(archive.files) - {f"/{program}", LOADER, "/etc/passwd"} - roots - more
            with self.subTest(program):
                self.assertLessEqual({f"/{program}", LOADER, "/etc/passwd", f"/lib/{TRIPLET}/libc.so.6"} | roots, set(archive.files))
                self.assertEqual({path for path in rest if not re.fullmatch(rf"/lib/{TRIPLET}/lib[\w+.-]+\.so\.[\d.]+", path)}, set())
                modes = {path: oct(member.mode) for path, (member, _) in archive.files.items() if member.mode & 0o7022 and not member.issym()}
                self.assertEqual(modes, {}, "somebody else may write it, or it runs as another user")
        self.assertEqual(len([path for path in self.archives["fairlead-agent"].files if path.startswith("/usr/sbin/")]), 5)

    def test_one_machine(self):
        """Every program and library in it is for the image's machine, and finds what it names: its loader, its libraries."""
        for program, archive in self.archives.items():
            with self.subTest(program), tempfile.TemporaryDirectory(prefix="fl-root-") as root:
                archive.unpack(root)
                self.assertEqual({one["platform"]["architecture"] for one in archive.index["manifests"]} | {archive.config["architecture"]}, {ARCH})
                ours = [path for path, (member, data) in archive.files.items() if member.isfile() and data.startswith(b"\x7fELF")]
                self.assertGreater(len(ours), 3)
                for path in ours:
                    self.check_elf(path, root, archive)

    def check_elf(self, path, root, archive):
        text = subprocess.run(["readelf", "--wide", "--file-header", "--program-headers", "--dynamic", f"{root}{path}"], capture_output=True, text=True,
                              check=True, env={**os.environ, "LC_ALL": "C"}).stdout
        self.assertEqual(re.search(r"Machine: +(.+)", text)[1], MACHINE, path)
        payload = path.startswith("/payload/files/")  # nodes have them in one folder, and start them by its ld.so
        loader = re.search(r"Requesting program interpreter: (\S+)\]", text)
        if loader:
            self.assertEqual(loader[1], LOADER, path)
            self.assertIn("/payload/files/ld.so" if payload else loader[1], archive.files, path)
        for soname in re.findall(r"\(NEEDED\)\s+Shared library: \[(.+?)\]", text):
            if soname != pathlib.Path(LOADER).name:
                self.assertIn(f"/payload/files/{soname}" if payload else f"/lib/{TRIPLET}/{soname}", archive.files, path)

    def test_settings(self):
        users = {"fairlead-proxy": "1337:1337", "fairlead-agent": "0:0"}
        for program, archive in self.archives.items():
            with self.subTest(program):
                config = archive.config["config"]
                user = users.get(program, "65532:65532")
                self.assertEqual((config["User"], config["Entrypoint"]), (user, [f"/{program}"]))
                self.assertIn(f":x:{user}:", archive.files["/etc/passwd"][1].decode())
                self.assertEqual(archive.config["created"], "2023-11-14T22:13:20Z")
                for name in ("title", "version", "revision", "licenses", "created", "description"):
                    self.assertTrue(config["Labels"][f"org.opencontainers.image.{name}"])
                self.assertEqual(config["Labels"], archive.manifest["annotations"])

    def test_size(self):
        """What a pod costs its node: the proxy's image is the one that counts."""
        unpacked = sum(len(data) for _, data in self.archives["fairlead-proxy"].files.values())
        self.assertEqual(unpacked, self.rows["fairlead-proxy"]["unpacked"])
        self.assertLessEqual(unpacked, 12 * 2**20)

    @unittest.skipIf(os.getuid() != 0, "needs root")
    def test_starts(self):
        """With nothing around it but what the image holds."""
        for program, archive in self.archives.items():
            with self.subTest(program), tempfile.TemporaryDirectory(prefix="fl-root-") as root:
                archive.unpack(root)
                inside = [f"/{pathlib.Path(shutil.copy(shutil.which(word), root)).name}" for word in EMULATOR]  # static: it needs nothing else
                done = subprocess.run(["chroot", root, *inside, f"/{program}", "--version"], capture_output=True, text=True, check=False, timeout=20)
                self.assertRegex(done.stdout + done.stderr, r"\d+\.\d+\.\d+")
                self.assertEqual(done.returncode, 0, done.stderr)

    def test_bill_of_materials(self):
        """SPDX 2.3: all that its clauses 6 to 11 ask for; and it says what is in the image, and nothing else."""
        for program, archive in self.archives.items():
            with self.subTest(program):
                self.check_spdx(json.loads((self.out / f"{program}.spdx.json").read_text()), program, archive)

    def check_spdx(self, said, program, archive):
        self.assertEqual((said["spdxVersion"], said["dataLicense"], said["SPDXID"]), ("SPDX-2.3", "CC0-1.0", "SPDXRef-DOCUMENT"))
        self.assertRegex(said["documentNamespace"], r"^urn:uuid:[0-9a-f-]{36}$")
        self.assertEqual(said["creationInfo"]["created"], "2023-11-14T22:13:20Z")
        self.assertTrue(said["name"] and all(re.match(r"(Tool|Organization|Person): .+", one) for one in said["creationInfo"]["creators"]))
        identifiers = [one["SPDXID"] for one in (said, *said["packages"], *said["files"])]
        self.assertEqual(len(identifiers), len(set(identifiers)))
        for one in identifiers:
            self.assertRegex(one, r"^SPDXRef-[A-Za-z0-9.-]+$")
        for one in said["relationships"]:
            self.assertLessEqual({one["spdxElementId"], one["relatedSpdxElement"]}, set(identifiers))
        self.assertIn({"spdxElementId": "SPDXRef-DOCUMENT", "relationshipType": "DESCRIBES", "relatedSpdxElement": f"SPDXRef-Package-{program}"},
                      said["relationships"])
        image, *debian = said["packages"]
        for one in said["packages"]:
            self.assertTrue(one["name"] and one["versionInfo"] and one["downloadLocation"])
            self.assertIs(one["filesAnalyzed"], one is image)
        self.assertEqual(image["checksums"], [{"algorithm": "SHA256", "checksumValue": archive.index["manifests"][0]["digest"][7:]}])
        for one in debian:
            form = ["dpkg-query", f"--admindir={SYSROOT / 'var/lib/dpkg'}", "--show", "--showformat=${Version}\t${Architecture}", one["name"]]
            version, arch = subprocess.run(form, capture_output=True, text=True, check=True).stdout.split("\t")
            self.assertEqual(version, one["versionInfo"])
            self.assertIn(f"?arch={arch}&", one["externalRefs"][0]["referenceLocator"])
            self.assertIn(arch, (ARCH, "all"))
            self.assertRegex(one["externalRefs"][0]["referenceLocator"], rf"^pkg:deb/debian/{re.escape(one['name'])}@\S+\?arch=\w+&distro=debian-12$")
        self.assertLessEqual({"libc6", "libssl3"} if program != "fairlead-agent" else {"libc6", "iptables"}, {one["name"] for one in debian})
        plain = {path: data for path, (member, data) in archive.files.items() if member.isfile()}
        sums = {f".{path}": {"SHA1": hashlib.sha1(data).hexdigest(), "SHA256": hashlib.sha256(data).hexdigest()} for path, data in plain.items()}
        self.assertEqual({one["fileName"]: {row["algorithm"]: row["checksumValue"] for row in one["checksums"]} for one in said["files"]}, sums)
        code = hashlib.sha1("".join(sorted(row["SHA1"] for row in sums.values())).encode()).hexdigest()
        self.assertEqual(image["packageVerificationCode"], {"packageVerificationCodeValue": code})

    def test_wrong_words(self):
        for words, code, said in ((["fairlead-proxi", "out"], 2, "fairlead-proxi: no such image; there are: fairlead-webhook"),
                                  (["fairlead-proxy"], 2, "OUT, the folder for the archives, is missing"), ([], 2, "OUT"),
                                  (["--build", "nowhere", self.scratch / "x"], 1, "nowhere/bin/fairlead-webhook is not there")):
            with self.subTest(words):
                done = build(*words)
                self.assertEqual(done.returncode, code, done.stderr)
                self.assertIn(said, done.stderr)
        done = build("--build", BUILD, self.scratch / "x", SOURCE_DATE_EPOCH="yesterday")
        self.assertEqual(done.returncode, 1)
        self.assertIn("set SOURCE_DATE_EPOCH to seconds since 1970", done.stderr)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1], verbosity=2)
