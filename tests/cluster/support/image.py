"""Images of the product's programs, made from the release build and given to the node's containerd. Nothing is pulled."""
from . import place


def load(program, tag="test", user=None):
    """The image's name: fairlead.local/<program without fairlead->:<tag>, entrypoint /<program>. The proxy runs as 1337."""
    user = user or ("1337:1337" if program == "fairlead-proxy" else "65532:65532")
    name = f"fairlead.local/{program.removeprefix('fairlead-')}:{tag}"
    place.run(place.HERE / "load-image", "--program", place.PROGRAMS / program, "--user", user, name)
    return name
