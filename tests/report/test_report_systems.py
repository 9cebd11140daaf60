"""Reports of runs of the other systems: words, curves of the terms, pictures; nothing said that is not so."""

import json
import shutil

import numpy as np
import pytest
from system_models import RECIPES, clips

from diffsda.checkpoint import load
from diffsda.cli import main
from diffsda.data.arrays import write
from diffsda.errors import InputError
from diffsda.report.curves import term_curves
from diffsda.report.progress import training_sections
from diffsda.report.run import read_run
from diffsda.report.sections import Details
from diffsda.train.loop import Options, train
from diffsda.train.parallel import leave

NAMES = ("dbse-video", "spyl-vector", "divid-vector")
PRIOR = ("--prior.layers", 3, "--prior.width", 2, "--prior.sampling-steps", 4, "--fit.steps", 2, "--fit.batch", 4)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Return a folder with a short run of each of three systems and the clips of each."""
    top = tmp_path_factory.mktemp("reports")
    for name in NAMES:
        held = clips(RECIPES[name], 12)
        write(top / f"{name}.npz", {"x": held.x, "who": np.arange(12) % 3})
        train(RECIPES[name], held, top / name, Options(device="cpu", log_every=1))
        leave()
    return top


def page_of(trained, name, tmp_path, *words):
    out = tmp_path / "report.html"
    words = ("report", trained / name, "--data", trained / f"{name}.npz", "--count", 2, "--out", out, *words)
    assert main([str(word) for word in words]) == 0
    return out.read_text(encoding="utf-8")


ABOUT = {
    "dbse-video": "is a model of dbse-video, a sequential variational autoencoder whose static code comes from a",
    "spyl-vector": "is a model of spyl, a sequential variational autoencoder with contrast among clips it generates",
    "divid-vector": "is a model of divid, a diffusion autoencoder of a first frame and of how the others differ",
}


@pytest.mark.parametrize("name", NAMES)
def test_a_page_says_what_the_system_is_and_draws_it(name, trained, tmp_path, capsys):
    html = page_of(trained, name, tmp_path, "--json")
    assert json.loads(capsys.readouterr().out)["prior"] is False
    run = read_run(trained / name)
    recipe = RECIPES[name]
    for words in (ABOUT[name], "No label was used", "Terms of the loss", "Reconstructions", "Swaps", "Traversals"):
        assert words in html, words
    count = sum(p.numel() for p in load(trained / name).parameters())
    assert f"of {count:,} weights" in html, "without what norms measured"
    for setting in ("settings.static", "settings.as_published", "optim.lr", "clips.channels"):
        assert setting in html, setting
    assert f"{recipe.digest}" in html
    assert run.recipe == recipe
    drawn = name.startswith("divid")
    assert ("fresh noise" in html) == drawn, "where nothing is drawn nothing is said of noise"
    assert ("solver steps" in html) == drawn
    assert ("Generated clips" in html) != drawn, "from the system's own prior"
    assert "cannot be drawn" not in html


def test_generated_clips_of_a_prior(trained, tmp_path):
    folder = shutil.copytree(trained / "spyl-vector", tmp_path / "spyl-vector")
    data = trained / "spyl-vector.npz"
    assert main([str(w) for w in ("train-prior", folder, "--data", data, "--device", "cpu", *PRIOR)]) == 0
    assert main([str(w) for w in ("report", folder, "--data", data, "--count", 2)]) == 0
    html = (folder / "report.html").read_text(encoding="utf-8")
    for words in ("Generated clips", "Loss of the prior"):
        assert words in html, words


def test_terms_are_drawn_where_there_are_several(trained):
    sections = training_sections(read_run(trained / "spyl-vector"))
    folded = [s for s in sections if isinstance(s, Details) and s.summary == "Terms of the loss"]
    assert len(folded) == 1


def test_a_panel_for_each_term():
    steps = [1, 2, 3]
    figure = term_curves(steps, {"static": [3.0, 2.0, 1.0], "dynamic_divergence": [0.0, float("nan"), 2.0]})
    panels = [axes for axes in figure.axes if axes.get_visible()]
    assert [axes.get_title() for axes in panels] == ["static", "dynamic divergence"]
    assert panels[0].lines[0].get_ydata().tolist() == [3.0, 2.0, 1.0]
    assert panels[1].lines[0].get_xdata().tolist() == [1, 3], "values that are not finite are left out"
    assert len([a for a in term_curves(steps, {str(i): steps for i in range(4)}).axes if a.get_visible()]) == 4
    for terms, words in (
        ({}, "got no terms"),
        ({"a": [1.0]}, "curve of a: got steps"),
        ({"a": [float("nan")] * 3}, "curve of a: none of 3 values is finite"),
    ):
        with pytest.raises(InputError, match=words):
            term_curves(steps, terms)
