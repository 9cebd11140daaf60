"""Refuse arrays that are no clips, and put those that are into one form."""

from __future__ import annotations

from typing import Any

import numpy as np

from diffsda.errors import InputError

Array = np.ndarray[Any, Any]

SHAPES = "(clips, frames, features) or (clips, frames, channels, height, width)"


def check(x: Any, lengths: Any = None, mask: Any = None) -> tuple[Array, Array | None, Array | None]:
    """Check the arrays of a set of clips and return them as float32, int64 and float32.

    Shapes: x (N, V, F) or (N, V, C, H, W), float16, float32 or float64; lengths (N,), whole numbers 2..V;
    mask like x, 1 = missing, 0 = known.
    Steps past a clip's length and missing values come back as 0, so they may hold anything, NaN included.
    The arrays given are never changed; x is returned as it is where nothing had to be.
    Raises: InputError with what was given, what was expected and what to do.
    """
    x = _as_array(x, "x")
    _check_kind(x)
    _check_shape(x)
    lengths = None if lengths is None else _check_lengths(_as_array(lengths, "lengths"), x.shape)
    mask = None if mask is None else _check_mask(_as_array(mask, "mask"), x.shape)
    unused = None
    if lengths is not None:
        unused = past_end(lengths, x.shape[1]).reshape(x.shape[:2] + (1,) * (x.ndim - 2))
        if mask is not None:
            # A padded step is no missing value: whoever counts the mask must not meet it there.
            mask = np.where(unused, np.float32(0), mask)
    if mask is not None:
        unused = (mask == 1) if unused is None else unused | (mask == 1)
    return _check_values(x, unused, masked=mask is not None), lengths, mask


def past_end(lengths: Array, frames: int) -> Array:
    """Return which steps lie past the end of their clip: lengths (N,) -> bool (N, frames)."""
    return np.arange(frames)[None] >= lengths[:, None]


def _as_array(value: Any, name: str) -> Array:
    try:
        return np.asarray(value)
    except (ValueError, TypeError) as error:
        raise InputError(f"{name}: got something that is no array ({error}), expected {SHAPES}") from None


def _check_kind(x: Array) -> None:
    if x.dtype.kind in "iub":
        raise InputError(
            f"x: got {x.dtype} values, expected floats; convert with x.astype('float32') (video bytes: x / 127.5 - 1)"
        )
    if x.dtype.kind != "f" or x.dtype.itemsize > 8:
        raise InputError(f"x: got {x.dtype} values, expected float16, float32 or float64; convert them first")


def _check_shape(x: Array) -> None:
    if x.ndim not in (3, 5):
        hint = {
            2: "; x[..., None] makes clips of one feature, x[None] a batch of one clip",
            4: "; x[:, :, None] makes clips of one channel, x[None] a batch of one clip",
        }.get(x.ndim, "")
        raise InputError(f"x: got shape {x.shape}, expected {SHAPES}{hint}")
    if x.shape[0] == 0:
        raise InputError(f"x: got no clips (shape {x.shape}), expected at least 1")
    if x.shape[1] < 2:
        raise InputError(
            f"x: got {x.shape[1]} frame a clip (shape {x.shape}), expected at least 2: "
            "a sequence needs something that can change; frames are axis 1"
        )
    if 0 in x.shape:
        raise InputError(f"x: got shape {x.shape} with an axis of size 0, expected {SHAPES}")


def _check_lengths(lengths: Array, shape: tuple[int, ...]) -> Array:
    if lengths.shape != shape[:1]:
        raise InputError(f"lengths: got shape {lengths.shape}, expected ({shape[0]},), one number a clip")
    if lengths.dtype.kind not in "iu":
        raise InputError(f"lengths: got {lengths.dtype} values, expected integers; count frames a clip")
    wrong = (lengths < 2) | (lengths > shape[1])
    if wrong.any():
        first = int(wrong.argmax())
        raise InputError(
            f"lengths[{first}]: got {lengths[first]}, expected 2 to {shape[1]}, the frames x holds; "
            "leave out clips that are shorter"
        )
    return lengths.astype(np.int64)


def _check_mask(mask: Array, shape: tuple[int, ...]) -> Array:
    if mask.shape != shape:
        raise InputError(f"mask: got shape {mask.shape}, expected x's {shape}, 1 where a value is missing")
    if mask.dtype.kind not in "iubf":
        raise InputError(f"mask: got {mask.dtype} values, expected 1 (missing) and 0 (known)")
    wrong = (mask != 0) & (mask != 1)
    if wrong.any():
        index = _first(wrong)
        raise InputError(f"mask[{_commas(index)}]: got {mask[index]}, expected only 1 (missing) and 0 (known)")
    return mask.astype(np.float32)


def _check_values(x: Array, unused: Array | None, masked: bool) -> Array:
    kept = x if unused is None else np.where(unused, x.dtype.type(0), x)
    with np.errstate(over="ignore"):
        single = kept.astype(np.float32, order="C", copy=False)
    bad = ~np.isfinite(single)
    if not bad.any():
        return single
    index = _first(bad)
    value, where = kept[index], f"x[{_commas(index)}]"
    if np.isnan(value):
        # The array comes from a caller or from a file, so the hint names what both have.
        hint = "mark it 1 in the mask" if masked else "mark missing values with 1 in an array 'mask' shaped like x"
        raise InputError(f"{where}: got NaN, expected a finite number; {hint}")
    if np.isinf(value):
        raise InputError(f"{where}: got {value}, expected a finite number; clip or leave out such values")
    raise InputError(f"{where}: got {value:g}, too large for float32; scale the clips down first")


def _first(bad: Array) -> tuple[int, ...]:
    return tuple(int(i) for i in np.unravel_index(int(bad.argmax()), bad.shape))


def _commas(index: tuple[int, ...]) -> str:
    return ", ".join(map(str, index))
