"""The protocols of the papers' tables by name, each in a file of its own that is imported when it is run."""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from diffsda.errors import InputError
from diffsda.evaluate.protocols.setting import (
    COUNT,
    LABEL_NOISES,
    PAIRS,
    PICTURES,
    READER,
    RUNS,
    VIDEO_NOISES,
    Setting,
)

if TYPE_CHECKING:
    from diffsda.evaluate.job import Job
    from diffsda.evaluate.result import Row


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
    settings: Mapping[str, Setting] = field(default_factory=dict)
    """Settings of its own by name."""
    published_counting: bool = False
    """Whether ``as_published`` changes anything: whether the authors' code, where there is any, counts otherwise."""

    def checked(self, given: dict[str, Any]) -> dict[str, Any]:
        """Return settings as they came.

        Raises: InputError for one there is none of, a near one is suggested, or a value that it does not take.
        """
        for name, value in given.items():
            if name not in self.settings:
                near = difflib.get_close_matches(name, self.settings, 1)
                hint = f"; did you mean {near[0]!r}?" if near else ""
                known = ", ".join(self.settings) or "none"
                raise InputError(f"setting of {self.name}: got {name!r}, expected one of: {known}{hint}")
            self.settings[name].check(name, value)
        return given

    def run(self, job: Job) -> list[Row]:
        """Score one seed."""
        found: Callable[[Job], list[Row]] = importlib.import_module(f"{__name__}.{self.module}").run
        return found(job)

    def draws(self, job: Job) -> bool:
        """Return whether another seed could change a value: whether anything is drawn for this job."""
        found: Callable[[Job], bool] | None = getattr(
            importlib.import_module(f"{__name__}.{self.module}"), "draws", None
        )
        return found is None or found(job)


PROTOCOLS = {
    one.name: one
    for one in (
        Protocol(
            name="swap-labels",
            module="swap_labels",
            tables="DiViD Table 1",
            about="swaps read by a judge: static, dynamic and joint accuracy, leakage of either factor into the other",
            needs="clips with static and dynamic labels (sprites, mug, moving_shapes, ...)",
            settings={
                **PAIRS,
                "pairs": Setting("whole", "500", "pairs to draw, each swapped both ways; as --draw-pairs"),
                "noises": LABEL_NOISES,
                **READER,
                "leakage": Setting("truth", "true", "whether probes read the labels of either role from s and from d"),
            },
        ),
        Protocol(
            name="swap-video",
            module="faces",
            published_counting=True,
            tables="Tables 2, 17",
            about="swaps of faces or bodies: AED with s kept, AKD with d kept",
            needs="a video set; judges of identity and key points",
            settings={**PAIRS, "noises": VIDEO_NOISES, **PICTURES},
        ),
        Protocol(
            name="reconstruction",
            module="reconstruction",
            published_counting=True,
            tables="Tables 3, 17",
            about="clips from their own start noise and from the factors alone: MSE, PSNR, AED, AKD",
            needs="any set; AED and AKD want judges",
            settings=PICTURES,
        ),
        Protocol(
            name="verification",
            module="verification",
            published_counting=True,
            tables="Tables 10, 11",
            about="is it the same person after a swap, and the same action",
            needs="a video set of faces; a judge of identity; for actions, a label",
            settings={**PAIRS, "noises": VIDEO_NOISES, **PICTURES, **READER},
        ),
        Protocol(
            name="judge",
            module="sampled_judge",
            tables="Table 9",
            about="one factor drawn from the prior: accuracy of what was kept, inception score, entropies",
            needs="clips with labels (mug, sprites, ...); a prior",
            settings={
                **READER,
                "noise": Setting(
                    "word",
                    "auto: own where s is drawn, fresh where d is",
                    "where clips with a drawn factor start from: their own start noise, or noise that is drawn",
                    ("auto", "own", "fresh", "shared"),
                ),
                "prior_steps": Setting("whole", "the prior's own", "solver steps of the prior"),
            },
        ),
        Protocol(
            name="fvd",
            module="generation",
            tables="Table 13, G.1",
            about="samples of the prior against real clips: Frechet video distance, precision and recall",
            needs="any set; a prior; I3D for the paper's scale",
            settings={"count": COUNT},
        ),
        Protocol(
            name="eer",
            module="eer",
            published_counting=True,
            tables="Tables 4, 16",
            about="speakers verified by s and by d: equal error rates and their gap",
            needs="recordings with speakers (timit, librispeech, speech, japanese_vowels)",
            settings={
                "speaker": Setting(
                    "words", "the first static label", "label of who speaks; of several, who shares all is one"
                ),
                "utterances": Setting(
                    "whole", "5000", "utterances compared at most, drawn by the seed if there are more"
                ),
                "voices": Setting(
                    "truth", "true", "whether an embedder of voices is a baseline, where clips are speech"
                ),
            },
        ),
        Protocol(
            name="speech-quality",
            module="speech_quality",
            tables="Table 12",
            about="reconstructed speech: error of the spectrogram, DNSMOS of its sound",
            needs="log mel clips; DNSMOS",
            settings={"heard": Setting("whole", "100", "utterances made sound and rated, drawn by the seed")},
        ),
        Protocol(
            name="prediction",
            module="prediction",
            published_counting=True,
            tables="Tables 5, 14",
            about="mortality or oil temperature from frozen factors",
            needs="physionet or etth1",
            settings={
                "outcome": Setting("word", "death", "label of 0 and 1 that is predicted"),
                "target": Setting("word", "OT", "array of the prepared folder's files that is predicted"),
                "window": Setting("whole", "10", "frames that a value of the target is averaged over"),
                "runs": RUNS,
                "passes": Setting("whole", "41 for the outcome, 301 for the target", "passes over the training part"),
            },
        ),
        Protocol(
            name="classification",
            module="classification",
            published_counting=True,
            tables="Tables 5, 15",
            about="ICU unit, month or another static label from s",
            needs="physionet, airq, or clips with a static label",
            settings={
                "runs": RUNS,
                "passes": Setting("whole", "205", "passes over the training part"),
                "lr": Setting("number", "0.001", "learning rate of the heads"),
            },
        ),
        Protocol(
            name="multifactor",
            module="multifactor",
            tables="MSD benchmark",
            about="swaps and samples of factor groups, read by a judge, and static factors' consistency over frames",
            needs="clips with static and dynamic labels",
            settings={
                **READER,
                "count": Setting("whole", "500", "clips looked at, each a pair with the next one drawn"),
                "pairs": Setting("whole", "none", "pairs to draw of clips that differ in both roles, instead of count"),
            },
        ),
        Protocol(
            name="dci",
            module="dci",
            tables="MSD benchmark",
            about="modularity, compactness and explicitness of the dimensions of s and d",
            needs="clips with labels",
            settings={
                "count": Setting("whole", "1000", "test clips used, drawn by the seed"),
                "width": Setting(
                    "whole", "32", "dimensions that s and the mean of d are brought to where they have more"
                ),
                "trees": Setting("whole", "100", "trees a label"),
            },
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
