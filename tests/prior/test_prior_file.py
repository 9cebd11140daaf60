"""A prior's file: written whole, read back exactly, refused with another model or when it is not one."""

import json

import pytest
import safetensors.torch
import torch

from diffsda import DiffSDA, preset, save
from diffsda.checkpoint import load
from diffsda.errors import CheckpointError, InputError
from diffsda.header import METADATA_KEY, read_header
from diffsda.prior.file import NAME, load_prior, save_prior
from diffsda.prior.latent import LatentPrior, Sizes
from diffsda.prior.owner import Owner, described, owner_of
from diffsda.prior.recipe import Prior

SIZES = Sizes(static=4, dynamic=2, frames=3)
OWNER = Owner("mine", "0123456789ab", "f" * 16, 300)


@pytest.fixture
def prior(randomise):
    made = randomise(LatentPrior(Prior(layers=3, width=2, sampling_steps=5, split=True), SIZES))
    made.mean.normal_()
    made.std.uniform_(0.5, 2)
    made.owner = OWNER
    made.provenance = {"clips": 7}
    return made


@pytest.fixture
def file(prior, tmp_path):
    return save_prior(prior, tmp_path / NAME)


def rewrite(path, *, tensors=None, **about):
    """Change tensors of a prior's file, or what it says of itself."""
    held = {**safetensors.torch.load_file(path), **(tensors or {})}
    ours = {**read_header(path).ours(), **about}
    data = safetensors.torch.save({k: v for k, v in held.items() if v is not None}, {METADATA_KEY: json.dumps(ours)})
    path.write_bytes(data)


def test_a_prior_comes_back_as_it_was(prior, file):
    for where in (file, file.parent):
        again = load_prior(where)
        assert (again.recipe, again.sizes, again.owner) == (prior.recipe, prior.sizes, OWNER)
        assert again.provenance["clips"] == 7
        assert not again.training
        for name, value in prior.state_dict().items():
            assert torch.equal(again.state_dict()[name], value), name
        assert torch.equal(again.sample(3, 5).pack(), prior.sample(3, 5).pack())


def test_an_old_file_stays_unless_it_may_go(prior, file):
    with pytest.raises(InputError, match="exists already"):
        save_prior(prior, file, overwrite=False)
    save_prior(prior, file)


def test_another_models_prior_is_refused_by_name(file):
    assert load_prior(file, owner=OWNER).owner == OWNER
    # The same encoder under another recipe is the same model to a prior.
    assert load_prior(file, owner=Owner("renamed", "ba9876543210", "f" * 16, None))
    other = Owner("theirs", "ba9876543210", "e" * 16, 20)
    with pytest.raises(InputError, match=r"prior of mine \(recipe 0123456789ab, step 300\), got theirs .* step 20\)"):
        load_prior(file, owner=other)
    # An export shows no encoder: its recipe and step must do.
    assert load_prior(file, owner=Owner("mine", "0123456789ab", None, 300))
    for step, recipe in ((200, "0123456789ab"), (300, "ba9876543210")):
        with pytest.raises(InputError, match="is the prior of mine"):
            load_prior(file, owner=Owner("mine", recipe, None, step))


def test_a_model_is_known_by_its_encoder(tmp_path, randomise):
    model = randomise(DiffSDA(preset("tiny_vector")))
    model.provenance["step"] = 12
    path = save(model, tmp_path / "weights-00000012.safetensors")
    owner = owner_of(path)
    assert owner == owner_of(tmp_path)
    assert (owner.name, owner.recipe, owner.step) == ("tiny_vector", model.recipe.digest, 12)
    again = load(path)
    assert owner == described(again.recipe.name, again.recipe.digest, again.state_dict(), again.provenance)
    with torch.no_grad():
        model.denoiser.backbone.linears[0].bias.add_(1)
    assert owner_of(save(model, path)).encoder == owner.encoder
    with torch.no_grad():
        model.encoder.to_static.bias[0] += 1e-3
    assert owner_of(save(model, path)).encoder != owner.encoder


def test_files_that_hold_no_model(file, tmp_path):
    with pytest.raises(CheckpointError, match="without a recipe"):
        owner_of(file)
    with pytest.raises(CheckpointError, match="cannot be read"):
        owner_of(tmp_path / "nothing.safetensors")


def test_files_that_hold_no_prior(file, tmp_path, randomise):
    model = save(randomise(DiffSDA(preset("tiny_vector"))), tmp_path / "model.safetensors")
    with pytest.raises(CheckpointError, match="is no prior"):
        load_prior(model)
    with pytest.raises(CheckpointError, match="cannot be read"):
        load_prior(tmp_path / "other.safetensors")
    with pytest.raises(CheckpointError, match="without a recipe"):
        load(file)
    whole = file.read_bytes()
    for part in (b"", whole[:100], whole[:-3]):
        file.write_bytes(part)
        with pytest.raises(CheckpointError):
            load_prior(file)


@pytest.mark.parametrize(
    ("about", "words"),
    [
        ({"format": 2}, "use a newer diffsda"),
        ({"kind": "model"}, "is no prior"),
        ({"prior": {"layers": 10**9}}, "prior.layers"),
        ({"prior": {"depth": 3}}, "unknown setting 'depth'"),
        ({"prior": None}, "got NoneType"),
        ({"sizes": {"static": 4, "dynamic": 2}}, "expected static, dynamic and frames"),
        ({"sizes": {"static": 4, "dynamic": 10**6, "frames": 10**6}}, "at most a million"),
        ({"sizes": {"static": 900_000, "dynamic": 1, "frames": 1}}, "tensors do not fit"),
        ({"model": {"name": "x"}}, "expected name, recipe, encoder and step"),
    ],
)
def test_what_a_file_says_of_itself_is_checked(file, about, words):
    rewrite(file, **about)
    with pytest.raises(CheckpointError, match=words):
        load_prior(file)


def test_tensors_are_checked(file):
    name = "networks.static.linears.0.weight"
    for changed, words in (({name: torch.zeros(2, 2)}, r"is \(2, 2\), expected \(8, 4\)"), ({name: None}, "missing")):
        rewrite(file, tensors=changed)
        with pytest.raises(CheckpointError, match=words):
            load_prior(file)


@pytest.mark.parametrize("value", [0.0, -1.0, float("nan"), float("inf")])
def test_statistics_no_factors_have(file, value):
    std = load_prior(file).std.clone()
    std[2] = value
    rewrite(file, tensors={"std": std})
    with pytest.raises(CheckpointError, match="statistics"):
        load_prior(file)
