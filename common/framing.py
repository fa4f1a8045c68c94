"""Lists of byte strings as bytes that mean one thing, for whatever is hashed or signed outside secure sums.

Secure sums have the same under their own label (secagg/encoding.py): no label here begins with theirs.
"""


def framed(label: bytes, *parts: bytes) -> bytes:
    """The label and the parts, each after its length in 4 bytes: no two lists, and no two labels, give the same bytes.

    Raises OverflowError for a part of 4 GiB.
    """
    return b"".join(len(part).to_bytes(4, "little") + part for part in (label, *parts))
