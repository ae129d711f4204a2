"""Protobuf by hand: as much as tests need to say and to read."""


def varint(number):
    out = b""
    while True:
        number, low = number >> 7, number & 127
        if not number:
            return out + bytes([low])
        out += bytes([low | 128])


def field(number, content):
    content = content.encode() if isinstance(content, str) else content
    return varint(number << 3 | 2) + varint(len(content)) + content


def fields(message):
    """[(number, value)]: bytes of length-delimited fields, ints of the others."""
    at, out = 0, []

    def take():
        nonlocal at
        value = shift = 0
        while True:
            byte = message[at]
            at += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    while at < len(message):
        tag = take()
        if tag & 7 == 2:
            size = take()
            assert at + size <= len(message)
            out.append((tag >> 3, message[at:at + size]))
            at += size
        elif tag & 7 == 0:
            out.append((tag >> 3, take()))
        else:
            assert tag & 7 in (1, 5), tag
            size = 8 if tag & 7 == 1 else 4
            out.append((tag >> 3, int.from_bytes(message[at:at + size], "little")))
            at += size
    return out
