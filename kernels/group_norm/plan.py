"""How a group_norm call is cut into programs: a pure function of its sizes."""

from __future__ import annotations

from dataclasses import dataclass

from diffsda.kernels.launch import power_of_two

VECTOR = 8
"""Elements a thread reads at once in 16 bits."""
RESIDENT = 16384
"""Bytes of a slab that stays in registers."""
WIDEST = 16384
"""Channels a group may have at most: a tile's padded width."""


@dataclass(frozen=True)
class Plan:
    """Tile and grid of a call.

    ``slab`` channels (whole groups) belong to a program, ``width`` is that padded to a power of two; a tile has
    ``pixels`` of them. ``resident``: the whole slab is one tile and is read once. ``splits``: programs that share
    a slab's pixels, ``chunk`` each (a multiple of ``pixels``).
    """

    slab: int
    width: int
    groups: int
    pixels: int
    warps: int
    resident: bool
    splits: int
    chunk: int

    @property
    def registers(self) -> int:
        """Registers there are for a thread."""
        return min(255, 65536 // (32 * self.warps))


def plan(
    samples: int,
    channels: int,
    groups: int,
    pixels: int,
    *,
    last: bool,
    backward: bool,
    processors: int,
    item: int = 2,
    small: bool = False,
) -> Plan:
    """Choose slab, tile and splits.

    ``last`` says whether channels are the dense dimension; ``processors`` is what there is to fill; ``item`` is the
    bytes of an element; ``small`` asks for the backward loop's smaller tile.
    """
    per_group = channels // groups
    whole = max(VECTOR, power_of_two(pixels))
    slab = _slab(channels, per_group, whole, last, item)
    width = max(VECTOR, power_of_two(slab))
    resident = whole * width <= _room(item, last)
    # A loop over tiles: the forward pass keeps three float32 values of every element, the backward pass five, so
    # half as many elements a thread. There 16 warps share a tile: one program a multiprocessor has as many bytes
    # under way as two of 8 warps, and its slabs of x and dy (26 MB on 132 multiprocessors) stay in the L2 cache for
    # the second read. 16 warps of float32 loads, of dropout along pixels, or of sums over many narrow groups do not
    # fit into the registers.
    narrow = slab > 8 * per_group
    tile = 4096 if backward and (item == 4 or not last or small or narrow) else 8192
    rows = whole if resident else max(VECTOR, min(whole, tile // width))
    elements = 16 if backward and not resident else 32
    warps = min(16, max(4, power_of_two(rows * width // (32 * elements))))
    splits = 1
    programs = samples * (channels // slab)
    if not resident and programs < 2 * processors:
        most = -(-pixels // rows)
        splits = min(most, power_of_two(-(-2 * processors // programs)), 64)
    chunk = -(-pixels // (splits * rows)) * rows
    splits = -(-pixels // chunk)
    return Plan(slab, width, power_of_two(slab // per_group), rows, warps, resident, splits, chunk)


def _room(item: int, last: bool) -> int:
    """Return how many elements stay in registers; half as many where dropout has to turn its tile."""
    return RESIDENT // item // (1 if last else 2)


def _slab(channels: int, per_group: int, whole: int, last: bool, item: int) -> int:
    """Return how many channels a program takes: whole groups, little padding, rows of at least 48 bytes."""
    room = _room(item, last)
    if not last:
        # Pixels are dense: any whole groups will do; several only where one is small.
        return _multiple(channels, per_group, max(1, min(64, room // whole)))
    options = [
        s
        for s in range(per_group, channels + 1, per_group)
        if channels % s == 0 and (s % VECTOR == 0 or s == channels) and (s <= 256 or s <= 2 * per_group)
    ] or [channels]
    # What stays in registers is read once: half the room, so that several programs share a multiprocessor.
    inside = [s for s in options if whole * power_of_two(s) <= room and (s * item >= 48 or s == channels)]
    wanted = room // 2 // whole if inside else 64
    # First what wastes the fewest lanes, then what comes close to the wanted width.
    return min(inside or options, key=lambda s: (power_of_two(s) * VECTOR // s, abs(power_of_two(s) - wanted), s))


def _multiple(channels: int, per_group: int, wanted: int) -> int:
    fits = [s for s in range(per_group, channels + 1, per_group) if channels % s == 0 and s <= wanted]
    return fits[-1] if fits else per_group


@dataclass(frozen=True)
class Slab:
    """How a slab lies in shared memory: two buffers of ``first`` and ``second`` channels, ``chunk`` pixels a copy."""

    first: int
    second: int
    groups: int
    chunk: int
    chunks: int
    warps: int = 8

    @property
    def channels(self) -> int:
        """Channels in both buffers."""
        return self.first + self.second


def shared_slab(channels: int, groups: int, pixels: int, item: int, room: int) -> Slab | None:
    """Choose a slab that fits into ``room`` bytes of shared memory, ``item`` bytes an element; None if none does.

    Two programs a multiprocessor hide each other's waiting, so that half the room is aimed at. Small slabs, which
    stay in registers, are not meant.
    """
    per_group = channels // groups
    chunk = next((c for c in (256, 128, 64) if pixels % c == 0), None)
    if chunk is None or pixels < 512:
        return None
    fits = []
    for slab in range(per_group, channels + 1, per_group):
        second = slab & (slab - 1) and slab - (1 << (slab.bit_length() - 1))
        parts = (slab - second, second)
        # Two powers of two of whole 16-byte vectors, as many of them across as a warp has threads.
        whole = all(part & (part - 1) == 0 and part % VECTOR == 0 and part <= 256 for part in parts)
        size = pixels * slab * item + 2048
        # A row of at least one 32-byte sector.
        if channels % slab == 0 and whole and size <= room and slab * item >= 32:
            fits.append((size > room // 2, -slab if size <= room // 2 else slab, parts))
    if not fits:
        return None
    # What lets two programs in, as wide as that allows; else the narrowest.
    first, second = min(fits)[2]
    chunk = min(chunk, 128) if max(first, second) >= 64 else chunk
    return Slab(first, second, power_of_two((first + second) // per_group), chunk, pixels // chunk)
