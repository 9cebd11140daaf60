"""The protocols of the papers' tables by name, each in a file of its own that is imported when it is run."""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from diffsda.errors import InputError

if TYPE_CHECKING:
    from diffsda.evaluate.job import Job
    from diffsda.evaluate.result import Row


Kind = Literal["whole", "seed", "number", "truth", "table", "word"]
KINDS: dict[Kind, str] = {
    "whole": "a whole number from 1 on",
    "seed": "a whole number from 0 on",
    "number": "a positive number",
    "truth": "true or false",
    "table": 'a table, {"name": value, ...}',
    "word": "a word, or a list of words",
}


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """One way of scoring a model, as a table of a paper has it."""

    name: str
    module: str
    tables: str
    """Of DiffSDA's paper, unless another is named."""
    about: str
    needs: str
    """What there must be besides a model, in words."""
    settings: Mapping[str, Kind] = field(default_factory=dict)
    """Settings of its own: name and what it takes."""
    published_counting: bool = False
    """Whether ``as_published`` changes anything: whether the authors' code, where there is any, counts otherwise."""

    def checked(self, given: dict[str, Any]) -> dict[str, Any]:
        """Return settings as they came.

        Raises: InputError for one there is none of, a near one is suggested, or a value of another kind.
        """
        for name, value in given.items():
            if name not in self.settings:
                near = difflib.get_close_matches(name, self.settings, 1)
                hint = f"; did you mean {near[0]!r}?" if near else ""
                known = ", ".join(self.settings) or "none"
                raise InputError(f"setting of {self.name}: got {name!r}, expected one of: {known}{hint}")
            if not _is(value, self.settings[name]):
                raise InputError(f"setting {name}: got {value!r}, expected {KINDS[self.settings[name]]}")
        return given

    def run(self, job: Job) -> list[Row]:
        """Score one seed."""
        found: Callable[[Job], list[Row]] = importlib.import_module(f"{__name__}.{self.module}").run
        return found(job)


def _is(value: Any, kind: Kind) -> bool:
    if kind == "whole":
        return isinstance(value, int) and not isinstance(value, bool) and value >= 1
    if kind == "seed":
        return isinstance(value, int) and not isinstance(value, bool) and value >= 0
    if kind == "number":
        return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < 1e9
    if kind == "truth":
        return isinstance(value, bool)
    if kind == "table":
        return isinstance(value, dict)
    return isinstance(value, str) or (isinstance(value, list) and all(isinstance(one, str) for one in value))


_READER: dict[str, Kind] = {"judge": "table", "judge_seed": "seed"}
_PAIRS: dict[str, Kind] = {"pairs": "whole", "different": "word", "noises": "word"}
_PICTURES: dict[str, Kind] = {"kind": "word", "size": "whole"}

PROTOCOLS = {
    one.name: one
    for one in (
        Protocol(
            name="swap-labels",
            module="swap_labels",
            tables="DiViD Table 1",
            about="swaps read by a judge: static, dynamic and joint accuracy, leakage of either factor into the other",
            needs="clips with static and dynamic labels (sprites, mug, moving_shapes, ...)",
            settings={**_PAIRS, **_READER, "leakage": "truth"},
        ),
        Protocol(
            name="swap-video",
            module="faces",
            published_counting=True,
            tables="Tables 2, 17",
            about="swaps of faces or bodies: AED with s kept, AKD with d kept",
            needs="a video set; judges of identity and key points",
            settings={**_PAIRS, **_PICTURES},
        ),
        Protocol(
            name="reconstruction",
            module="reconstruction",
            published_counting=True,
            tables="Tables 3, 17",
            about="clips from their own start noise and from the factors alone: MSE, PSNR, AED, AKD",
            needs="any set; AED and AKD want judges",
            settings=_PICTURES,
        ),
        Protocol(
            name="verification",
            module="verification",
            published_counting=True,
            tables="Tables 10, 11",
            about="is it the same person after a swap, and the same action",
            needs="a video set of faces; a judge of identity; for actions, a label",
            settings={**_PAIRS, **_PICTURES, **_READER},
        ),
        Protocol(
            name="judge",
            module="sampled_judge",
            tables="Table 9",
            about="one factor drawn from the prior: accuracy of what was kept, inception score, entropies",
            needs="clips with labels (mug, sprites, ...); a prior",
            settings={**_READER, "noise": "word", "prior_steps": "whole"},
        ),
        Protocol(
            name="fvd",
            module="generation",
            tables="Table 13, G.1",
            about="samples of the prior against real clips: Frechet video distance, precision and recall",
            needs="any set; a prior; I3D for the paper's scale",
            settings={"count": "whole"},
        ),
        Protocol(
            name="eer",
            module="eer",
            published_counting=True,
            tables="Tables 4, 16",
            about="speakers verified by s and by d: equal error rates and their gap",
            needs="recordings with speakers (timit, librispeech, speech, japanese_vowels)",
            settings={"speaker": "word", "utterances": "whole", "voices": "truth"},
        ),
        Protocol(
            name="speech-quality",
            module="speech_quality",
            tables="Table 12",
            about="reconstructed speech: error of the spectrogram, DNSMOS of its sound",
            needs="log mel clips; DNSMOS",
            settings={"heard": "whole"},
        ),
        Protocol(
            name="prediction",
            module="prediction",
            published_counting=True,
            tables="Tables 5, 14",
            about="mortality or oil temperature from frozen factors",
            needs="physionet or etth1",
            settings={"outcome": "word", "target": "word", "window": "whole", "runs": "whole", "passes": "whole"},
        ),
        Protocol(
            name="classification",
            module="classification",
            published_counting=True,
            tables="Tables 5, 15",
            about="ICU unit, month or another static label from s",
            needs="physionet, airq, or clips with a static label",
            settings={"runs": "whole", "passes": "whole", "lr": "number"},
        ),
        Protocol(
            name="multifactor",
            module="multifactor",
            tables="MSD benchmark",
            about="swaps and samples of factor groups, read by a judge, and static factors' consistency over frames",
            needs="clips with static and dynamic labels",
            settings={**_READER, "count": "whole", "pairs": "whole"},
        ),
        Protocol(
            name="dci",
            module="dci",
            tables="MSD benchmark",
            about="modularity, compactness and explicitness of the dimensions of s and d",
            needs="clips with labels",
            settings={"count": "whole", "width": "whole", "trees": "whole"},
        ),
    )
}


def protocol(name: str) -> Protocol:
    """Return a protocol by name.

    Raises: InputError if there is none of that name; a near one is suggested.
    """
    if name not in PROTOCOLS:
        near = difflib.get_close_matches(name, PROTOCOLS, 1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise InputError(f"protocol: got {name!r}, expected one of {', '.join(PROTOCOLS)}{hint}")
    return PROTOCOLS[name]
