"""Which loader decodes a set: DALI where it can, else PyAV; what was asked for, or an error that says why not."""

from __future__ import annotations

import ctypes
import importlib.util
import re
from collections.abc import Collection

from diffsda.errors import InputError, MissingPackage

LOADERS = ("auto", "dali", "pyav")
DALI_CPU = frozenset({"vp8", "vp9", "mjpeg"})
DALI_CUDA = DALI_CPU | {"av1", "libdav1d", "mpeg4", "h264", "hevc"}
"""Codecs that DALI 2.4's decoders.video takes on the CPU, and with NVIDIA's video decoder."""
DALI_PIP = "pip install 'diffsda[dali]'"


def choose(loader: str, device: str, codecs: Collection[str]) -> tuple[str, str]:
    """Return the loader, dali or pyav, and why that one.

    codecs: all that occur in the set.
    Raises: InputError if the loader asked for cannot decode them there; MissingPackage if it is not installed.
    """
    if loader not in LOADERS:
        raise InputError(f"loader: got {loader!r}, expected one of {', '.join(LOADERS)}")
    if not re.fullmatch(r"cpu|cuda(:\d+)?", device):
        raise InputError(f"device: got {device!r}, expected cpu, cuda or cuda:N")
    if loader == "pyav":
        return "pyav", "asked for"
    held = ", ".join(sorted(codecs))
    against = dali_refuses(device, codecs)
    if against is None:
        return "dali", "asked for" if loader == "dali" else f"it decodes {held} there"
    if loader == "auto":
        return "pyav", f"not dali: {against}"
    if not installed():
        raise MissingPackage(f"loader: got dali, but {against}: {DALI_PIP}, or use loader pyav")
    raise InputError(f"loader: got dali, but {against}; use loader pyav, or `diffsda prepare video --recode`")


def dali_refuses(device: str, codecs: Collection[str]) -> str | None:
    """Return why DALI cannot decode these codecs on a device; None where it can."""
    if not installed():
        return "nvidia-dali is not installed"
    cuda = device.startswith("cuda")
    others = ", ".join(sorted(set(codecs) - (DALI_CUDA if cuda else DALI_CPU)))
    if others:
        takes = ", ".join(sorted((DALI_CUDA if cuda else DALI_CPU) - {"libdav1d"}))
        return f"it decodes only {takes} on {device} and the set holds {others}"
    if cuda and not has_video_decoder():
        return "the driver has no libnvcuvid.so.1 for it to decode with"
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
