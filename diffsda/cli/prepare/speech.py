"""diffsda prepare speech: nine people's speech from Debian packages, with held-out words and fair trials."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path

from diffsda.cli.options import parse


@dataclass(frozen=True, kw_only=True)
class Options:
    """Nine people's speech from eight Debian packages (188 MB, fetched by apt-get): log mel spectra of 600 ms.

    No prompt of val or test is heard in training, from any voice; trials.json lists pairs of test utterances to tell
    speakers apart by; licences/ says whose recordings these are. Nothing is installed, and no root needed.
    """

    out: Path = Path("datasets/speech")
    """Folder to prepare into."""
    root: Path | None = None
    """Folder with the packages' .deb files, or with their unpacked trees, instead of apt-get."""
    threads: int | None = None
    """Recordings worked on at once; left open, one a core, eight at most."""
    overwrite: bool = False
    """Replace a prepared set that is there."""
    json: bool = False
    """Print JSON instead of the folder's name."""


def run(argv: list[str]) -> int:
    """Prepare the set and print its folder. Exit status 1 if some recordings cannot be used."""
    options = parse(Options, argv, "prepare speech", "Speech of nine people from Debian packages.")
    from diffsda.cli.progress import counting
    from diffsda.data.audio.speech import prepare
    from diffsda.data.problems import Problems
    from diffsda.data.series.parts import refuse_finished

    problems = Problems(_tell)
    refuse_finished(options.out, options.overwrite)
    with counting() as watch:
        made = prepare(
            options.out,
            root=options.root,
            problems=problems,
            tell=_tell,
            watch=watch,
            threads=options.threads,
        )
    if problems:
        _tell(f"{len(problems)} problems, kept in {options.out / 'problems.jsonl'}; what could be used is prepared")
    if options.json:
        summary = {
            "folder": str(options.out),
            "name": made.dataset.name,
            "splits": made.dataset.splits,
            "recordings": made.recordings,
            "short": made.short,
            "filled": made.filled,
            "empty": made.empty,
            "trials": made.trials,
            "problems": len(problems),
        }
        print(json.dumps(summary))
    else:
        print(options.out)
    return 1 if problems else 0


def _tell(words: str) -> None:
    print(words, file=sys.stderr, flush=True)
