"""Images of the product's programs, made from the release build and given to the node's containerd. Nothing is pulled."""
from . import place

USERS = {"fairlead-proxy": "1337:1337", "fairlead-agent": "0:0"}
PAYLOAD = place.PROGRAMS.parent / "cni-payload"  # what fairlead-agent puts on nodes: launcher, files/


def load(program, tag="test", user=None, payload=PAYLOAD):
    """The image's name: fairlead.local/<program without fairlead->:<tag>, entrypoint /<program>. The agent's has /payload."""
    user = user or USERS.get(program, "65532:65532")
    name = f"fairlead.local/{program.removeprefix('fairlead-')}:{tag}"
    more = [f"{payload}=/payload"] if program == "fairlead-agent" else []
    place.run(place.HERE / "load-image", "--program", place.PROGRAMS / program, "--user", user, name, *more)
    return name
