"""A model survives being saved and loaded; hostile files through the command line are in tests/cli."""

import json
import struct

import numpy as np
import pytest
import safetensors.torch
import torch

import diffsda
from diffsda.checkpoint import compare, load, save
from diffsda.errors import CheckpointError, InputError
from diffsda.firststage.whiten import Whitening
from diffsda.header import METADATA_KEY, read_header
from diffsda.model import DiffSDA
from diffsda.recipe import Backbone, Clips, Encoder, Recipe

VECTOR = Recipe(
    name="v",
    clips=Clips(channels=3),
    backbone=Backbone(width=4),
    encoder=Encoder(width=4, hidden=6, static=5, dynamic=2),
)
SMALL = {"width": 32, "multipliers": (1, 2), "attention": (1,), "blocks": 1}
VIDEO = Recipe(
    clips=Clips(modality="video", channels=2, size=8),
    backbone=Backbone(kind="unet", **SMALL),
    encoder=Encoder(hidden=6, static=5, dynamic=2, shared_static=False, causal=True, **SMALL),
)


@pytest.fixture(params=[VECTOR, VIDEO], ids=["vector", "video"])
def model(request, randomise):
    """Return a model with every weight random."""
    channels = request.param.clips.channels
    return randomise(DiffSDA(request.param, Whitening((0.1,) * channels, (1 / 3,) * channels)))


def test_a_round_trip_is_exact(model, tmp_path):
    model.provenance = {"step": 7}
    path = save(model, tmp_path / "m.safetensors")
    again = load(path)
    assert again.recipe == model.recipe
    assert again.whitening == model.whitening
    assert not again.training
    assert again.provenance["step"] == 7
    assert again.provenance["versions"] == {"diffsda": diffsda.__version__, "torch": str(torch.__version__)}
    ours, theirs = model.state_dict(), again.state_dict()
    assert list(ours) == list(theirs)
    for name, value in ours.items():
        assert torch.equal(value, theirs[name]), name
    shape = (2, 4, 3) if model.recipe is VECTOR else (2, 4, 2, 8, 8)
    x = torch.randn(shape)
    torch.testing.assert_close(model.reconstruct(x, steps=2), again.reconstruct(x, steps=2), rtol=0, atol=0)


def test_a_loaded_model_owns_its_weights(model, tmp_path):
    path = save(model, tmp_path / "m.safetensors")
    again = load(path)
    path.unlink()
    with torch.no_grad():
        for p in again.parameters():
            p.add_(1.0)
            assert p.requires_grad
    loss = again.loss(torch.randn((2, 4, 3) if model.recipe is VECTOR else (2, 4, 2, 8, 8)))
    loss.backward()
    assert all(p.grad is not None for p in again.parameters())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_precisions_become_float32(dtype, model, tmp_path):
    path = save(model, tmp_path / "m.safetensors", weights={k: v.to(dtype) for k, v in model.state_dict().items()})
    state = load(path).state_dict()
    for name, value in model.state_dict().items():
        assert state[name].dtype == torch.float32
        assert torch.equal(state[name], value.to(dtype).float()), name


def test_whatever_does_not_lie_in_order_is_saved_in_order(tmp_path, randomise):
    model = randomise(DiffSDA(VIDEO)).to(memory_format=torch.channels_last)
    again = load(save(model, tmp_path / "m.safetensors"))
    for (name, a), b in zip(model.state_dict().items(), again.state_dict().values()):
        assert torch.equal(a, b), name


def test_saving_is_repeatable(model, tmp_path):
    a, b = save(model, tmp_path / "a.safetensors"), save(model, tmp_path / "b.safetensors")
    assert a.read_bytes() == b.read_bytes()


def test_an_existing_file_is_kept_on_request(model, tmp_path):
    path = tmp_path / "m.safetensors"
    path.write_bytes(b"precious")
    with pytest.raises(InputError, match="exists already, expected a new file"):
        save(model, path, overwrite=False)
    assert path.read_bytes() == b"precious"
    save(model, path)
    assert load(path).recipe == model.recipe


def test_a_model_without_whitening_and_with_odd_words(model, tmp_path):
    model.whitening = None
    path = save(model, tmp_path / "m.safetensors")
    assert load(path).whitening is None
    for odd in (None, "text", 5, ["list"]):
        about = {**read_header(path).ours(), "provenance": odd, "extra": 1}
        data = safetensors.torch.save(model.state_dict(), {METADATA_KEY: json.dumps(about)})
        (tmp_path / "n.safetensors").write_bytes(data)
        assert load(tmp_path / "n.safetensors").provenance == {}


def test_a_run_folder_gives_its_newest_model(model, tmp_path):
    for step in (2, 10, 9):
        model.provenance = {"step": step}
        save(model, tmp_path / f"weights-{step:08d}.safetensors")
    assert load(tmp_path).provenance["step"] == 10


def test_tensors_that_overlap_or_leave_holes_are_refused(tmp_path, randomise):
    path = save(randomise(DiffSDA(VECTOR)), tmp_path / "m.safetensors")
    data = path.read_bytes()
    size = struct.unpack("<Q", data[:8])[0]
    head = json.loads(data[8 : 8 + size])
    first, second = sorted((k for k in head if k != "__metadata__"), key=lambda k: head[k]["data_offsets"])[:2]
    head[second]["data_offsets"] = [head[first]["data_offsets"][0], head[second]["data_offsets"][1]]
    text = json.dumps(head).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data[8 + size :])
    with pytest.raises(CheckpointError, match=r"m.safetensors: cannot be read"):
        load(path)


@pytest.mark.parametrize("seed", range(3))
def test_flipped_bits_never_do_worse_than_a_refusal(seed, tmp_path, randomise):
    path = save(randomise(DiffSDA(VECTOR)), tmp_path / "m.safetensors")
    data = path.read_bytes()
    draw = np.random.default_rng(seed)
    head, said = struct.unpack("<Q", data[:8])[0] + 8, []
    for _ in range(60):
        bad = bytearray(data)
        bad[draw.integers(head)] ^= 1 << draw.integers(8)
        path.write_bytes(bad)
        try:
            load(path)
        except CheckpointError as error:
            said.append(str(error))
    assert said
    assert all(line.startswith(str(path)) for line in said)


def test_compare_names_what_differs():
    compare({"a": (1,)}, {"a": (1,)}, "x")
    with pytest.raises(CheckpointError) as caught:
        compare({"a": (1,), "b": (2, 3), "c": ()}, {"a": (2,), "d": (4,), "c": ()}, "m")
    assert str(caught.value) == (
        "m: tensors do not fit the model: missing d (4,); unknown b (2, 3); a is (1,), expected (2,)"
    )
    with pytest.raises(CheckpointError, match=r"missing k4 \(1,\) \(and 2 more\)$"):
        compare({}, {f"k{i}": (1,) for i in range(7)}, "m")
