"""Judges whose weights are a file: the right file makes them judge, any other is refused by name."""

import numpy as np
import pytest
import torch
from judge_toys import Colours
from torch import nn

from diffsda.errors import InputError
from diffsda.evaluate.judges import market1501, openpose
from diffsda.evaluate.judges import shelf as judge_shelf
from diffsda.evaluate.judges.catalogue import Entry
from diffsda.evaluate.judges.i3d import I3D
from diffsda.evaluate.judges.market1501 import Market1501, ResNet50
from diffsda.evaluate.judges.openpose import Network, OpenPose
from diffsda.evaluate.judges.shelf import Shelf
from diffsda.evaluate.judges.weights import read, sha256


def network():
    return nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2))


@pytest.mark.parametrize("prefix", ["", "module.", "model.", "module.model."])
@pytest.mark.parametrize("wrapped", [False, True])
def test_weights_are_found_under_usual_names(tmp_path, prefix, wrapped):
    given, taken = network(), network()
    state = {prefix + k: v for k, v in given.state_dict().items() if "num_batches" not in k}
    state["classifier.weight"] = torch.zeros(3)
    torch.save({"state_dict": state} if wrapped else state, tmp_path / "w.pth")
    read(tmp_path / "w.pth", taken, "a net", ignore=r"classifier\.", rename=r"model\.")
    assert torch.equal(taken[0].weight, given[0].weight)


def test_other_files_are_refused(tmp_path):
    path = tmp_path / "w.pth"
    with pytest.raises(InputError, match="cannot be read"):
        sha256(path)
    for content, said in (
        (nn.Linear(2, 2).state_dict(), "do not fit, 0.weight"),
        ({**network().state_dict(), "more": torch.zeros(1)}, "more first"),
        ({"0.weight": 3}, "something else than tensors"),
        ([torch.zeros(1)], "something else than tensors"),
        (network(), "cannot be read as weights"),  # a pickled class is not opened
    ):
        torch.save(content, path)
        with pytest.raises(InputError, match=said) as caught:
            read(path, network(), "a net of mine")
        assert "a net of mine" in str(caught.value)
        assert "\n" not in str(caught.value)
    path.write_bytes(b"no weights at all")
    with pytest.raises(InputError, match="a net of mine"):
        read(path, network(), "a net of mine")


def test_openpose_is_the_published_network():
    with torch.device("meta"):
        net = Network()
        assert net(torch.zeros(2, 3, 368, 192)).shape == (2, 19, 46, 24)
    assert sum(p.numel() for p in net.parameters()) == 52_311_446
    names = set(net.state_dict())
    assert {"model0.0.weight", "model0.25.bias", "model1_1.8.weight", "model6_2.12.bias"} <= names
    assert len(names) == 2 * 92


def test_the_reidentifier_is_a_resnet_50_without_its_last_layer():
    with torch.device("meta"):
        net = ResNet50()
        assert net(torch.zeros(2, 3, 288, 144)).shape == (2, 2048)
    # 25,557,032 with the layer of 1,000 classes.
    assert sum(p.numel() for p in net.parameters()) == 25_557_032 - 2048 * 1000 - 1000
    assert {"layer1.0.downsample.0.weight", "layer4.2.bn3.running_var"} <= set(net.state_dict())


class Bright(nn.Module):
    """Joint 0 is where it is red, joint 2 where it is green, joint 5 where it is blue; joint 7 is faint."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1))

    def forward(self, x):
        maps = torch.zeros(len(x), 19, x.shape[2] // 8, x.shape[3] // 8)
        blue, green, red = nn.functional.avg_pool2d(x + 0.5, 8).unbind(1)
        maps[:, 0], maps[:, 2], maps[:, 5], maps[:, 7] = red, green, blue, 0.05 * red
        return maps * self.scale


def test_openpose_finds_peaks_and_mirrors_left_and_right(tmp_path, monkeypatch):
    monkeypatch.setattr(openpose, "Network", Bright)
    monkeypatch.setattr(openpose, "HEIGHT", 128)
    torch.save({"scale": torch.ones(1)}, tmp_path / "pose_model.pth")
    frames = np.zeros((2, 64, 96, 3), np.uint8)
    frames[0, 8:12, 16:20, 0] = 250  # red
    frames[0, 40:44, 60:64, 1] = 250  # green: a right shoulder, a left one in the mirror
    judge = OpenPose(tmp_path / "pose_model.pth")
    found = judge.locate(frames)
    assert found.shape == (2, 18, 2)
    assert np.allclose(found[0, 0], (17.5, 9.5), atol=1.0)
    # The mirrored frame votes for the other shoulder at the same place, with as much weight.
    assert np.allclose(found[0, 2], (61.5, 41.5), atol=1.0)
    assert np.allclose(found[0, 5], (61.5, 41.5), atol=1.0)
    assert np.isnan(found[0, [1, 3, 4, 6, 7]]).all()
    assert np.isnan(found[1]).all()
    assert sha256(tmp_path / "pose_model.pth")[:16] in judge.version


class Mean(nn.Module):
    """The mean of each channel and whether it trains."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1))

    def forward(self, x):
        assert x.shape[1:] == (3, 288, 144)
        return torch.cat([x.mean((2, 3)), torch.full((len(x), 1), float(self.training))], 1)


def test_figures_are_scaled_once_unless_as_published(tmp_path, monkeypatch):
    monkeypatch.setattr(market1501, "ResNet50", Mean)
    path = tmp_path / "net_last.pth"
    torch.save({"model.scale": torch.ones(1), "model.fc.weight": torch.ones(2), "classifier.a": torch.ones(2)}, path)
    frames = np.full((18, 32, 16, 3), 255, np.uint8)
    mean, std = np.array(market1501.MEAN), np.array(market1501.STD)
    ours, theirs = Market1501(path), Market1501(path, as_published=True)
    assert np.allclose(ours.embed(frames), [*((1 - mean) / std), 0.0], atol=1e-4)
    assert np.allclose(theirs.embed(frames[:2]), [*((1 / 255 - mean) / std), 1.0], atol=1e-4)
    assert ours.version != theirs.version
    assert np.isnan(ours.threshold)


def test_the_shelf_hands_out_the_published_judge_of_figures_on_request(tmp_path, monkeypatch):
    monkeypatch.setattr(market1501, "ResNet50", Mean)
    path = tmp_path / "net_last.pth"
    torch.save({"scale": torch.ones(1)}, path)
    frames = np.full((2, 32, 16, 3), 255, np.uint8)
    for _ in range(2):  # the second time from what is remembered on disk
        shelf = Shelf(cache=tmp_path / "said", files={"market1501": path})
        ours, theirs = shelf.people(), shelf.people(as_published=True)
        assert (ours.judge.as_published, theirs.judge.as_published) == (False, True)
        assert shelf.people(as_published=True) is theirs
        assert ours.embed(frames)[0, 0] > 1 > theirs.embed(frames)[0, 0]
    named = Shelf(prefer={"people": "market1501"}, files={"market1501": path})
    assert named.people(as_published=True).judge.as_published


def test_the_published_judge_is_the_usual_one_where_no_other_is_known(monkeypatch):
    judge = Colours()
    entry = Entry(kind="people", name="toy", substitute=True, get="", make=lambda path, device: judge)
    monkeypatch.setattr(judge_shelf, "CATALOGUE", (entry,))
    assert Shelf().people(as_published=True).judge is Shelf().people().judge


class Video(nn.Module):
    """What the published file answers to: keywords, and clips with channels first in 0 to 255."""

    def forward(self, x, rescale: bool = False, resize: bool = False, return_features: bool = False):
        assert (rescale, resize, return_features) == (True, True, True)
        return torch.stack([x.mean((1, 2, 3, 4)), x[:, 0, 0].mean((1, 2)), x[:, 2, -1].mean((1, 2))], dim=1)


@pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")
def test_i3d_sees_clips_as_it_was_trained_on_them(tmp_path):
    path = tmp_path / "i3d_torchscript.pt"
    torch.jit.script(Video()).save(str(path))
    judge = I3D(path)
    grey = np.full((9, 10, 1, 8, 8), -1.0)
    grey[:, 0], grey[:, 9] = 1.0, 3.0  # what is out of range is cut off
    assert np.allclose(judge.describe(grey), [[51.0, 255.0, 255.0]] * 9)
    colour = np.zeros((1, 12, 3, 8, 8))
    colour[:, -1, 2] = -1
    assert np.allclose(judge.describe(colour), [[127.5 * (1 - 1 / 36), 127.5, 0.0]])
    assert not judge.substitute
    for bad in (grey[:, :9], grey[:, :, 0], np.zeros((1, 10, 2, 8, 8))):
        with pytest.raises(InputError, match="10 frames or more"):
            judge.describe(bad)
    path.write_bytes(b"PK no script")
    with pytest.raises(InputError, match="no TorchScript"):
        I3D(path)
    with pytest.raises(InputError, match="cannot be read"):
        I3D(tmp_path / "none.pt")
