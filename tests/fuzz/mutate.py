"""Mutations of bytes: of any file, and of what each format is made of, so that they get deep."""

from __future__ import annotations

import contextlib
import re
import struct
import zlib
from collections.abc import Callable
from random import Random

Mutator = Callable[[Random, bytes], bytes]

Files = dict[str, bytes]
"""The files of one input by their names; the first is the one that is read."""

NUMBERS = [
    *(0, 1, 2, 3, 4, 7, 8, 16, 127, 128, 255, 256, 1000, 4096, 32767, 32768, 65535, 65536),
    *(2**24, 2**31 - 1, 2**31, 2**32 - 1, 2**32, 2**40, 2**53, 2**63 - 1, 2**63, 2**64 - 1),
]
TEXTS = [*map(str, NUMBERS), "-1", "-2147483648", "1e308", "-1e-308", "nan", "inf", "10" * 40, ""]


def flip(rng: Random, data: bytearray, at: int) -> None:
    data[at] ^= 1 << rng.randrange(8)


def replace(rng: Random, data: bytearray, at: int) -> None:
    data[at] = rng.choice((0, 1, 127, 128, 255, rng.randrange(256)))


def number(rng: Random, data: bytearray, at: int) -> None:
    size = rng.choice((2, 4, 8))
    value = rng.choice(NUMBERS) % (1 << 8 * size)
    data[at : at + size] = value.to_bytes(size, rng.choice(("little", "big")))


def remove(rng: Random, data: bytearray, at: int) -> None:
    del data[at : at + rng.choice((1, 2, 4, 16, 256))]


def insert(rng: Random, data: bytearray, at: int) -> None:
    data[at:at] = rng.randbytes(rng.choice((1, 2, 4, 16)))


def repeat(rng: Random, data: bytearray, at: int) -> None:
    size = rng.choice((1, 4, 12, 64, 1024))
    data[at:at] = data[at : at + size] * rng.choice((1, 1, 2, 50))


def overwrite(rng: Random, data: bytearray, at: int) -> None:
    size = rng.choice((4, 16, 64))
    source = rng.randrange(len(data))
    data[at : at + size] = data[source : source + size]


def truncate(rng: Random, data: bytearray, at: int) -> None:
    del data[at:]


STEPS = (flip, flip, replace, number, number, remove, insert, repeat, overwrite, truncate)
HEADER = 400  # bytes in which half of all changes lie


def anything(rng: Random, data: bytes) -> bytes:
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 3, 8))):
        if changed:
            near = rng.random() < 0.5
            rng.choice(STEPS)(
                rng, changed, rng.randrange(min(HEADER, len(changed)) if near else len(changed))
            )
    return bytes(changed)


def filled(rng: Random, data: bytes) -> bytes:
    """Change bytes near those that are not zero, of which files of padded blocks hold few."""
    places = [found.start() for found in re.finditer(rb"[^\0]", data)]
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 3, 8))):
        if changed and places:
            at = rng.choice(places[: rng.choice((HEADER, len(places)))])
            rng.choice(STEPS)(rng, changed, min(at, len(changed) - 1))
    return bytes(changed)


def text_numbers(rng: Random, data: bytes) -> bytes:
    """Replace numbers that are written as text, such as those of OME's XML."""
    places = [found.span() for found in re.finditer(rb"-?\d+(\.\d+)?", data)]
    for begin, end in sorted(rng.sample(places, min(len(places), rng.choice((1, 1, 2, 5)))))[::-1]:
        data = data[:begin] + rng.choice(TEXTS).encode() + data[end:]
    return data


def png_chunk(kind: bytes, content: bytes) -> bytes:
    checksum = zlib.crc32(kind + content)
    return struct.pack(">I4s", len(content), kind) + content + struct.pack(">I", checksum)


def png_chunks(data: bytes) -> list[tuple[bytes, bytes]]:
    chunks, at = [], 8
    while at + 8 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        chunks.append((kind, data[at + 8 : at + 8 + length]))
        at += 12 + length
    return chunks


ANIMATION = (
    (b"acTL", struct.pack(">II", 2, 0)),
    (b"fcTL", struct.pack(">IIIIIHHBB", 0, 8, 8, 0, 0, 1, 1, 0, 0)),
    (b"fdAT", struct.pack(">I", 1) + zlib.compress(bytes(64))),
    (b"tRNS", bytes(4)),
    (b"PLTE", bytes(range(30))),
    (b"bKGD", bytes(6)),
)


def png(rng: Random, data: bytes) -> bytes:
    """Change chunks and give them right checksums, without which nothing is decoded."""
    if rng.random() < 0.2:
        return anything(rng, data)
    chunks = png_chunks(data)
    for _ in range(rng.choice((1, 1, 2, 4))):
        at = rng.randrange(len(chunks))
        kind, content = chunks[at]
        action = rng.random()
        if action < 0.3:
            chunks.insert(at, rng.choice(ANIMATION))
        elif action < 0.4:
            chunks.insert(rng.randrange(len(chunks)), chunks.pop(at))
        elif action < 0.5 and len(chunks) > 2:
            del chunks[at]
        elif action < 0.7 and kind in (b"IDAT", b"fdAT"):
            with contextlib.suppress(zlib.error):  # it was changed before
                content = zlib.decompressobj().decompress(content)
            chunks[at] = kind, zlib.compress(anything(rng, content))
        else:
            chunks[at] = kind, anything(rng, content)
    return data[:8] + b"".join(png_chunk(*chunk) for chunk in chunks)


def jpeg(rng: Random, data: bytes) -> bytes:
    """Repeat, drop and change whole segments."""
    if rng.random() < 0.6:
        return anything(rng, data)
    parts = re.split(rb"(?=\xff[\xc0-\xfe])", data)
    for _ in range(rng.choice((1, 1, 2, 4))):
        at = rng.randrange(1, len(parts))
        parts[at : at + 1] = rng.choice(
            ([], [parts[at]] * 2, [parts[at]] * 300, [anything(rng, parts[at])], [parts[-2]])
        )
    return b"".join(parts)


def tiff(rng: Random, data: bytes) -> bytes:
    """Change entries of directories."""
    if rng.random() < 0.3 or len(data) < 16:
        return anything(rng, data)
    order = "<" if data[:2] == b"II" else ">"
    big = data[2:4] in (b"+\0", b"\0+")
    head, count, entry, link = ("Q", "Q", "HHQQ", "Q") if big else ("I", "H", "HHII", "I")
    changed, at, entries = bytearray(data), 0, []
    (at,) = struct.unpack_from(order + head, data, 8 if big else 4)
    while 0 < at < len(data) - 8 and len(entries) < 500:
        (number_of,) = struct.unpack_from(order + count, data, at)
        at += struct.calcsize(count)
        size = struct.calcsize("=" + entry)
        entries += [at + i * size for i in range(number_of)]
        at += number_of * size
        if at + 8 > len(data):
            break
        entries.append(at)  # the link to the next directory, changed as an entry would be
        (at,) = struct.unpack_from(order + link, data, at)
    for _ in range(rng.choice((1, 1, 2, 3))):
        place = rng.choice(entries)
        field = rng.choice((0, 2, 4, 4, 8, 8, 8))
        size = 2 if field < 4 else rng.choice((2, 4, 8 if big else 4))
        value = rng.choice((*NUMBERS, rng.randrange(300), rng.randrange(len(data))))
        sign = value % (1 << 8 * size)
        changed[place + field : place + field + size] = sign.to_bytes(
            size, "little" if order == "<" else "big"
        )
    return bytes(changed)


def ome(rng: Random, data: bytes) -> bytes:
    return rng.choice((tiff, text_numbers))(rng, data)


def npy(rng: Random, data: bytes) -> bytes:
    """Change the header's text and write its right length."""
    if rng.random() < 0.3:
        return anything(rng, data)
    size = int.from_bytes(data[8:10], "little")
    header, rest = data[10 : 10 + size], data[10 + size :]
    words = (b"'<f4'", b"'|O'", b"'<U9'", b"'>i8'", b"'V0'", b"[('a','<f8')]", b"None", b"True")
    for _ in range(rng.choice((1, 1, 2))):
        action = rng.random()
        if action < 0.5:
            header = text_numbers(rng, header)
        elif action < 0.8:
            places = [found.span() for found in re.finditer(rb"'[^']*'|\w+", header)]
            begin, end = rng.choice(places or [(0, 0)])
            header = header[:begin] + rng.choice(words) + header[end:]
        else:
            header = anything(rng, header) + rng.choice((b"", b"(" * 300, b"[" * 5000))
    version = rng.choice((b"\1\0", b"\1\0", b"\2\0", b"\3\0"))
    length = min(len(header), 65535).to_bytes(2 if version[0] == 1 else 4, "little")
    return data[:6] + version + length + header + rest
