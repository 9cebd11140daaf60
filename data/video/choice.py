"""Which loader decodes a set: DALI where it can, else PyAV; what was asked for, or an error that says why not."""

from __future__ import annotations

import ctypes
import importlib.util
import re
from collections.abc import Mapping

from diffsda.errors import InputError, MissingPackage

LOADERS = ("auto", "dali", "pyav")
DALI_CPU = frozenset({"vp8", "vp9", "mjpeg"})
DALI_CUDA = DALI_CPU | {"av1", "mpeg4", "h264", "hevc"}
"""Codecs that DALI 2.4's decoders.video takes on the CPU, and with NVIDIA's video decoder."""
SMALLEST = {"h264": 48, "mpeg4": 48, "vp8": 48, "mjpeg": 64, "vp9": 128, "av1": 128, "hevc": 144}
"""Pixels along the shorter side that NVIDIA's decoders take at least (a little more than what some of them need)."""
DALI_PIP = "pip install 'diffsda[dali]'"


def choose(loader: str, device: str, sides: Mapping[str, int]) -> tuple[str, str]:
    """Return the loader, dali or pyav, and why that one.

    sides: each codec that occurs in the set, and the shortest side of its frames in pixels.
    Raises: InputError if the loader asked for cannot decode them there; MissingPackage if it is not installed.
    """
    if loader not in LOADERS:
        raise InputError(f"loader: got {loader!r}, expected one of {', '.join(LOADERS)}")
    if not re.fullmatch(r"cpu|cuda(:\d+)?", device):
        raise InputError(f"device: got {device!r}, expected cpu, cuda or cuda:N")
    if loader == "pyav":
        return "pyav", "asked for"
    against = dali_refuses(device, sides)
    if against is None:
        return "dali", "asked for" if loader == "dali" else f"it decodes {', '.join(sorted(sides))} there"
    if loader == "auto":
        return "pyav", f"not dali: {against}"
    if not installed():
        raise MissingPackage(f"loader: got dali, but {against}: {DALI_PIP}, or use loader pyav")
    raise InputError(f"loader: got dali, but {against}; use loader pyav, or `diffsda prepare video --recode`")


def dali_refuses(device: str, sides: Mapping[str, int]) -> str | None:
    """Return why DALI cannot decode these codecs, frames with such shortest sides, on a device; None where it can."""
    if not installed():
        return "nvidia-dali is not installed"
    cuda = device.startswith("cuda")
    known = DALI_CUDA if cuda else DALI_CPU
    if others := ", ".join(sorted(set(sides) - known)):
        return f"it decodes only {', '.join(sorted(known))} on {device} and the set holds {others}"
    if cuda and not has_video_decoder():
        return "the driver has no libnvcuvid.so.1 for it to decode with"
    small = [f"{side} pixels of {codec} ({SMALLEST[codec]})" for codec, side in sides.items() if side < SMALLEST[codec]]
    if cuda and small:
        return f"the set holds frames too small for NVIDIA's decoders: {', '.join(small)}"
    return None


def installed() -> bool:
    """Tell whether DALI is there; it is not imported, which takes a second."""
    try:
        return importlib.util.find_spec("nvidia.dali") is not None
    except ModuleNotFoundError:
        return False


def has_video_decoder() -> bool:
    """Tell whether the driver's library for NVIDIA's video decoder can be loaded."""
    try:
        ctypes.CDLL("libnvcuvid.so.1")
    except OSError:
        return False
    return True
