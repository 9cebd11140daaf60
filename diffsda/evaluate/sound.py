"""Utterances as sound: their log mel spectra, in people's units, turned back into waves."""

from __future__ import annotations

from diffsda.errors import InputError
from diffsda.evaluate.griffin_lim import Mel, griffin_lim, mel_of
from diffsda.evaluate.job import Job
from diffsda.evaluate.lengths import Array
from diffsda.evaluate.utterances import Utterances


def form_of(job: Job) -> Mel:
    """Return how the clips' spectra were made.

    Raises: InputError if the clips are no log mel spectra, or it is not known.
    """
    modality = job.model.recipe.clips.modality
    if modality != "audio":
        raise InputError(f"sound: got clips of {modality}, expected log mel spectra (clips.modality audio)")
    return mel_of(job.test.x.shape[2], job.folder)


def waves(job: Job, x: Array, said: Utterances, form: Mel) -> list[Array]:
    """Return a wave (samples,) in [-1, 1] for each utterance of clips x (N, V, F) in the model's units.

    The same utterance starts from the same phases, whatever its spectra and whatever the job's seed.
    """
    lengths = job.test.lengths
    spectra = said.joined(job.back(x, lengths), lengths)
    made = (griffin_lim(one, form, seed=int(name)) for one, name in zip(spectra, said.ids, strict=True))
    return [wave.clip(-1, 1) for wave in made]
