"""What a compiled kernel takes of a GPU: registers, stack, spills, read off the machine code with no GPU."""

from __future__ import annotations

import re
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from diffsda.errors import DiffSDAError
from diffsda.kernels.launch import SHARED_MEMORY

SHARED_LIMIT = {10 * major + minor: room for (major, minor), room in SHARED_MEMORY.items()}
"""Largest shared memory of a block in KiB, by compute capability (CUDA's programming guide)."""

_USAGE = re.compile(r"REG:(\d+) STACK:(\d+) SHARED:(\d+) LOCAL:(\d+)")
_SPILL = re.compile(r"\b(?:STL|LDL)\b")


@dataclass(frozen=True)
class Resources:
    """Registers a thread, bytes of stack and local memory a thread, and instructions that touch local memory."""

    registers: int
    stack: int
    spills: int


def resources(cubin: bytes) -> Resources:
    """Read a cubin with the tools of Triton's wheel.

    Raises: DiffSDAError if they cannot read it.
    """
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(cubin)
        file.flush()
        usage = _run("cuobjdump", "-res-usage", file.name)
        found = _USAGE.search(usage)
        if found is None:
            raise DiffSDAError(f"cuobjdump: got no resources of a kernel: {usage.strip()[-300:]}")
        registers, stack, _, local = map(int, found.groups())
        if not stack and not local:
            return Resources(registers, 0, 0)  # Without local memory there is nowhere to spill to.
        text = _run("nvdisasm", "-c", file.name)
    if "EXIT" not in text:
        raise DiffSDAError(f"nvdisasm: got no instructions of a kernel: {text.strip()[-300:]}")
    return Resources(registers, max(stack, local), len(_SPILL.findall(text)))


def _run(tool: str, *arguments: str) -> str:
    import triton

    path = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / tool
    done = subprocess.run([path, *arguments], capture_output=True, text=True, check=False)
    return done.stdout + done.stderr
