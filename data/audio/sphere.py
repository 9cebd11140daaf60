"""NIST SPHERE sound files, the form TIMIT is sold in."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from diffsda.data.check import Array
from diffsda.errors import InputError

MAGIC = b"NIST_1A"

_TYPES = {"i": int, "r": float}
_PACKED = ("embedded-shorten", "embedded-shortpack", "embedded-wavpack")
_MOST_HEADER = 1 << 20


@dataclass(frozen=True)
class Header:
    """The fields of a SPHERE header that decide how its samples are read."""

    size: int
    """Bytes before the first sample."""
    samples: int
    """Samples a channel; -1 where the header does not say."""
    rate: int
    channels: int
    width: int
    """Bytes a sample: 1 or 2."""
    order: str
    """Byte order of two-byte samples: 01 is little endian, 10 big endian."""
    coding: str
    """pcm, ulaw or alaw."""
    checksum: int | None
    """The sum of all samples modulo 2^16, where the header has one."""


def read_sphere(path: str | os.PathLike[str]) -> tuple[Array, int]:
    """Read a SPHERE file; return samples (channels, T) float32 in [-1, 1), and the rate.

    Codings: 16-bit pcm in both byte orders, mu-law and A-law.
    Source: NIST SPHERE file format; ITU-T G.711 for the two laws.
    Raises: InputError if the file is truncated, compressed (shorten and its kin, by name), fails its own checksum or
    is no SPHERE file.
    """
    path = Path(path)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error})") from None
    try:
        header = parse_header(data)
        body = _body(data, header)
        samples = _decode(body, header)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    return np.ascontiguousarray(samples.reshape(-1, header.channels).T), header.rate


def parse_header(data: bytes) -> Header:
    """Read the header at the start of a SPHERE file.

    Raises: InputError naming the field that is missing or will not do.
    """
    lines = data[:1024].split(b"\n", 2)
    if lines[0].strip() != MAGIC or len(lines) < 3:
        raise InputError("got no NIST_1A header, expected a SPHERE file")
    try:
        size = int(lines[1])
    except ValueError:
        size = 0
    if not len(MAGIC) < size <= min(len(data), _MOST_HEADER):
        raise InputError(f"got a header of {lines[1].strip()[:20]!r} bytes in a file of {len(data)}; truncated?")
    fields = _fields(data[:size])
    coding = str(fields.get("sample_coding", "pcm")).lower()
    for packed in _PACKED:
        if packed in coding:
            raise InputError(
                f"got samples compressed with {packed.removeprefix('embedded-')} (sample_coding {coding}), expected "
                "plain ones; unpack with `sph2pipe -f wav` or `ffmpeg -i`"
            )
    plain = {"mu-law": "ulaw"}.get(coding, coding)
    if plain not in ("pcm", "ulaw", "alaw"):
        raise InputError(f"got sample_coding {coding[:60]!r}, expected pcm, ulaw or alaw")
    width = _whole(fields, "sample_n_bytes", 2 if plain == "pcm" else 1)
    if width != (2 if plain == "pcm" else 1):
        raise InputError(f"got {width} bytes a sample of {plain}, expected {2 if plain == 'pcm' else 1}")
    order = str(fields.get("sample_byte_format", "01"))
    if plain == "pcm" and order not in ("01", "10"):
        raise InputError(f"got sample_byte_format {order[:20]!r}, expected 01 or 10")
    return Header(
        size=size,
        samples=_whole(fields, "sample_count", -1),
        rate=_positive(fields, "sample_rate", most=10_000_000),
        channels=_positive(fields, "channel_count", 1, most=256),
        width=width,
        order=order,
        coding=plain,
        checksum=_whole(fields, "sample_checksum", -1) if "sample_checksum" in fields else None,
    )


def _fields(head: bytes) -> dict[str, int | float | str]:
    """Return the ``name -type value`` lines up to end_head."""
    fields: dict[str, int | float | str] = {}
    for line in head.decode("latin-1").splitlines()[2:]:
        if line.strip() == "end_head":
            return fields
        parts = line.split(None, 2)
        if not parts or parts[0].startswith(";"):
            continue
        if len(parts) < 3 or not parts[1].startswith("-"):
            raise InputError(f"got header line {line[:60]!r}, expected a name, a type and a value")
        name, kind, value = parts
        try:
            fields[name] = _TYPES[kind[1]](value) if kind[1:2] in _TYPES else value.strip()
        except ValueError:
            raise InputError(f"got {name} {value[:40]!r}, expected a number") from None
    raise InputError("got a header without end_head; truncated?")


def _whole(fields: dict[str, int | float | str], name: str, default: int) -> int:
    value = fields.get(name, default)
    if not isinstance(value, int):
        raise InputError(f"got {name} {value!r}, expected a whole number (-i)")
    return value


def _positive(fields: dict[str, int | float | str], name: str, default: int = 0, *, most: int) -> int:
    value = _whole(fields, name, default)
    if not 1 <= value <= most:
        raise InputError(f"got {name} {value}, expected 1 to {most}" if name in fields else f"got no {name}")
    return value


def _body(data: bytes, header: Header) -> bytes:
    step = header.width * header.channels
    held = (len(data) - header.size) // step
    wanted = held if header.samples < 0 else header.samples
    if held < wanted:
        raise InputError(f"got {held} samples, expected {wanted} as the header says; truncated?")
    return data[header.size : header.size + wanted * step]


def _decode(body: bytes, header: Header) -> Array:
    if header.coding == "pcm":
        whole = np.frombuffer(body, "<i2" if header.order == "01" else ">i2")
    else:
        whole = (ulaw if header.coding == "ulaw" else alaw)(np.frombuffer(body, np.uint8))
    if header.checksum is not None and header.coding == "pcm":
        found = int(whole.astype(np.int64).sum()) % (1 << 16)
        if found != header.checksum:
            raise InputError(f"got samples that sum to {found}, the header says {header.checksum}; damaged?")
    return (whole / np.float32(32768)).astype(np.float32)


def ulaw(codes: Array) -> Array:
    """Return 16-bit values of mu-law codes (uint8)."""
    kept = (~codes).astype(np.int32)
    size = (((kept & 15) << 3) + 132 << (kept >> 4 & 7)) - 132
    return np.where(kept & 128, -size, size).astype(np.int16)


def alaw(codes: Array) -> Array:
    """Return 16-bit values of A-law codes (uint8)."""
    kept = (codes ^ 0x55).astype(np.int32)
    power, step = kept >> 4 & 7, (kept & 15) << 4
    size = np.where(power == 0, step + 8, step + 264 << np.maximum(power - 1, 0))
    return np.where(kept & 128, size, -size).astype(np.int16)
