"""What a model is, in words for people, and every setting of its recipe as a table."""

from __future__ import annotations

from diffsda.recipe import AnyRecipe, Recipe
from diffsda.report.run import Run
from diffsda.report.sections import Details, Section, Table, Text

ABOUT = {
    "dbse": "a sequential variational autoencoder whose static code comes from a single frame",
    "spyl": "a sequential variational autoencoder with contrast among clips it generates",
    "divid": "a diffusion autoencoder of a first frame and of how the others differ from it",
}
"""What each of the other systems is."""
KINDS = {"unet": "A U-Net", "mlp": "An MLP"}


def model_sections(run: Run, parameters: int, *, data: str = "") -> list[Section]:
    """Say what the model of a run is, how far its training is, and fold the recipe away below."""
    recipe = run.recipe
    rows = tuple(
        (f"{part}.{name}", _shown(value))
        for part, values in recipe.to_dict().items()
        if isinstance(values, dict)
        for name, value in values.items()
    )
    settings = Table(("setting", "value"), rows, caption=f"Recipe {recipe.digest}")
    body = "\n\n".join(part for part in (_model(recipe, parameters), _training(run), data) if part)
    return [Text(body, heading="The model"), Details("Recipe, every setting", (settings,))]


def _model(recipe: AnyRecipe, parameters: int) -> str:
    if not isinstance(recipe, Recipe):
        return _other(recipe, parameters)
    clips, encoder, backbone = recipe.clips, recipe.encoder, recipe.backbone
    shape = f"{clips.channels} features" if clips.size is None else f"{clips.channels} x {clips.size} x {clips.size}"
    frames = "clips of any length" if clips.frames is None else f"clips of {clips.frames} frames"
    held = " (latents of a first stage)" if clips.latent else " pixels" if backbone.kind == "unet" else ""
    static = "one static factor" if encoder.shared_static else "one static factor a frame"
    causal = ", from the past only" if encoder.causal else ""
    return (
        f"{recipe.name} is a diffusion autoencoder of {parameters:,} weights for {clips.modality}: {frames}, each "
        f"frame {shape}{held}. Its encoder takes a clip apart into {static} s of {_numbers(encoder.static)}, "
        f"to hold what stays, and a dynamic factor d of {_numbers(encoder.dynamic)} a frame{causal}, to hold what "
        f"changes. {KINDS[backbone.kind]} of width {backbone.width} makes frames from noise, s and d, in "
        f"{recipe.sampling.steps} solver steps ({2 * recipe.sampling.steps - 1} evaluations). No label was used."
    )


def _other(recipe: AnyRecipe, parameters: int) -> str:
    clips = recipe.clips
    shape = f"{clips.channels} x {clips.size} x {clips.size}" if recipe.video else f"{clips.channels} features"
    frames = "clips of any length" if clips.frames is None else f"clips of {clips.frames} frames"
    return (
        f"{recipe.name} is a model of {recipe.system}, {ABOUT[recipe.system.split('-')[0]]}, of {parameters:,} weights "
        f"for {clips.modality}: {frames}, each frame {shape}. It takes a clip apart into one static code s of "
        f"{_numbers(recipe.static)} and a dynamic code d of {_numbers(recipe.dynamic)} a frame. No label was used."
    )


def _numbers(count: int) -> str:
    return "1 number" if count == 1 else f"{count} numbers"


def _training(run: Run) -> str:
    optim = run.recipe.optim
    seen = run.provenance.get("samples_seen")
    words = f"The weights are those of step {'?' if run.step is None else format(run.step, ',')}"
    words += f" of {optim.steps:,}" if optim.steps is not None else f" of {optim.epochs:,} epochs"
    words += f" ({seen:,} clips seen)" if isinstance(seen, int) else ""
    if optim.ema is not None:
        words += f", averaged over steps with decay {optim.ema:g}"
    words += f"; batches of {optim.batch}, learning rate {optim.lr:g} ({optim.schedule}), seed {optim.seed}."
    if optim.steps is not None and run.step is not None and run.step < optim.steps:
        words += f" The training is not finished: {run.step / optim.steps:.0%} of its steps are done."
    return words


def _shown(value: object) -> str:
    if isinstance(value, list):
        return ", ".join(map(_shown, value)) or "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "none" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
