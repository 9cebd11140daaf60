"""diffsda doctor: what is installed, used, missing or broken."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass

from diffsda.cli.options import parse
from diffsda.doctor import examine, healthy
from diffsda.evaluate.judges.catalogue import parts


@dataclass(frozen=True, kw_only=True)
class Options:
    """List what is installed, used, missing or broken."""

    json: bool = False
    """Print JSON."""


def run(argv: list[str]) -> int:
    """Print one line a part; 0 if nothing that is needed is missing."""
    # The plain calls must work where the option parser itself is what is missing.
    plain = {(): Options(), ("--json",): Options(json=True)}
    options = plain.get(tuple(argv)) or parse(
        Options, argv, "doctor", "List what is installed, used, missing or broken."
    )
    findings = examine()
    well = healthy(findings)
    # Judges come from below the doctor's floor; none of them is needed.
    findings = [*findings, *parts()]
    if options.json:
        print(json.dumps({f.name: dataclasses.asdict(f) for f in findings}))
    else:
        width = max(14, *(len(f.name) for f in findings))
        for f in findings:
            print(f"{f.name:<{width}} {f.status:<10} {f.version:<14} {f.reason}".rstrip())
    return 0 if well else 1
