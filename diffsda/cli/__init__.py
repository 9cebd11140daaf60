"""The command line: one verb a file, each imported only when it is asked for."""

from __future__ import annotations

import difflib
import importlib
import os
import sys
import traceback

import diffsda
from diffsda.errors import DiffSDAError

VERBS = {
    "demo": "train on embedded real data, swap, score and draw, in a few minutes",
    "prepare": "make clips of videos, sounds and tables: yours, or a known data set",
    "train": "train a model on your clips",
    "train-first-stage": "fit an autoencoder of single frames, whose latents a video model can be trained on",
    "train-prior": "fit a model of the factors, to draw new ones from",
    "encode": "take clips apart into static and dynamic factors",
    "reconstruct": "encode clips and sample them back",
    "swap": "give clips the dynamics of other clips",
    "generate": "sample new clips, or clips with one factor new",
    "traverse": "walk a clip's factors along their principal directions",
    "zero-shot": "swap or reconstruct clips of sets the model was not trained on",
    "interpolate": "walk from one clip's factors to another's",
    "lengthen": "make clips of more frames than they have",
    "evaluate": "score models by the papers' protocols, over seeds, beside the papers' rows",
    "compare": "set systems beside each other: trained alike, scored alike, in one table and one figure",
    "report": "put a training run on one page: curves, pictures, films, scores",
    "infer": "do one of these for a job of many clips; stop and go on, in parts, on several processes",
    "export": "write a model as ONNX files, engines or a server's repository; compare runtimes",
    "import": "turn weights of the authors' code into a model file",
    "bench": "measure the speed of a preset on this machine, beside what it could be",
    "describe": "say what a model file holds",
    "doctor": "list what is installed, used, missing or broken",
}

MODULES = {
    "import": "import_",
    "train-first-stage": "train_first_stage",
    "train-prior": "train_prior",
    "zero-shot": "zeroshot",
}
"""Verbs whose file must have another name."""


def main(argv: list[str] | None = None) -> int:
    """Run a verb; return the exit status: 0 good, 1 failed, 2 bad usage, 3 missing optional package."""
    words = sys.argv[1:] if argv is None else argv
    if not words or words[0] in ("-h", "--help"):
        print(usage())
        return 0 if words else 2
    verb = words[0]
    if verb == "--version":
        print(f"diffsda {diffsda.__version__}")
        return 0
    if verb not in VERBS:
        near = difflib.get_close_matches(verb, VERBS, 1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        return _fail("diffsda", f"got {verb!r}, expected one of {', '.join(VERBS)}{hint}", 2)
    name = f"diffsda {verb}"
    try:
        return int(importlib.import_module(f"diffsda.cli.{MODULES.get(verb, verb)}").run(words[1:]))
    except DiffSDAError as error:
        return _fail(name, str(error), error.exit_code)
    except ModuleNotFoundError as error:
        package = (error.name or "a package").partition(".")[0]
        if package == "diffsda":
            return _unexpected(name, error)
        return _fail(name, f"{package} is not installed: {_pip(package)} (see `diffsda doctor`)", 3)
    except KeyboardInterrupt as stop:
        return _fail(name, str(stop) or "interrupted", 130)
    except BrokenPipeError:
        # The reader went away (head, less); there is no one left to tell.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except MemoryError:
        return _fail(name, "out of memory; use a smaller --batch or fewer clips", 1)
    except Exception as error:
        # By name, so that errors without torch are told without it.
        if type(error).__name__ == "OutOfMemoryError":
            return _fail(name, "out of memory on the device; use a smaller batch or fewer clips", 1)
        return _unexpected(name, error)


def usage() -> str:
    """Return the list of verbs."""
    width = max(map(len, VERBS))
    lines = [f"  {verb:<{width}}  {text}" for verb, text in VERBS.items()]
    return "\n".join(
        [
            f"diffsda {diffsda.__version__}: one static factor and many dynamic factors from sequences",
            "",
            "usage: diffsda VERB ...      (diffsda VERB --help for its options)",
            "",
            *lines,
        ]
    )


def _pip(package: str) -> str:
    """Return how to install what is imported under this name."""
    from diffsda.doctor import PARTS

    return next((p.install for p in PARTS if p.module.partition(".")[0] == package), f"pip install {package}")


def _unexpected(name: str, error: Exception) -> int:
    if os.environ.get("DIFFSDA_TRACEBACK"):
        traceback.print_exc()
    text = " ".join(str(error).split())[:300]
    hint = "set DIFFSDA_TRACEBACK=1 to see where, and please report it"
    return _fail(name, f"unexpected {type(error).__name__}: {text} ({hint})", 1)


def _fail(name: str, text: str, status: int) -> int:
    # Names in files of strangers end up in messages: they must not steer the terminal.
    line = "".join(c if c.isprintable() else "?" for c in " ".join(text.split()))
    print(f"{name}: error: {line}", file=sys.stderr)
    return status
