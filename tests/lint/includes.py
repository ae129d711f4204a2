#!/usr/bin/env python3
"""The folder tree is the dependency graph (STYLE, "The shape").

An arrow that runs up ends the layering for everybody after it: the layer can no longer be built, tested or read alone.
The arrows that are allowed stand in layers.txt. Checked here too, because they keep the graph readable from the text:
  - a quoted include names a file from the project's root, and that file exists (generated ones apart);
  - a .c file includes its own header first, so that the header is known to stand alone;
  - a third-party header stays in the folder that wraps the library, in its .c files and out of our headers: so a program
    that links a folder knows which libraries come with it, and a library can be replaced in one place.
"""

import fnmatch
import pathlib

import csource
import layers
import rule

COMPONENTS = ("common", "webhook", "cni", "proxy", "control", "cli")

# Headers of libraries, and the folders that wrap them. Tests may use them all.
WRAPPED = {
    "cjson/*": ["common/doc"],
    "yaml.h": ["common/doc"],
    "openssl/*": ["common/pki", "common/tls"],
    "microhttpd.h": ["common/http"],
    "gnutls/*": ["common/http"],
    "curl/*": ["common/http", "common/kube"],
    "nghttp2/*": ["common/grpc", "proxy/http"],
    "protobuf-c/*": ["common/xds"],
    "*.pb-c.h": ["common/xds"],
    "libmnl/*": ["cni/capture"],
    "linux/netfilter/*": ["cni/capture"],
    "ares.h": ["proxy/upstream"],
    "pcre2.h": ["common/regex"],
    "zlib.h": [],
    "cmocka.h": [],
}


def place_of(name):
    """(component, room): the room is the sub-folder, or the file's own name where it stands in the component itself."""
    parts = name.split("/")
    return parts[0], parts[1] if len(parts) > 2 else pathlib.PurePath(name).stem


def check_arrow(drawing, name, line, target):
    source_component, source_room = place_of(name)
    component, room = place_of(target)
    if component == "tests":
        message = "the product includes nothing of the tests"
    elif component not in COMPONENTS:
        return
    elif source_component == component:
        if source_room == room or drawing.allows(component, source_room, room):
            return
        message = f"{component}/{source_room} may not include {component}/{room} (layers.txt)"
    elif drawing.allows("", source_component, component):
        return
    else:
        message = f"{source_component} may not include {component} (layers.txt)"
    yield rule.Finding(f"{name} {target}", f"{name}:{line}", message)


def check_wrapped(name, line, target):
    folder = str(pathlib.PurePath(name).parent)
    for pattern, folders in WRAPPED.items():
        if not fnmatch.fnmatchcase(target, pattern):
            continue
        if name.endswith(".h"):
            yield rule.Finding(f"{name} {target}", f"{name}:{line}", f"{target} in a header of ours")
        elif not any(folder == wrapper or folder.startswith(wrapper + "/") for wrapper in folders):
            yield rule.Finding(f"{name} {target}", f"{name}:{line}", f"{target} belongs to {' and '.join(folders) or 'nobody'}")
        return


def check_own_header(files, name, found):
    own = str(pathlib.PurePath(name).with_suffix(".h"))
    if name.endswith(".c") and own in files and (not found or found[0][1] != own):
        yield rule.Finding(f"{name} own-header", f"{name}:{found[0][0] if found else 1}", f"does not include {own} first")


def check_place(drawing, name):
    component, room = place_of(name)
    if component != "cli" and not drawing.knows(component, room):
        yield rule.Finding(f"{name} no-place", f"{name}:1", f"{component}/{room} has no place in layers.txt")


def check(tree):
    drawing = layers.Layers(pathlib.Path(__file__).with_name("layers.txt").read_text())
    files = set(tree.files)
    for name in tree.sources(*COMPONENTS, "tests"):
        found = list(csource.includes(tree.text(name)))
        product = not name.startswith("tests/")
        if product:
            yield from check_place(drawing, name)
        yield from check_own_header(files, name, found)
        for line, target, quoted in found:
            if quoted and target not in files and not target.endswith(".pb-c.h"):
                yield rule.Finding(f"{name} {target}", f"{name}:{line}", f'"{target}" is no file from the root')
                continue
            if product:
                yield from check_wrapped(name, line, target)
            if product and quoted:
                yield from check_arrow(drawing, name, line, target)


def sample(name, text, expected, *others):
    return name, {name: text, **{other: "" for other in others}}, expected


SAMPLES = [
    sample("proxy/net/a.c", '#include "common/loop/loop.h"\n#include "proxy/net/b.h"\n', [], "common/loop/loop.h", "proxy/net/b.h"),
    sample("proxy/net/up.c", '#include "proxy/http/h1.h"\n', ["proxy/net/up.c proxy/http/h1.h"], "proxy/http/h1.h"),
    sample("proxy/http/down.c", '#include "proxy/net/conn.h"\n', [], "proxy/net/conn.h"),
    sample("common/base/up.c", '#include "common/doc/json.h"\n', ["common/base/up.c common/doc/json.h"], "common/doc/json.h"),
    sample("common/doc/sibling.c", '#include "common/pki/key.h"\n', ["common/doc/sibling.c common/pki/key.h"], "common/pki/key.h"),
    sample("common/mesh/x.c", '#include "common/pki/key.h"\n', ["common/mesh/x.c common/pki/key.h"], "common/pki/key.h"),
    sample("common/pki/x.c", '#include "common/mesh/port.h"\n', ["common/pki/x.c common/mesh/port.h"], "common/mesh/port.h"),
    sample("common/base/knows.c", '#include "cni/capture/plan.h"\n', ["common/base/knows.c cni/capture/plan.h"], "cni/capture/plan.h"),
    sample("proxy/net/other.c", '#include "webhook/pod.h"\n', ["proxy/net/other.c webhook/pod.h"], "webhook/pod.h"),
    sample("cli/check.c", '#include "webhook/pod.h"\n#include "common/base/err.h"\n', [], "webhook/pod.h", "common/base/err.h"),
    sample("webhook/pod.c", '#include "webhook/main.h"\n', ["webhook/pod.c webhook/main.h"], "webhook/main.h"),
    sample("webhook/stranger.c", "", ["webhook/stranger.c no-place"]),
    sample("proxy/net/t.c", '#include "tests/support/fail.h"\n', ["proxy/net/t.c tests/support/fail.h"], "tests/support/fail.h"),
    sample("common/base/m.c", "#include <errno.h>\n", ["common/base/m.c own-header"], "common/base/m.h"),
    sample("common/base/m.c", '/* x */\n#include "common/base/m.h"\n#include <errno.h>\n', [], "common/base/m.h"),
    sample("common/base/m.c", '#include "map.h"\n', ["common/base/m.c map.h"], "common/base/map.h"),
    sample("common/doc/json.c", "#include <cjson/cJSON.h>\n", []),
    sample("common/base/json.c", "#include <cjson/cJSON.h>\n", ["common/base/json.c cjson/cJSON.h"]),
    sample("common/doc/json.h", "#include <cjson/cJSON.h>\n", ["common/doc/json.h cjson/cJSON.h"]),
    sample("proxy/tls/filter.c", "  #  include <openssl/ssl.h>\n", ["proxy/tls/filter.c openssl/ssl.h"]),
    sample("proxy/config/x.c", '#include "common/xds/proto/x.pb-c.h"\n', ["proxy/config/x.c common/xds/proto/x.pb-c.h"]),
    sample("common/base/c.c", '// #include "proxy/net/x.h"\n/*\n#include <yaml.h>\n*/\n', []),
    sample("tests/unit/common/x_test.c", '#include "common/base/err.h"\n#include <cmocka.h>\n#include <openssl/ssl.h>\n', [], "common/base/err.h"),
]

if __name__ == "__main__":
    rule.main(__file__, check, SAMPLES)
