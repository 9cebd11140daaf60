"""The protocols of the papers' tables by name, each in a file of its own that is imported when it is run."""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from diffsda.errors import InputError

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

    def run(self, job: Job) -> list[Row]:
        """Score one seed."""
        found: Callable[[Job], list[Row]] = importlib.import_module(f"{__name__}.{self.module}").run
        return found(job)


PROTOCOLS = {
    one.name: one
    for one in (
        Protocol(
            name="swap-labels",
            module="swap_labels",
            tables="DiViD Table 1",
            about="swaps read by a judge: static, dynamic and joint accuracy, leakage of either factor into the other",
            needs="clips with static and dynamic labels (sprites, mug, moving_shapes, ...)",
        ),
        Protocol(
            name="swap-video",
            module="faces",
            tables="Tables 2, 17",
            about="swaps of faces or bodies: AED with s kept, AKD with d kept",
            needs="a video set; judges of identity and key points",
        ),
        Protocol(
            name="reconstruction",
            module="reconstruction",
            tables="Tables 3, 17",
            about="clips from their own start noise and from the factors alone: MSE, PSNR, AED, AKD",
            needs="any set; AED and AKD want judges",
        ),
        Protocol(
            name="verification",
            module="verification",
            tables="Tables 10, 11",
            about="is it the same person after a swap, and the same action",
            needs="a video set of faces; a judge of identity; for actions, a label",
        ),
        Protocol(
            name="judge",
            module="sampled_judge",
            tables="Table 9",
            about="one factor drawn from the prior: accuracy of what was kept, inception score, entropies",
            needs="clips with labels (mug, sprites, ...); a prior",
        ),
        Protocol(
            name="fvd",
            module="generation",
            tables="Table 13, G.1",
            about="samples of the prior against real clips: Frechet video distance, precision and recall",
            needs="any set; a prior; I3D for the paper's scale",
        ),
        Protocol(
            name="eer",
            module="eer",
            tables="Tables 4, 16",
            about="speakers verified by s and by d: equal error rates and their gap",
            needs="recordings with speakers (timit, librispeech, speech, japanese_vowels)",
        ),
        Protocol(
            name="speech-quality",
            module="speech_quality",
            tables="Table 12",
            about="reconstructed speech: error of the spectrogram, DNSMOS of its sound",
            needs="log mel clips; DNSMOS",
        ),
        Protocol(
            name="prediction",
            module="prediction",
            tables="Tables 5, 14",
            about="mortality or oil temperature from frozen factors",
            needs="physionet or etth1",
        ),
        Protocol(
            name="classification",
            module="classification",
            tables="Tables 5, 15",
            about="ICU unit, month or another static label from s",
            needs="physionet, airq, or clips with a static label",
        ),
        Protocol(
            name="multifactor",
            module="multifactor",
            tables="MSD benchmark",
            about="swaps and samples of factor groups, read by a judge, and static factors' consistency over frames",
            needs="clips with static and dynamic labels",
        ),
        Protocol(
            name="dci",
            module="dci",
            tables="MSD benchmark",
            about="modularity, compactness and explicitness of the dimensions of s and d",
            needs="clips with labels",
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
