"""An image as an OCI archive (image-spec 1.1): layers, configuration, manifest, index, in one tar that containerd, podman and skopeo read.

Nothing in it depends on when, where or by whom it is made: names sorted, owners 0, times those of the commit, modes from the recipe,
gzip without a time or a name. json is written with sorted keys.
"""
import gzip
import hashlib
import io
import json
import tarfile
import time

LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
CONFIG = "application/vnd.oci.image.config.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"


class Archive:
    """data: the archive; digest: the manifest's; compressed: what a node fetches, in bytes."""

    def __init__(self, name, data, digest, compressed):
        self.name, self.data, self.digest, self.compressed = name, data, digest, compressed


def when(seconds):
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


def digest(data):
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def canonical(value):
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def entry(path, seconds, mode):
    info = tarfile.TarInfo(path.lstrip("/"))
    info.mtime, info.mode = seconds, mode
    return info


def folders_of(paths):
    """Every folder on the way to them."""
    return {"/".join(parts[:count]) for path in paths for parts in [path.lstrip("/").split("/")] for count in range(1, len(parts))}


def pack(files, seconds):
    """A tar of {path: File}; the folders come first, then all in the order of their names."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for folder in sorted(folders_of(files)):
            info = entry(folder, seconds, 0o755)
            info.type = tarfile.DIRTYPE
            tar.addfile(info)
        for path, file in sorted(files.items()):
            info = entry(path, seconds, file.mode)
            if file.link is not None:
                info.type, info.linkname = tarfile.SYMTYPE, file.link
            info.size = len(file.data)
            tar.addfile(info, io.BytesIO(file.data))
    return out.getvalue()


def squeeze(data):
    out = io.BytesIO()
    with gzip.GzipFile(filename="", mode="wb", fileobj=out, compresslevel=6, mtime=0) as file:
        file.write(data)
    return out.getvalue()


def descriptor(kind, data, **more):
    return {"mediaType": kind, "digest": digest(data), "size": len(data), **more}


def labels(image, version, revision, seconds):
    return {"org.opencontainers.image.title": image.program, "org.opencontainers.image.description": image.purpose,
            "org.opencontainers.image.version": version, "org.opencontainers.image.revision": revision,
            "org.opencontainers.image.created": when(seconds), "org.opencontainers.image.licenses": "Apache-2.0",
            "org.opencontainers.image.vendor": "fairlead"}


def archive(image, name, version, revision, seconds):
    """Of a recipe.Image, under a name with a tag."""
    tars = [pack(layer, seconds) for layer in image.layers]
    layers = [squeeze(data) for data in tars]
    history = [{"created": when(seconds), "created_by": f"images/build ({what})"} for what in ("Debian's files", "ours")]
    config = canonical({
        "architecture": image.arch, "os": "linux", "created": when(seconds), "history": history,
        "config": {"Entrypoint": [f"/{image.program}"], "User": f"{image.user}:{image.user}", "WorkingDir": "/",
                   "Env": ["PATH=/:/usr/sbin"], "Labels": labels(image, version, revision, seconds)},
        "rootfs": {"type": "layers", "diff_ids": [digest(data) for data in tars]}})
    manifest = canonical({
        "schemaVersion": 2, "mediaType": MANIFEST, "annotations": labels(image, version, revision, seconds),
        "config": descriptor(CONFIG, config), "layers": [descriptor(LAYER, data) for data in layers]})
    repository, _, tag = name.rpartition(":")
    known = repository if "." in repository.split("/")[0] else f"docker.io/{repository}"  # as the kubelet completes a short name
    index = canonical({"schemaVersion": 2, "mediaType": INDEX, "manifests": [descriptor(
        MANIFEST, manifest, platform={"architecture": image.arch, "os": "linux"},
        annotations={"io.containerd.image.name": f"{known}:{tag}", "org.opencontainers.image.ref.name": tag})]})
    blobs = {f"blobs/sha256/{digest(data).partition(':')[2]}": data for data in (config, manifest, *layers)}
    files = {"oci-layout": b'{"imageLayoutVersion":"1.0.0"}', "index.json": index, **blobs}
    return Archive(name, pack({path: Plain(data) for path, data in files.items()}, seconds), digest(manifest), sum(map(len, layers)))


class Plain:
    """A file of the archive itself."""
    mode, link = 0o644, None

    def __init__(self, data):
        self.data = data
