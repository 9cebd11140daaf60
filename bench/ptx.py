"""Which source line reads and writes global memory, and how many bytes at a time: read off the compiler's PTX."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from diffsda.errors import InputError

MARK = "# wide"
"""The comment on a line whose every access to global memory must be 16 bytes."""

_FILE = re.compile(r'^\s*\.file\s+(\d+)\s+"([^"]+)"(?:\s*"([^"]+)")?')
_LOC = re.compile(r"^\s*\.loc\s+(\d+)\s+(\d+)\s+\d+(.*)")
_CALLED_FROM = re.compile(r"([\w.\-]+\.py):(\d+):\d+")
# ld.global.L1::evict_last.v4.b32, @%p1 st.global.v2.b64, ld.global.nc.b16; also inside an inline asm block.
_DIRECT = re.compile(r"\b(ld|st)\.(?:\w+\.)*?global((?:[.:]\w+|::\w+)*)")
_COPY = re.compile(r"\bcp\.async\.c[ag]\.shared\.global[\w.:]*\s+(?:\[[^\]]*\]\s*,\s*){2}(0x[0-9a-fA-F]+|\d+)")
_BULK = re.compile(r"\bcp\.async\.bulk[\w.:]*\.(shared[\w:]*\.global|global\.shared[\w:]*)")
_VECTOR = re.compile(r"\.v(\d+)(?=\.|$)")
_TYPE = re.compile(r"\.[bsuf](\d+)$")


@dataclass(frozen=True)
class Access:
    """One instruction on global memory: which way, how many bytes a thread, from which lines (innermost first)."""

    kind: Literal["load", "store"]
    size: int
    lines: tuple[tuple[str, int], ...]


def accesses(ptx: str) -> list[Access]:
    """Return every access to global memory with the source lines it comes from.

    The first of ``lines`` is where the access stands, with the file's full path; the others are the calls that
    were inlined to get there, with the file's name only (all that the compiler says of them).
    Raises: InputError if the PTX carries no line information.
    """
    files = {number: Path(first, second) if second else Path(first) for number, first, second in _files(ptx)}
    found: list[Access] = []
    where: tuple[tuple[str, int], ...] = ()
    located = False
    for line in ptx.splitlines():
        place = _LOC.match(line)
        if place:
            located = True
            called = [(name, int(row)) for name, row in _CALLED_FROM.findall(place[3])]
            # The comment repeats the innermost place first.
            where = ((str(files[int(place[1])]), int(place[2])), *called[1:])
            continue
        code = line.partition("//")[0]
        found += [Access(kind, size, where) for kind, size in _accesses(code)]
    if found and not located:
        raise InputError("ptx: got no .loc lines, expected line information (TRITON_DISABLE_LINE_INFO unset)")
    return found


@lru_cache
def marked(path: str) -> frozenset[int]:
    """Return the lines of a source file that belong to a statement with the mark.

    Raises: InputError for a mark that stands on no simple statement.
    """
    text = Path(path).read_text(encoding="utf-8")
    tokens = tokenize.generate_tokens(io.StringIO(text).readline)
    marks = [t.start[0] for t in tokens if t.type == tokenize.COMMENT and t.string.split()[:2] == MARK.split()]
    # Only statements without a body: a mark inside a loop does not mark the loop.
    simple = [n for n in ast.walk(ast.parse(text)) if isinstance(n, ast.stmt) and not hasattr(n, "body")]
    lines: set[int] = set()
    for mark in marks:
        statement = next((n for n in simple if n.lineno <= mark <= (n.end_lineno or n.lineno)), None)
        if statement is None:
            raise InputError(f"{path}:{mark}: got {MARK!r} on no statement, expected it beside a load or a store")
        lines |= set(range(statement.lineno, (statement.end_lineno or statement.lineno) + 1))
    return frozenset(lines)


def narrowest(found: Iterable[Access], sources: Iterable[str]) -> tuple[int | None, int | None]:
    """Return the narrowest load and store of marked lines in bytes; None where there is none.

    sources: files a kernel is made of. The compiler may have seen them elsewhere, so they are told by name.
    """
    by_name: dict[str, frozenset[int]] = {}
    for path in sources:
        name = Path(path).name
        by_name[name] = by_name.get(name, frozenset()) | marked(path)
    sizes: dict[str, list[int]] = {"load": [], "store": []}
    for access in found:
        if any(row in by_name.get(Path(path).name, ()) for path, row in access.lines):
            sizes[access.kind].append(access.size)
    load, store = (min(sizes[kind], default=None) for kind in ("load", "store"))
    return load, store


def sources(kernel: Any) -> list[str]:
    """Return the source files of a kernel and of every jit function it calls, its own first."""
    seen: dict[int, Any] = {}
    waiting = [kernel]
    while waiting:
        one = waiting.pop(0)
        if id(one) in seen:
            continue
        seen[id(one)] = one
        waiting += _called(one)
    return list(dict.fromkeys(one.fn.__code__.co_filename for one in seen.values()))


def has_marks(kernel: Any) -> bool:
    """Whether the kernel's own body has a marked line."""
    code = kernel.fn.__code__
    first = code.co_firstlineno
    last = max((row for *_, row in code.co_lines() if row), default=first)
    return any(first <= row <= last for row in marked(code.co_filename))


def _called(function: Any) -> list[Any]:
    code, known = function.fn.__code__, function.fn.__globals__
    values = [known[n] for n in code.co_names if n in known]
    # A function reached through its module, as in fused_dropout.kept.
    modules = [v for v in values if type(v).__name__ == "module" and not v.__name__.startswith(("triton", "torch"))]
    values += [getattr(m, n) for m in modules for n in code.co_names if hasattr(m, n)]
    return [v for v in values if hasattr(v, "fn") and hasattr(v.fn, "__code__") and not _of_triton(v)]


def _of_triton(function: Any) -> bool:
    return function.fn.__module__.startswith("triton.")


def _files(ptx: str) -> list[tuple[int, str, str | None]]:
    matches = (_FILE.match(line) for line in ptx.splitlines())
    return [(int(m[1]), m[2], m[3]) for m in matches if m]


def _accesses(code: str) -> list[tuple[Literal["load", "store"], int]]:
    found: list[tuple[Literal["load", "store"], int]] = []
    for which, suffix in _DIRECT.findall(code):
        element = _TYPE.search(suffix)
        if element is None:
            continue
        vector = _VECTOR.search(suffix)
        size = int(element[1]) // 8 * (int(vector[1]) if vector else 1)
        found.append(("load" if which == "ld" else "store", size))
    found += [("load", int(size, 0)) for size in _COPY.findall(code)]
    # The copy engine moves whole tiles; its lines are never narrower than 16 bytes.
    found += [("load" if way.endswith("global") else "store", 16) for way in _BULK.findall(code)]
    return found
