"""First stages on disk: ours and latent diffusion's come back exactly; damaged, foreign and hostile ones do not."""

import dataclasses
import json
import pickle
import sys
import tracemalloc
import types
import zipfile

import pytest
import safetensors.torch
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from diffsda.errors import CheckpointError, InputError
from diffsda.firststage.build import build
from diffsda.firststage.files import digest, load_first_stage, save_first_stage
from diffsda.firststage.latent_diffusion import read_latent_diffusion, stage_of
from diffsda.firststage.recipe import CONFIGURATIONS, FirstStage, configuration
from diffsda.header import METADATA_KEY, read_header

VQ = FirstStage(size=256, width=32, multipliers=(1, 2), blocks=1, attention=(1,), latent=3, codes=8)
KL = FirstStage(kind="kl", size=256, width=32, multipliers=(1,), blocks=1, attention=(), latent=2, codes=0)


@pytest.fixture(params=[VQ, KL], ids=["vq", "kl"])
def model(request):
    torch.manual_seed(1)
    return build(request.param).eval()


def assert_same(a, b):
    assert a.stage == b.stage
    assert a.state_dict().keys() == b.state_dict().keys()
    for name, value in a.state_dict().items():
        assert torch.equal(value, b.state_dict()[name]), name


def refused(path, *words, error=CheckpointError):
    with pytest.raises(error) as caught:
        load_first_stage(path)
    text = str(caught.value)
    assert "\n" not in text
    missing = [word for word in words if word not in text]
    assert not missing, f"{text!r} lacks {missing}"


def pickled(path, model, **beside):
    """A file as latent diffusion's training leaves it."""
    torch.save({"epoch": 3, "global_step": 7, "state_dict": {**model.state_dict(), **beside}}, path)
    return path


def test_ours_come_back(tmp_path, model):
    model.provenance = {"data": "faces"}
    path = save_first_stage(model, tmp_path / "a.safetensors")
    back = load_first_stage(path)
    assert_same(back, model)
    assert not back.training
    assert not any(p.requires_grad for p in back.parameters())
    assert back.provenance["data"] == "faces"
    assert read_header(path).ours()["first_stage"]["kind"] == model.stage.kind
    with pytest.raises(InputError, match="exists already"):
        save_first_stage(model, path, overwrite=False)


def test_the_newest_of_a_run_folder(tmp_path, model):
    save_first_stage(build(model.stage), tmp_path / "weights-00000009.safetensors")
    save_first_stage(model, tmp_path / "weights-00000010.safetensors")
    assert_same(load_first_stage(tmp_path), model)


@pytest.mark.parametrize("suffix", ["ckpt", "pth", "safetensors"])
def test_latent_diffusion_files(tmp_path, model, suffix):
    path = tmp_path / f"a.{suffix}"
    if suffix == "safetensors":
        safetensors.torch.save_file(model.state_dict(), path)
    else:
        pickled(path, model)
    assert_same(load_first_stage(path), model)


def test_what_training_left_in_a_file_is_left_out_by_name(tmp_path, model):
    beside = {
        "loss.discriminator.main.0.weight": torch.ones(2),
        "loss.perceptual_loss.net.slice1.0.weight": torch.ones(2),
        "loss.logvar": torch.zeros(()),
        "model_ema.decay": torch.zeros(()),
        "model_ema.encoderconv_inweight": torch.ones(2),
    }
    back = load_first_stage(pickled(tmp_path / "a.ckpt", model, **beside))
    assert_same(back, model)
    assert back.provenance["left_out_count"] == 5
    assert read_latent_diffusion(tmp_path / "a.ckpt")[1] == list(beside)


def test_the_first_stage_of_a_whole_model(tmp_path, model):
    inner = {f"first_stage_model.{k}": v for k, v in model.state_dict().items()}
    inner["first_stage_model.loss.logvar"] = torch.zeros(())
    torch.save({"state_dict": {"model.diffusion_model.out.weight": torch.ones(3), **inner}}, tmp_path / "a.ckpt")
    back = load_first_stage(tmp_path / "a.ckpt")
    assert_same(back, model)
    assert back.provenance["left_out_count"] == 2


def test_half_precision_becomes_single(tmp_path, model):
    torch.save({k: v.half() for k, v in model.state_dict().items()}, tmp_path / "a.pth")
    back = load_first_stage(tmp_path / "a.pth")
    assert_same(back, model.half().float())


def test_a_trainers_objects_are_passed_over(tmp_path, model, monkeypatch):
    """Published files name classes of the framework that trained them, as keys and as values."""
    trainer = types.ModuleType("pytorch_lightning.callbacks")
    for kind, parent in (("ModelCheckpoint", object), ("AttributeDict", dict)):
        setattr(trainer, kind, type(kind, (parent,), {"__module__": trainer.__name__}))
    for name in ("pytorch_lightning", trainer.__name__):
        monkeypatch.setitem(sys.modules, name, trainer)
    one = trainer.ModelCheckpoint()
    one.best = 3.0
    held = {"callbacks": {trainer.ModelCheckpoint: {"best": one}}, "hyper_parameters": trainer.AttributeDict(lr=1e-3)}
    torch.save({**held, "state_dict": model.state_dict()}, tmp_path / "a.ckpt")
    monkeypatch.delitem(sys.modules, trainer.__name__)
    assert_same(load_first_stage(tmp_path / "a.ckpt"), model)
    assert trainer.__name__ not in sys.modules


class Hostile:
    """Does something when unpickled carelessly."""

    def __init__(self, call, *given):
        self.call, self.given = call, given

    def __reduce__(self):
        return self.call, self.given


def test_code_is_never_run(tmp_path, model):
    import os

    for i, (call, *words) in enumerate([(os.system, f"touch {tmp_path}/ran"), (eval, "1"), (pickle.loads, b"x")]):
        torch.save({"state_dict": model.state_dict(), "callbacks": Hostile(call, *words)}, tmp_path / f"{i}.ckpt")
        refused(tmp_path / f"{i}.ckpt", "wants to run code or is damaged")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["0.ckpt", "1.ckpt", "2.ckpt"]


def test_allowing_stand_ins_ends_with_the_file(tmp_path, model):
    before = list(torch.serialization.get_safe_globals())
    load_first_stage(pickled(tmp_path / "a.ckpt", model))
    assert torch.serialization.get_safe_globals() == before


def test_truncated_and_damaged_files(tmp_path, model):
    whole = save_first_stage(model, tmp_path / "a.safetensors").read_bytes()
    for kept in (0, 5, 100, len(whole) // 2, len(whole) - 1):
        (tmp_path / "cut.safetensors").write_bytes(whole[:kept])
        refused(tmp_path / "cut.safetensors", "cut.safetensors")
    flipped = bytearray(whole)
    flipped[-3] ^= 1
    (tmp_path / "bit.safetensors").write_bytes(flipped)
    refused(tmp_path / "bit.safetensors", "its weights are not those it was saved with")
    packed = pickled(tmp_path / "a.ckpt", model).read_bytes()
    for kept in (0, 5, 100, len(packed) // 2, len(packed) - 1):
        (tmp_path / "cut.ckpt").write_bytes(packed[:kept])
        refused(tmp_path / "cut.ckpt", "cut.ckpt")
    refused(tmp_path / "none.ckpt", "no such file")
    refused(tmp_path, "a folder without weights")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(draw=st.data(), kind=st.sampled_from(["safetensors", "ckpt"]))
def test_flipped_bits_are_refused_or_harmless(tmp_path, draw, kind):
    stage = build(KL).eval()
    path = tmp_path / f"a.{kind}"
    whole = bytearray((save_first_stage(stage, path) if kind == "safetensors" else pickled(path, stage)).read_bytes())
    for _ in range(draw.draw(st.integers(1, 4))):
        place = draw.draw(st.one_of(st.integers(0, 4000), st.integers(0, len(whole) - 1), st.integers(-4000, -1)))
        whole[place] ^= 1 << draw.draw(st.integers(0, 7))
    path.write_bytes(whole)
    said = ""
    try:
        back = load_first_stage(path)
    except CheckpointError as error:
        said = str(error)
    else:
        assert all(bool(torch.isfinite(value).all()) for value in back.state_dict().values())
        assert kind == "ckpt" or back.digest() == stage.digest()
    assert "\n" not in said


def resaved(path, about, tensors):
    safetensors.torch.save_file(tensors, path, {METADATA_KEY: json.dumps(about)})
    return path


def test_headers_of_strangers(tmp_path, model):
    tensors, path = dict(model.state_dict()), tmp_path / "a.safetensors"
    about = {"format": 1, "first_stage": model.stage.to_dict(), "digest": model.digest()}
    assert_same(load_first_stage(resaved(path, about, tensors)), model)
    refused(resaved(path, {"format": 1, "recipe": {}}, tensors), "a model of this program that is no first stage")
    refused(resaved(path, {"format": 1}, tensors), "a file of this program that is no first stage")
    refused(resaved(path, {**about, "format": 2}, tensors), "got format 2, expected 1")
    for change, words in (
        ({"widht": 3}, "did you mean 'width'"),
        ({"width": 10**9}, "a whole number from 32 to 4096"),
        ({"blocks": True}, "blocks: got True"),
        ({"width": 64}, "tensors do not fit"),
        ({"multipliers": [1] * 99}, "1 to 10 whole numbers"),
        ({"multipliers": "11"}, "multipliers: got '11'"),
        ({"attention": [9]}, "attention: got (9,)"),
        ({"kind": "vqvae"}, "kind: got 'vqvae'"),
    ):
        refused(resaved(path, {**about, "first_stage": {**about["first_stage"], **change}}, tensors), words)
    refused(resaved(path, {**about, "first_stage": 3}, tensors), "a table of settings")


def test_tensors_that_do_not_fit_are_named(tmp_path, model):
    tensors, path = dict(model.state_dict()), tmp_path / "a.ckpt"
    torch.save({k: v for k, v in tensors.items() if k != "decoder.norm_out.bias"}, path)
    refused(path, "missing decoder.norm_out.bias (32,)")
    torch.save({**tensors, "encoder.more.weight": torch.ones(2)}, path)
    refused(path, "unknown encoder.more.weight (2,)")
    torch.save({**tensors, "decoder.norm_out.bias": torch.ones(33)}, path)
    refused(path, "decoder.norm_out.bias is (33,), expected (32,)")
    torch.save({**tensors, "backbone.head.weight": torch.ones(2)}, path)
    refused(path, "got the tensor backbone.head.weight (2,), expected a latent-diffusion first stage")
    torch.save({k: v for k, v in tensors.items() if k != "encoder.conv_in.weight"}, path)
    refused(path, "got no tensor for encoder.conv_in.weight")
    torch.save({**tensors, "encoder.conv_in.bias": torch.full((32,), float("nan"))}, path)
    refused(path, "encoder.conv_in.bias holds values that are not finite")
    torch.save({**tensors, "encoder.conv_in.bias": torch.ones(32, dtype=torch.int64)}, path)
    refused(path, "encoder.conv_in.bias holds torch.int64")


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_shapes_tell_the_configuration(name):
    stage = configuration(name)
    with torch.device("meta"):
        shapes = {k: tuple(v.shape) for k, v in build(stage).state_dict().items()}
    found = stage_of(shapes, "here")
    assert found.to_dict() == {**stage.to_dict(), "size": 256}


@given(st.dictionaries(st.sampled_from(["encoder.conv_in.weight", "decoder.conv_in.weight",
                                        "encoder.down.0.block.0.conv1.weight", "quantize.embedding.weight"]),
                       st.lists(st.integers(0, 2**40), max_size=5).map(tuple)))  # fmt: skip
def test_any_shapes_are_read_or_refused(shapes):
    said = ""
    try:
        found = stage_of(shapes, "here")
    except CheckpointError as error:
        said = str(error)
    else:
        assert found.width == shapes["encoder.conv_in.weight"][0]
    assert said.startswith("here: ") or not said


def test_the_digest_names_the_weights_whatever_the_file(tmp_path, model):
    ours = save_first_stage(model, tmp_path / "a.safetensors")
    theirs = pickled(tmp_path / "a.ckpt", model)
    assert digest(ours) == digest(theirs) == model.digest()
    assert len(digest(ours)) == 64
    model.stage = dataclasses.replace(model.stage, size=64)  # What it was trained on, which other files do not say.
    assert model.digest() == digest(theirs)
    with torch.no_grad():
        model.decoder.conv_out.bias[0] += 1e-6
    assert model.digest() != digest(ours)


def test_configurations_by_name():
    with pytest.raises(InputError, match=r"got 'vq9', expected one of vq4, .*; did you mean 'vq"):
        configuration("vq9")
    for change in ({"width": 33}, {"size": 30}, {"codes": 0}, {"latent": 0}, {"kind": "kl"}, {"blocks": 2.0}):
        with pytest.raises(InputError, match="first stage"):
            FirstStage(**{"size": 32, **change})
    assert FirstStage().digest != configuration("vq4").digest
    assert FirstStage.from_dict(json.loads(json.dumps(FirstStage().to_dict()))) == FirstStage()


def test_a_bomb_in_the_pickle_is_refused_before_it_is_unpacked(tmp_path):
    path = tmp_path / "bomb.ckpt"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/version", "3\n")
        with archive.open("archive/data.pkl", "w") as file:
            for _ in range(32):
                file.write(bytes(2**20))
    tracemalloc.start()
    with pytest.raises(CheckpointError, match="unpacks to"):
        read_latent_diffusion(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**20


@given(st.lists(st.tuples(st.integers(0, 2**20), st.integers(0, 255)), min_size=1, max_size=4))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)
def test_an_archive_broken_anywhere_is_refused_or_read(tmp_path, changes):
    good = tmp_path / "good.ckpt"
    if not good.exists():
        torch.save({"state_dict": {"encoder.conv_in.weight": torch.ones(2, 3)}}, good)
    data = bytearray(good.read_bytes())
    for place, value in changes:
        data[place % len(data)] = value
    (tmp_path / "bad.ckpt").write_bytes(data)
    try:
        tensors, _ = read_latent_diffusion(tmp_path / "bad.ckpt")
    except CheckpointError:
        return
    assert all(isinstance(value, torch.Tensor) for value in tensors.values())
