"""The authors' weights through ``diffsda import``: hostile, broken and good."""

import io
import json
import os
import pickle
import zipfile
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from shelf import names

from diffsda.checkpoint import load

GOLDEN = Path(__file__).resolve().parents[1] / "golden"


@pytest.fixture(scope="module")
def weights():
    """Return the authors' tensors of the small series model."""
    return safetensors.torch.load_file(GOLDEN / "timeseries.weights.safetensors")


@pytest.fixture
def refuses(cli, room, refused):
    """Assert that import refuses a file and leaves nothing."""

    def check(path, *words, status=1, options=()):
        said = cli("import", path, "--out", room / "m.safetensors", *options)
        refused(said, "import", status, *words)
        assert names(room) == []

    return check


def pth(path, held, **options):
    torch.save(held, path, **options)
    return path


def same_weights(a, b):
    ours, theirs = a.state_dict(), b.state_dict()
    return ours.keys() == theirs.keys() and all(torch.equal(ours[k], theirs[k]) for k in ours)


@pytest.fixture
def imported(cli, tmp_path):
    """Import a file and return the model and what was said."""

    def run(path, *options):
        out = tmp_path / f"{path.name}.model.safetensors"
        said = cli("import", path, "--out", out, "--overwrite", *options)
        assert said.status == 0, said
        return load(out), said

    return run


def test_pth_and_safetensors_and_their_variants_are_the_same_model(weights, imported, tmp_path):
    model, said = imported(GOLDEN / "timeseries.weights.safetensors")
    assert "assumed: P_mean -0.4, P_std 1.0 (name a --preset to set it)" in said.err
    assert said.out.endswith("model.safetensors\n")
    single = {k: v.float() for k, v in weights.items()}
    variants = {
        "half.pth": weights,
        "single.pth": single,
        "wrapped.pt": {"state_dict": single, "epoch": 3},
        "parallel.ckpt": {f"module.{k}": v for k, v in single.items()},
        "ordered.pth": OrderedDict(single),
    }
    for name, held in variants.items():
        assert same_weights(imported(pth(tmp_path / name, held))[0], model), name
    old = pth(tmp_path / "old.pth", single, _use_new_zipfile_serialization=False)
    assert same_weights(imported(old)[0], model)
    double = tmp_path / "double.safetensors"
    safetensors.torch.save_file({k: v.double() for k, v in weights.items()}, double)
    assert same_weights(imported(double)[0], model)


def test_json_says_what_was_assumed_and_left_out(weights, imported, tmp_path):
    extra = {**weights, "loss.weight": torch.zeros(2), "backbone.x.crossattn.y": torch.zeros(2)}
    _, said = imported(pth(tmp_path / "a.pth", extra), "--json")
    about = json.loads(said.out)
    assert about["source"] == "authors' state dict"
    assert (about["dead"], about["ignored"], about["ignored_count"]) == (1, ["loss.weight"], 1)
    assert "left out: 1 tensors of the authors' unused cross-attention" in said.err
    assert "left out: 1 tensors this model does not know (loss.weight)" in said.err


def test_a_preset_and_statistics(weights, imported, tmp_path, refuses):
    path = pth(tmp_path / "a.pth", weights)
    np.savez(tmp_path / "stats.npz", mean=np.arange(5.0), variance=np.full(5, 4.0))
    model, said = imported(path, "--preset", "physionet_released", "--stats", tmp_path / "stats.npz", "--unshared")
    assert said.err == ""
    assert model.recipe.name == "physionet_released"
    assert (model.recipe.sampling.steps, model.recipe.encoder.shared_static) == (24, False)
    assert (model.recipe.clips.channels, model.recipe.encoder.static) == (5, 6)
    assert model.whitening.mean == (0.0, 1.0, 2.0, 3.0, 4.0)
    assert model.whitening.std == (2.0,) * 5
    refuses(path, "'physionett'", "did you mean 'physionet'", "etth1", status=2, options=["--preset", "physionett"])
    refuses(path, "got mug (unet)", "weights' mlp", status=2, options=["--preset", "mug"])


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"mean": np.zeros(4), "std": np.ones(4)}, ["statistics of 4 channels", "expected 5"]),
        ({"mean": np.zeros(5), "std": np.zeros(5)}, ["not finite or not positive"]),
        ({"mean": np.zeros(5), "std": np.ones(4)}, ["5 means and 4 deviations"]),
        ({"average": np.zeros(5)}, ["got arrays average", "expected mean and std (or variance)"]),
        ({"mean": np.zeros(5)}, ["got arrays mean", "expected mean and std (or variance)"]),
        ({"mean": np.array([None] * 5), "std": np.ones(5)}, ["stats.npz", "cannot be read", "expected an npz"]),
        (None, ["stats.npz", "cannot be read", "expected an npz with mean and std"]),
        (b"nonsense", ["stats.npz", "cannot be read", "expected an npz with mean and std"]),
        ({"mean": np.zeros(2**24, np.float32), "std": np.zeros(5)}, ["unpacks to 671", "one number a channel"]),
    ],
)
def test_statistics_that_are_none(arrays, words, weights, tmp_path, refuses):
    path = tmp_path / "stats.npz"
    if isinstance(arrays, bytes):
        path.write_bytes(arrays)
    elif arrays is not None:
        np.savez_compressed(path, **arrays)
    refuses(pth(tmp_path / "a.pth", weights), *words, status=2, options=["--stats", path])


class Trap:
    """A pickle that touches a file when it is opened."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (os.system, (f"touch {self.path}",))


@pytest.mark.parametrize("kind", ["torch", "legacy", "bare", "inside"])
def test_a_pickle_that_wants_to_run_code(kind, weights, tmp_path, refuses):
    trap, path = tmp_path / "sprung", tmp_path / "a.pth"
    if kind == "bare":
        path.write_bytes(pickle.dumps(Trap(trap)))
    else:
        held = {**weights, "x": Trap(trap)} if kind == "inside" else Trap(trap)
        pth(path, held, _use_new_zipfile_serialization=kind != "legacy")
    refuses(path, "a.pth", "wants to run code or is damaged", "expected a plain state dict of tensors")
    assert not trap.exists()


def test_the_trap_is_a_trap(tmp_path):
    pickle.loads(pickle.dumps(Trap(tmp_path / "sprung")))
    assert (tmp_path / "sprung").exists()


def test_a_deflated_archive(weights, tmp_path, refuses):
    plain = pth(tmp_path / "plain.pth", {**weights, "zeros": torch.zeros(2**21)})
    packed = tmp_path / "packed.pth"
    with zipfile.ZipFile(plain) as old, zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as new:
        for part in old.infolist():
            new.writestr(part.filename, old.read(part))
    held = packed.stat().st_size
    refuses(packed, f"archive of {held} bytes that unpacks to", "expected one saved by torch (uncompressed)")


def test_members_that_overlap(weights, tmp_path, refuses):
    """An archive that names the same bytes often unpacks to more than it holds."""
    path = pth(tmp_path / "a.pth", weights)
    with zipfile.ZipFile(path, "a") as archive:
        largest = max(archive.infolist(), key=lambda part: part.file_size)
        archive.filelist += [largest] * 200
        archive._didModify = True
    refuses(path, "that unpacks to", "expected one saved by torch")


def hostile(kind):
    """Return tensors that are not what they seem."""
    if kind == "expanded":
        return torch.zeros(1).expand(10**9, 10**9)
    if kind == "sparse":
        return torch.sparse_coo_tensor(torch.zeros(1, 1, dtype=torch.int64), torch.ones(1), (10**12,))
    if kind == "compressed":
        return torch.sparse_csr_tensor([0, 1, 1], [0], [1.0], (2, 10**9))
    if kind == "meta":
        return torch.empty(10**6, 10**6, device="meta")
    if kind == "quantized":
        return torch.quantize_per_tensor(torch.zeros(3), 1.0, 0, torch.quint8)
    return torch.nested.nested_tensor([torch.zeros(2), torch.zeros(3)])


@pytest.mark.parametrize("kind", ["expanded", "sparse", "compressed", "meta", "quantized", "nested"])
@pytest.mark.filterwarnings("ignore")
def test_a_tensor_without_the_data_it_claims(kind, weights, tmp_path, refuses):
    held = {**weights, "encoder.fc_s.weight": hostile(kind)}
    refuses(pth(tmp_path / "a.pth", held), "a.pth", "expected" if kind != "expanded" else "without the data for it")


def test_a_storage_that_claims_more_than_there_is(weights, tmp_path, refuses):
    path = pth(tmp_path / "a.pth", {"a": torch.zeros(7)})
    forged = tmp_path / "forged.pth"
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(forged, "w") as new:
        for part in old.infolist():
            data = old.read(part)
            if part.filename.endswith("data.pkl"):
                assert b"K\x07" in data
                data = data.replace(b"K\x07", b"J\xff\xff\xff\x7f")
            new.writestr(part.filename, data)
    refuses(forged, "forged.pth", "cannot be read as a state dict")


@pytest.mark.parametrize(
    ("held", "words"),
    [
        ({"a": 5}, ["'a' of type int", "expected names and tensors only"]),
        ({"a": {"b": 5}}, ["'a' of type dict", "expected names and tensors only"]),
        ({3: torch.zeros(1)}, ["3 of type Tensor", "expected names and tensors only"]),
        ([torch.zeros(1)], ["got list", "expected a dictionary of named tensors"]),
        (torch.zeros(1), ["got Tensor", "expected a dictionary of named tensors"]),
        ({}, ["got dict", "expected a dictionary of named tensors"]),
        ({"state_dict": {}}, ["got dict", "expected a dictionary of named tensors"]),
        ({f"odd{i}": torch.zeros(1) for i in range(9)}, ["odd0, odd1, odd2, odd3, odd4)", "expected keys such as"]),
    ],
)
def test_things_that_are_no_state_dict(held, words, tmp_path, refuses):
    refuses(pth(tmp_path / "a.pth", held), "a.pth", *words)


def test_missing_and_odd_tensors_are_named_five_at_most(weights, tmp_path, refuses):
    cut = {k: v for k, v in weights.items() if not k.startswith("backbone.layers.1")}
    gone = [k for k in weights if k not in cut and "cond_layers" not in k]
    assert len(gone) > 5
    rest = f"(and {len(gone) - 5} more)"
    refuses(pth(tmp_path / "a.pth", cut), "tensors do not fit the model", "missing backbone.layers.1", rest)
    odd = {**weights, "encoder.fc_d.bias": torch.zeros(3)}
    refuses(pth(tmp_path / "b.pth", odd), "encoder.fc_d.bias is (3,), expected (2,)")
    whole = {**weights, "encoder.fc_d.bias": torch.zeros(2, dtype=torch.int64)}
    refuses(pth(tmp_path / "c.pth", whole), "encoder.fc_d.bias holds torch.int64", "expected floating point")


@pytest.mark.parametrize("shape", [(), (0, 24), (65537 * 9, 0), (3,)])
def test_sizes_no_model_has(shape, weights, tmp_path, refuses):
    held = {**weights, "encoder.fc_s.weight": torch.zeros(shape)}
    refuses(pth(tmp_path / "a.pth", held), "a.pth", "expected")


def test_a_video_head_without_channels(tmp_path, refuses):
    held = safetensors.torch.load_file(GOLDEN / "video_latent.weights.safetensors")
    held["backbone.head.weight"] = torch.zeros(0, 4, 3, 3)
    refuses(pth(tmp_path / "a.pth", held), "a.pth", "expected")


@pytest.mark.parametrize("how", ["values", "shape", "type"])
def test_aliases_that_disagree(how, weights, tmp_path, imported, refuses):
    alias = "backbone.layers.0.t_cond_layers.1.weight"
    value = weights[alias].float()
    other = {"values": value + 1, "shape": value[:-1], "type": value.to(torch.int64)}[how]
    path = pth(tmp_path / "a.pth", {**weights, alias: other})
    refuses(path, f"{alias} differs from backbone.layers.0.t_linear_emb.weight", "expected the same tensor")
    imported(pth(tmp_path / "b.pth", {k: v for k, v in weights.items() if k != alias}))


@pytest.mark.parametrize("kept", [0, 3, 100, 0.3, 0.7, 0.99])
def test_truncated_anywhere(kept, weights, tmp_path, refuses):
    for name in ("a.pth", "a.safetensors"):
        path = pth(tmp_path / "whole.pth", weights)
        if name == "a.safetensors":
            path = GOLDEN / "timeseries.weights.safetensors"
        data = path.read_bytes()
        (tmp_path / name).write_bytes(data[: int(kept * len(data)) if isinstance(kept, float) else kept])
        refuses(tmp_path / name, name, "expected")


def test_bytes_flipped_in_the_pickle_never_do_worse_than_a_refusal(weights, tmp_path, cli, room):
    """Walk over the pickle's bytes; whatever comes of it is an import or one line."""
    path = tmp_path / "a.pth"
    small = {k: weights[k] for k in list(weights)[:3]}
    buffer = io.BytesIO()
    torch.save(small, buffer)
    data = bytearray(buffer.getvalue())
    start = data.index(b"data.pkl")
    for offset in range(start + 60, start + 360, 7):
        bad = bytearray(data)
        bad[offset] ^= 0x55
        path.write_bytes(bad)
        said = cli("import", path, "--out", room / "m.safetensors")
        assert (said.status, said.err.count("\n"), said.out) == (1, 1, ""), (offset, said)
        assert said.err.startswith("diffsda import: error: ")
        assert "unexpected" not in said.err


def test_other_files_and_outputs(weights, tmp_path, cli, room, refused, refuses):
    refuses(tmp_path / "gone.pth", "gone.pth", "no such file", "expected the authors' state dict")
    refuses(tmp_path, str(tmp_path), "no such file")
    (tmp_path / "text.pth").write_text("hello")
    refuses(tmp_path / "text.pth", "text.pth", "expected")
    path = pth(tmp_path / "a.pth", weights)
    said = cli("import", path, "--out", room / "m.pth")
    refused(said, "import", 2, "m.pth", "expected a file ending in .safetensors")
    said = cli("import", path, "--out", room / "no" / "m.safetensors")
    refused(said, "import", 2, "expected a folder that exists", str(room / "no"))
    assert names(room) == []
