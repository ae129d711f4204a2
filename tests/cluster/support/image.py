"""Images of the product's programs, made by images/build of the release build and given to the node's containerd. Nothing is pulled."""
import sys
import tempfile

from . import place

sys.path.append(str(place.TOP / "images"))
from recipe import EXTENSIONS  # noqa: E402,F401 (what the agent's image has of iptables)

BUILD = place.PROGRAMS.parent    # the folder of the preset that built them
PAYLOAD = BUILD / "cni-payload"  # what fairlead-agent puts on nodes: launcher, files/


def load(program, tag="test", payload=PAYLOAD):
    """The image's name: fairlead.local/<program without fairlead->:<tag>, entrypoint /<program>."""
    with tempfile.TemporaryDirectory(prefix="fl-image-") as out:
        place.run(place.TOP / "images" / "build", "--build", BUILD, "--payload", payload, "--name", "fairlead.local/{part}", "--tag", tag, program, out)
        place.run(place.HERE / "load-archive", f"{out}/{program}.oci.tar")
    return f"fairlead.local/{program.removeprefix('fairlead-')}:{tag}"
