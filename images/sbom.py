"""What is in an image, as SPDX 2.3 in JSON: the image, our program, the Debian packages that files were taken from, and every file."""
import hashlib
import json
import re
import uuid

from oci import when

NAMESPACE = uuid.UUID("6ba7b812-9dad-11d1-80b4-00c04fd430c8")  # RFC 4122's for object identifiers


def identifier(kind, text):
    return f"SPDXRef-{kind}-{re.sub(r'[^A-Za-z0-9.-]', '-', text.strip('/'))}"


def verification_code(files):
    """Of SPDX 2.3, 7.9: over the sorted SHA-1 sums of the files."""
    return hashlib.sha1("".join(sorted(hashlib.sha1(file.data).hexdigest() for file in files)).encode()).hexdigest()


def package(name, kind, version, **more):
    return {"SPDXID": identifier("Package", name), "name": name, "versionInfo": version, "downloadLocation": "NOASSERTION",
            "filesAnalyzed": False, "licenseConcluded": "NOASSERTION", "licenseDeclared": "NOASSERTION", "copyrightText": "NOASSERTION",
            "primaryPackagePurpose": kind, **more}


def debian_package(name, version, architecture, source, source_version):
    reference = f"pkg:deb/debian/{name}@{version.replace('+', '%2B').replace(':', '%3A')}?arch={architecture}&distro=debian-12"
    return package(name, "LIBRARY", version, supplier="Organization: Debian", sourceInfo=f"Debian's source package {source} {source_version}",
                   externalRefs=[{"referenceCategory": "PACKAGE-MANAGER", "referenceType": "purl", "referenceLocator": reference}])


def file_entry(path, file):
    sums = [{"algorithm": name, "checksumValue": hashlib.new(name.lower(), file.data).hexdigest()} for name in ("SHA1", "SHA256")]
    origin = f"from Debian's {file.package[0]} {file.package[1]}" if file.package else "made by this project"
    return {"SPDXID": identifier("File", path), "fileName": f".{path}", "checksums": sums, "comment": origin,
            "licenseConcluded": "NOASSERTION", "copyrightText": "NOASSERTION"}


def document(image, archive, version, seconds):
    """Text. It names the image by its digest, so it belongs to one image alone."""
    plain = {path: file for path, file in sorted(image.files.items()) if file.link is None}
    whole = package(image.program, "CONTAINER", version, packageFileName=archive.name, filesAnalyzed=True, licenseDeclared="Apache-2.0",
                    checksums=[{"algorithm": "SHA256", "checksumValue": archive.digest.partition(":")[2]}],
                    packageVerificationCode={"packageVerificationCodeValue": verification_code(plain.values())}, description=image.purpose)
    brought = sorted({file.package for file in plain.values() if file.package})
    packages = [whole, *(debian_package(*one) for one in brought)]
    files = [file_entry(path, file) for path, file in plain.items()]

    def relation(source, kind, target):
        return {"spdxElementId": source, "relationshipType": kind, "relatedSpdxElement": target}
    relations = [relation("SPDXRef-DOCUMENT", "DESCRIBES", whole["SPDXID"]),
                 *(relation(whole["SPDXID"], "CONTAINS", one["SPDXID"]) for one in (*packages[1:], *files))]
    return json.dumps({
        "spdxVersion": "SPDX-2.3", "dataLicense": "CC0-1.0", "SPDXID": "SPDXRef-DOCUMENT", "name": archive.name,
        "documentNamespace": f"urn:uuid:{uuid.uuid5(NAMESPACE, archive.digest)}",
        "creationInfo": {"created": when(seconds), "creators": [f"Tool: fairlead-images-build-{version}", "Organization: fairlead"]},
        "documentDescribes": [whole["SPDXID"]], "packages": packages, "files": files, "relationships": relations}, indent=1) + "\n"
