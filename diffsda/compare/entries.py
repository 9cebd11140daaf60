"""What is compared: recipes to be trained, and models that are trained already."""

from __future__ import annotations

import collections
import dataclasses
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from diffsda.errors import InputError
from diffsda.recipe import AnyRecipe
from diffsda.systems import preset, recipe_from_dict

if TYPE_CHECKING:
    from diffsda.data.clip import Clips
    from diffsda.data.stream import Stream

FORM = ("modality", "channels", "size", "latent", "stride", "window")
"""What clips of all systems must have in common, so that they are the same and the same judges can look at them."""
LONGEST = 80
"""Letters of a name that are part of a file's."""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A system in the comparison: a recipe, or models that were trained by it."""

    name: str
    recipe: AnyRecipe
    """With training seed 0."""
    loaded: tuple[str, ...] = ()
    """Model files and run folders; with any, nothing is trained."""

    @property
    def row(self) -> str:
        """Its name as part of a file's, which no other name has."""
        plain = "".join(c if c.isascii() and (c.isalnum() or c in "-_.") else "-" for c in self.name)[:LONGEST]
        if plain == self.name:
            return plain
        return f"{plain}-{hashlib.sha256(self.name.encode()).hexdigest()[:8]}"


def entries(words: Sequence[str]) -> list[Entry]:
    """Read what is to be compared: presets, recipe.json files, run folders and model files.

    Models that differ in their training seed alone are one system.
    Raises: InputError for what is none of these, a recipe given twice, fewer than one; CheckpointError for a file that
    is no model.
    """
    if not words:
        raise InputError("RECIPE: got none, expected presets, recipe.json files, run folders or model files")
    found: dict[tuple[str, bool], tuple[AnyRecipe, list[str]]] = {}
    for word in words:
        loaded = Path(word).is_dir() or word.endswith(".safetensors")
        recipe = (_of_model(word) if loaded else _of_words(word)).replace(optim={"seed": 0})
        _, paths = found.setdefault((recipe.digest, loaded), (recipe, []))
        if word in paths or (not loaded and paths):
            raise InputError(f"RECIPE: got {word} twice, or another name of the same recipe; expected each once")
        paths.append(word)
    made = [
        Entry(name=recipe.name, recipe=recipe, loaded=tuple(paths) if loaded else ())
        for (_, loaded), (recipe, paths) in found.items()
    ]
    return _named(made)


def check_forms(given: Sequence[Entry]) -> None:
    """Refuse systems that see clips of different kinds. Raises: InputError naming the first that differs."""
    first = given[0]
    for entry in given[1:]:
        for name in FORM:
            ours, theirs = (getattr(one.recipe.clips, name) for one in (first, entry))
            same = ours == theirs or (name == "modality" and not (first.recipe.video or entry.recipe.video))
            if not same:
                raise InputError(
                    f"{entry.name}: clips.{name}: got {theirs}, expected {ours} as {first.name} has it: all systems "
                    "are shown the same clips and judged by the same judges"
                )


def check_same(given: Sequence[Entry], clips: Mapping[str, Clips | Stream]) -> None:
    """Refuse systems that are trained on different clips, by name, as recipes of other ``clips.frames`` cut them.

    Raises: InputError naming the first that differs.
    """
    first = given[0]
    wanted = clips[first.name].fingerprint()
    for entry in given[1:]:
        if clips[entry.name] is not clips[first.name] and clips[entry.name].fingerprint() != wanted:
            ours, theirs = (f"frames {one.recipe.clips.frames}" for one in (first, entry))
            raise InputError(
                f"{entry.name}: clips: got others ({theirs}) than {first.name} has ({ours}), expected the same clips "
                "for all systems: say the same clips in their recipes"
            )


def check_clips(entry: Entry, clips: Clips | Stream) -> None:
    """Refuse clips a system cannot be trained on, by the loss of a few of them.

    Raises: InputError for clips of another shape, missing values in a system that cannot leave them out, a number of
    frames it cannot read.
    """
    import torch

    from diffsda.data.clip import Clips
    from diffsda.systems import build
    from diffsda.train.data import fits

    fits(clips, entry.recipe)
    if entry.loaded or not isinstance(clips, Clips):
        return
    few = clips.select(slice(0, 4))
    try:
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            build(entry.recipe).terms(few.x, few.lengths, few.mask)
    except InputError as error:
        raise InputError(f"{entry.name}: {error}") from None


def parameters(recipe: AnyRecipe) -> int:
    """Count the parameters of a recipe's model, without making them.

    Raises: InputError for a recipe its system cannot have.
    """
    import torch

    from diffsda.systems import build

    with torch.device("meta"):
        return sum(value.numel() for value in build(recipe).parameters())


def _of_model(path: str) -> AnyRecipe:
    from diffsda.errors import CheckpointError
    from diffsda.header import newest, read_header

    file = newest(path)
    about = read_header(file).ours()
    if about is None or "recipe" not in about:
        raise CheckpointError(
            f"{file}: got a safetensors file without a recipe, expected a model saved by this program"
        )
    return recipe_from_dict(about["recipe"])


def _of_words(word: str) -> AnyRecipe:
    if not word.endswith(".json"):
        return preset(word)
    try:
        plain = json.loads(Path(word).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{word}: cannot be read ({error}), expected a recipe.json") from None
    if isinstance(plain, dict):
        plain.pop("digest", None)
    try:
        return recipe_from_dict(plain)
    except InputError as error:
        raise InputError(f"{word}: {error}") from None


def _named(made: list[Entry]) -> list[Entry]:
    """Tell systems of one name apart: by their digest, trained ones by being so."""
    counts = collections.Counter(entry.name for entry in made)
    out = []
    for entry in made:
        name = entry.name
        if not name.strip(". ") or not name.isprintable():
            raise InputError(f"name: got {name!r}, expected one that can be the name of a folder and of a row")
        if counts[name] > 1:
            name += f"-{entry.recipe.digest[:6]}" + ("-loaded" if entry.loaded else "")
        out.append(dataclasses.replace(entry, name=name))
    return out
