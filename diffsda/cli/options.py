"""Reading options: dataclasses become flags, usage errors become one line."""

from __future__ import annotations

import contextlib
import io
import re
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from diffsda.errors import InputError

Kind = TypeVar("Kind")


@dataclass(frozen=True, kw_only=True)
class WithModel:
    """What every verb that runs a model over clips can be told."""

    split: str = "test"
    """Part of a named data set: train or test."""
    batch: int = 64
    """Clips handed over at a time."""
    device: str = "auto"
    """auto (CUDA where there is one), cpu, cuda or cuda:N."""
    # The choices are an Execution's: written out again, since its file needs torch.
    precision: Literal["auto", "float32", "bf16", "fp16"] = "auto"
    """Of the networks; auto is bf16 for video on CUDA, float32 elsewhere."""
    route: Literal["auto", "eager", "graph", "compile"] = "auto"
    """Eagerly, as one CUDA graph, or through torch.compile (slow to begin); auto is the fastest known."""
    layout: Literal["auto", "channels_last", "contiguous"] = "auto"
    """Of video activations; auto is channels_last on CUDA, contiguous on the CPU."""
    tile: int | None = None
    """Frames worked on at once, fewer in less memory; left open, what suits the device."""
    as_is: bool = False
    """The clips are in the model's units already: do not whiten them, nor undo it."""
    first_stage: str | None = None
    """For a model of latents: the first stage they were made with (a file or run), so that clips are pixels here."""
    runtime: Literal["auto", "onnxruntime", "tensorrt"] = "auto"
    """Of an exported folder: what runs it. auto is onnxruntime; tensorrt takes the engines in the folder."""
    overwrite: bool = False
    """Replace files that exist."""


@dataclass(frozen=True, kw_only=True)
class WithSolver(WithModel):
    """What every verb that samples can be told besides."""

    steps: int | None = None
    """Solver steps T, 2T - 1 network evaluations; as many again to invert clips first."""
    seed: int = 0
    """Clip i draws from seed + i."""


KINDS = {"INT": "a whole number", "FLOAT": "a number", "PATH": "a path", "True": "True or False"}
"""What the parser calls a kind of value, and what people do."""
QUOTED = r"'[^']*'|\"[^\"]*\""


def parse(kind: type[Kind], argv: list[str], verb: str, description: str, default: Any = None) -> Kind:
    """Read the options of a verb.

    Raises: InputError for options that do not fit, with the parser's own words; SystemExit(0) after --help.
    """
    import tyro

    said = io.StringIO()
    options: dict[str, Any] = {"args": argv, "prog": f"diffsda {verb}", "description": description}
    if default is not None:
        options["default"] = default
    wants_help = any(a in ("-h", "--help") for a in argv)
    try:
        if wants_help:
            return tyro.cli(kind, **options)
        with contextlib.redirect_stderr(said), contextlib.redirect_stdout(said):
            return tyro.cli(kind, **options)
    except SystemExit as leave:
        if wants_help or not leave.code:
            raise
        raise InputError(_plain(said.getvalue(), verb)) from None


def _plain(text: str, verb: str) -> str:
    """Return the parser's message, with what an option takes, without its frame, its title and its helptext."""
    text = re.sub(r"\x1b\[[0-9;]*m", "", text)
    lines = [re.sub(r"[\u2500-\u257f]", " ", line).strip(" |") for line in text.splitlines()]
    title, *rest = [line for line in lines if line.strip("- ")] or ["no message"]
    said = rest or [title]
    taken = ""
    if "Argument helptext:" in said:
        place = said.index("Argument helptext:")
        taken = f"; expected {said[place + 1]}" if place + 1 < len(said) else ""
        said = said[:place]
    words = " ".join(said).split("For full helptext")[0].strip().rstrip(".")
    if wrong := re.match(r"Error parsing (--[\w.-]+): .*?(\[['\"].*?['\"]\]|'[^']*'|\"[^\"]*\")", words):
        option, given = wrong.groups()
        return f"{option}: got {', '.join(re.findall(QUOTED, given))}{_values(taken)}; see `diffsda {verb} --help`"
    if choice := re.match(r"invalid choice (.+) for argument '(--[\w.-]+)'\. Expected one of \((.+)\)$", words):
        given, option, known = choice.groups()
        names = re.findall(QUOTED, known)
        # Options that may be left open come in the order of a set, which differs from run to run.
        names = sorted(set(names) - {"'None'"}) if "'None'" in names else names
        return f"{option}: got {given}, expected one of {', '.join(names)}; see `diffsda {verb} --help`"
    return f"{words}{taken}; see `diffsda {verb} --help`"


def _values(taken: str) -> str:
    """Return what an option takes in words, the parser's own name for it behind them; nothing if that is not known."""
    found = re.match(r"; expected --\S+ (.+)", taken)
    if found is None:
        return taken
    plain = found[1].removeprefix("{None}|")
    kinds = [KINDS[kind] for kind in KINDS if re.search(rf"\b{kind}\b", found[1])]
    several = ", one or several" if "[" in found[1] else ""
    return f", expected {kinds[0]}{several} ({plain})" if kinds else f", expected {plain}"
