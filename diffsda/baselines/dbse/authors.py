"""Read the authors' DBSE weights: kind and sizes from the tensors, the rest from published settings or assumed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from diffsda.baselines.dbse.audio import AudioDBSE
from diffsda.baselines.dbse.model import DBSE
from diffsda.baselines.dbse.series import SeriesDBSE
from diffsda.baselines.dbse.settings import (
    PUBLISHED,
    AudioSettings,
    DBSESettings,
    SeriesSettings,
    VideoSettings,
)
from diffsda.baselines.dbse.video import VideoDBSE
from diffsda.baselines.frame_size import PUBLISHED_SIZE
from diffsda.baselines.keys import (
    Pairs,
    back,
    frame_encoder,
    gaussian_head,
    lstm_prior,
    rename,
    transposed_decoder,
    upsampling_decoder,
)
from diffsda.errors import CheckpointError, InputError
from diffsda.foreign import read_tensors
from diffsda.header import compare


def build(settings: DBSESettings) -> DBSE:
    """Return an untrained system of the kind its settings are of."""
    if isinstance(settings, VideoSettings):
        return VideoDBSE(settings)
    if isinstance(settings, AudioSettings):
        return AudioDBSE(settings)
    if isinstance(settings, SeriesSettings):
        return SeriesDBSE(settings)
    raise InputError(f"settings: got {type(settings).__name__}, expected those of video, audio or series")


def load_authors(
    path: str | Path, settings: str | DBSESettings | None = None, *, as_published: bool | None = None
) -> DBSE:
    """Load a state dict of the authors' code (.pth or .safetensors), ready to use.

    Sizes come from the tensors. What a state dict cannot hold (loss weights, the window of a series) comes from
    ``settings``, published ones by name or your own, else is assumed and listed in ``provenance['assumed']``.
    ``as_published`` None computes what the weights were trained to compute (series without subtraction, say), yet the
    same codes each time: the single element's slot holds zeros. False mends all slips, True none.
    Layers that the released code never calls are left out and counted where the model does not build them.
    Raises: CheckpointError if the file cannot be read or its tensors make no DBSE; InputError for unknown settings.
    """
    base = _settings(settings)
    tensors = {k.removeprefix("module."): v for k, v in read_tensors(path).items()}
    return from_tensors(tensors, path, base, as_published=as_published)


def from_tensors(
    tensors: Mapping[str, Tensor],
    path: str | Path,
    settings: Any = None,
    *,
    system: str | None = None,
    as_published: bool | None = None,
) -> DBSE:
    """Return DBSE with these weights; ``path`` is for errors, ``system`` the kind they must be of, None for any.

    Raises: as ``load_authors``.
    """
    base = _settings(settings)
    try:
        sizes, kind = _sizes(tensors, None if system is None else KINDS[system])
    except (KeyError, IndexError) as error:
        first = ", ".join(list(tensors)[:5]) or "none"
        raise CheckpointError(
            f"{path}: got tensors that are not DBSE (lacks {error}; it begins with {first}), expected keys such as "
            "encoder.c1.main.0.weight (video), z_lstm_encoder.weight_ih_l0 (audio) or encoder.fc.0.weight (series)"
        ) from None
    if base is not None and not isinstance(base, kind):
        raise InputError(f"settings: got {type(base).__name__}, expected {kind.__name__} like the weights")
    published = kind is not VideoSettings if as_published is None else as_published
    slot = "zeros" if as_published is None else None
    try:
        found = (base or kind()).replace(**sizes, as_published=published, slot=slot)
    except InputError as error:
        raise CheckpointError(f"{path}: its sizes make no DBSE: {error}") from None
    with torch.device("meta"):
        model = build(found)
    names = _names(model)
    wanted = {k: tuple(v.shape) for k, v in rename(model.state_dict(), back(names)).items()}
    compare({k: tuple(v.shape) for k, v in tensors.items() if k in wanted}, wanted, str(path))
    for key in wanted:
        if tensors[key].is_floating_point() == key.endswith("num_batches_tracked"):
            raise CheckpointError(f"{path}: {key} holds {tensors[key].dtype}, expected another kind of number")
    held = rename({k: tensors[k] for k in wanted}, names)
    model.load_state_dict({k: v.float() if v.is_floating_point() else v.long() for k, v in held.items()}, assign=True)
    dead = [k for k in tensors if k not in wanted and k.startswith(_DEAD[kind])]
    extra = [k for k in tensors if k not in wanted and k not in dead]
    model.provenance = {
        "source": "authors' state dict",
        "assumed": [] if base is not None else _assumed(found),
        "dead": len(dead),
        "ignored": extra[:20],
        "ignored_count": len(extra),
    }
    return model.eval()


def to_theirs(tensors: dict[str, Tensor], model: DBSE) -> dict[str, Tensor]:
    """Return tensors named as ours (weights, or their gradients) under the authors' names."""
    return rename(tensors, back(_names(model)))


KINDS: Mapping[str, type[DBSESettings]] = {
    "dbse-video": VideoSettings,
    "dbse-audio": AudioSettings,
    "dbse-series": SeriesSettings,
}
"""System: its settings."""
_DEAD: dict[type[DBSESettings], tuple[str, ...]] = {
    VideoSettings: (),
    AudioSettings: ("mlp_encoder.", "z_rnn."),
    SeriesSettings: ("z_lstm.",),
}


def _settings(given: Any) -> DBSESettings | None:
    if given is None or isinstance(given, DBSESettings):
        return given
    if not isinstance(given, str):
        raise InputError(f"settings: got {type(given).__name__}, expected those of DBSE like the weights")
    if given not in PUBLISHED:
        raise InputError(f"settings: got {given!r}, expected one of {', '.join(PUBLISHED)}")
    return PUBLISHED[given]


def _assumed(settings: DBSESettings) -> list[str]:
    weights = "sequence", "single", "static", "dynamic"
    assumed = [f"weight_{w} {getattr(settings, f'weight_{w}'):g}" for w in weights]
    if isinstance(settings, SeriesSettings):
        assumed += [f"window {settings.window}", f"single {settings.single}", f"draws {settings.draws}"]
    return assumed


def _sizes(
    tensors: Mapping[str, Tensor], kind: type[DBSESettings] | None = None
) -> tuple[dict[str, Any], type[DBSESettings]]:
    """Read the sizes off the tensors; return them and the kind of settings they are for, told by them if not given."""

    def size(key: str, axis: int) -> int:
        return tensors[key].shape[axis]

    sizes: dict[str, Any] = {"dynamic": size("z_mean.weight", 0), "hidden": size("z_prior_mean.weight", 1)}
    kind = kind or _kind(tensors)
    if kind is AudioSettings:
        sizes |= {"channels": size("fc.weight", 0), "static": size("f_mean.model.0.weight", 0)}
        return sizes, AudioSettings
    sizes["static"] = size("f_mean.weight", 0)
    if kind is SeriesSettings:
        return sizes | {"channels": size("encoder.fc.0.weight", 1)}, SeriesSettings
    first = "encoder.c1.main.0.weight"
    sizes |= {"width": size(first, 0), "channels": size(first, 1), "features": size("encoder.c5.0.weight", 0)}
    sizes |= {"decoder": "transposed" if "decoder.upc1.0.weight" in tensors else "upsampling", "size": PUBLISHED_SIZE}
    return sizes, VideoSettings


def _kind(tensors: Mapping[str, Tensor]) -> type[DBSESettings]:
    if "z_lstm_encoder.weight_ih_l0" in tensors:
        return AudioSettings
    return SeriesSettings if "encoder.fc.0.weight" in tensors else VideoSettings


def _names(model: DBSE) -> Pairs:
    """Return the authors' names of the model's tensors, and ours."""
    prior = lstm_prior("z")
    if isinstance(model, VideoDBSE):
        upsampling = model.settings.decoder == "upsampling"
        decoder = upsampling_decoder() if upsampling else transposed_decoder()
        reader = [*_reader("static_feature_extractor.0"), *gaussian_head("f", "reader.static_head")]
        return [*frame_encoder(), *decoder, *prior, *reader]
    if isinstance(model, AudioDBSE):
        reader = [*_reader("static_linear_proj"), *gaussian_head("f", "reader.static_head", ".model.0")]
        ends = [("z_lstm_encoder", "frame_lstm"), ("fc", "frame_out")]
        ends += [("decoder.lstm", "decoder_lstm"), ("decoder.dec_net.0", "decoder_out")]
        return [*ends, *prior, *reader, ("mlp_encoder", "unused.mlp"), ("z_rnn", "unused.lstm")]
    heads = [*gaussian_head("f", "static_head"), *gaussian_head("z", "dynamic_head")]
    decoder = [("decoder.embedding.0", "decoder.start"), ("decoder.rnn", "decoder.lstm"), ("decoder.fc", "decoder.out")]
    decoder += [("decoder.mean_gen", "decoder.mean"), ("decoder.cov_gen.0", "decoder.scale")]
    paths = [("encoder.fc", "steps"), ("gru", "static_gru"), ("static_feature_extractor.0", "static_in")]
    return [*paths, ("fz_lstm", "window_lstm"), *heads, *decoder, *prior, ("z_lstm", "unused")]


def _reader(static_in: str) -> Pairs:
    pairs = [(static_in, "reader.static_in"), ("z_lstm", "reader.lstm")]
    return [*pairs, *gaussian_head("z", "reader.dynamic_head")]
