"""Start noises compared on the same pairs: what each row is, and that the record becomes the table."""

import json

import numpy as np
import pytest

from diffsda import DiffSDA, preset
from diffsda.bench import noise_policies as bench
from diffsda.checkpoint import save
from diffsda.data.arrays import write
from diffsda.data.clip import Clips
from diffsda.data.prepared import Dataset
from diffsda.errors import InputError
from diffsda.evaluate.disentanglement import _swaps
from diffsda.evaluate.judge import Judge
from diffsda.evaluate.noise_policies import COPIES, POLICIES, SCORES, noise_policies, same_length_donors, table
from diffsda.evaluate.result import merge

RECIPE = preset("tiny_vector").replace(sampling={"steps": 3})


@pytest.fixture
def model(randomise):
    return randomise(DiffSDA(RECIPE))


def labelled(count=12, lengths=None, seed=0):
    """Return clips whose label can be read from their mean."""
    draw = np.random.default_rng(seed)
    who = np.arange(count) % 3
    x = draw.normal(0, 0.2, (count, 6, 6)) + who[:, None, None]
    return Clips(x.astype(np.float32), lengths=lengths, labels={"who": who})


def test_every_policy_is_the_demos_score_of_the_same_pairs(model):
    fit, test = labelled(24, seed=1), labelled()
    rows = {row.metric: row for row in noise_policies(model, fit, test, label="who", seed=3)}
    assert set(rows) == {f"{score}_{name}" for score in SCORES for name in (*POLICIES, *COPIES)}
    judge = Judge.fit(fit.x, fit.labels["who"])
    kept, partners = same_length_donors(test.labels["who"], np.full(12, 6), 3)
    for policy in POLICIES:
        wanted = _swaps(model, test.select(kept), test.select(partners), judge, "who", policy, 3)
        for score in SCORES:
            assert rows[f"{score}_{policy}"].values == (getattr(wanted, score),)
            assert rows[f"{score}_{policy}"].count == 12
    assert rows["read_as_static_copied_static_donor"].mean == 1
    assert rows["read_as_dynamic_copied_static_donor"].mean == 0
    assert rows["read_as_dynamic_copied_dynamic_donor"].mean == 1
    assert rows["trajectory_to_dynamic_copied_dynamic_donor"].mean == pytest.approx(1)
    assert rows["trajectory_to_static_copied_static_donor"].baseline


def test_partners_differ_in_label_and_agree_in_length(model):
    labels, lengths = np.arange(40) % 4, np.random.default_rng(0).integers(2, 5, 40)
    rows, partners = same_length_donors(labels, lengths, 0)
    assert (labels[rows] != labels[partners]).all()
    assert (lengths[rows] == lengths[partners]).all()
    lengths[7] = 9
    fewer, others = same_length_donors(labels, lengths, 0)
    assert 7 not in fewer
    assert 7 not in others
    same = np.isin(rows, fewer) & (lengths[rows] != lengths[7])
    assert same.any()
    rows, _ = same_length_donors(np.array([0, 1, 1]), np.array([3, 3, 4]), 0)
    assert rows.tolist() == [0, 1]
    with pytest.raises(InputError, match="no two clips"):
        same_length_donors(np.array([0, 1]), np.array([3, 4]), 0)


def test_clips_without_a_known_label_are_not_swapped_nor_fitted_on(model):
    def hidden(clips, rows):
        """Hide who some clips show, and make them easy to take for one class."""
        who, x = clips.labels["who"].copy(), clips.x.copy()
        who[rows], x[rows] = -1, -9
        return Clips(x, labels={"who": who})

    labels = np.array([0, 0, 1, 1, -1, -1])
    rows, partners = same_length_donors(labels, np.full(6, 4), 0)
    assert rows.tolist() == [0, 1, 2, 3]
    assert (labels[partners] == [1, 1, 0, 0]).all()
    # Who is known has the donor as before where that is drawn from as many.
    assert same_length_donors(labels[:4], np.full(4, 4), 0)[1].tolist() == partners.tolist()
    with pytest.raises(InputError, match="no two clips"):
        same_length_donors(np.array([-1, 1, -1]), np.full(3, 4), 0)
    fit, test = labelled(24, seed=1), labelled()
    found = noise_policies(model, hidden(fit, [0, 5]), hidden(test, [1, 2]), label="who", policies=("fresh",))
    assert {row.count for row in found} == {10}
    fewer = noise_policies(
        model, fit.select(np.delete(np.arange(24), [0, 5])), hidden(test, [1, 2]), label="who", policies=("fresh",)
    )
    assert [row.values for row in found] == [row.values for row in fewer]


def test_clips_of_varied_lengths_can_start_from_the_static_donor(model):
    lengths = np.array([6, 6, 6, 4, 4, 4, 3, 3, 3, 5, 2, 6])
    rows = noise_policies(model, labelled(seed=1), labelled(lengths=lengths), label="who")
    # 5 and 2 frames are had by one clip each.
    assert {row.count for row in rows} == {10}
    assert all(np.isfinite(row.mean) for row in rows)


def test_a_table_has_a_line_a_policy(model):
    runs = [noise_policies(model, labelled(seed=1), labelled(), label="who", seed=s) for s in (0, 1)]
    said = table(merge(runs)).splitlines()
    assert len(said) == 2 + 4 + 2
    assert said[2].startswith("| `dynamic` | ")
    assert "±" in said[2]
    assert said[-1].startswith("| *copied dynamic donor* | ")
    assert "±" not in table(runs[0])


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"label": "what"}, "label: got 'what', expected one a clip of clips: who"),
        ({"policies": ()}, "policies: got none"),
        ({"policies": ("own",)}, "expected some of dynamic, static, fresh, shared"),
    ],
)
def test_what_cannot_be_compared(model, more, words):
    with pytest.raises(InputError, match=words):
        noise_policies(model, labelled(), labelled(), **{"label": "who", **more})


def test_a_record_becomes_the_table_of_a_page(model, tmp_path, monkeypatch, capsys):
    for name, clips in (("train", labelled(24, seed=1)), ("test", labelled())):
        (tmp_path / "set").mkdir(exist_ok=True)
        write(tmp_path / "set" / f"{name}.npz", {"x": clips.x, "who": clips.labels["who"]})
    sizes = {"frames": 6, "channels": 6, "splits": {"train": 24, "test": 12}}
    Dataset(kind="arrays", name="made", modality="series", **sizes).write(tmp_path / "set")
    other = DiffSDA(RECIPE.replace(optim={"seed": 1}))
    paths = [save(model, tmp_path / "0.safetensors"), save(other, tmp_path / "1.safetensors")]
    monkeypatch.setattr(bench, "folder", lambda: tmp_path / "noise")
    page = tmp_path / "tasks.md"
    page.write_text(f"before\n<!-- table:{bench.MARKER} -->\n<!-- /table:{bench.MARKER} -->\nafter\n")
    assert bench.main(["--docs", str(page)]) == 0
    assert "No record yet" in page.read_text()
    words = [*map(str, paths), "--data", str(tmp_path / "set"), "--label", "who", "--count", "9", "--docs", str(page)]
    assert bench.main(words) == 0
    record = json.loads((tmp_path / "noise" / "made.json").read_text())
    assert record["about"]["models"] == 2
    assert record["about"]["data"] == {"fit": 24, "test": 9, "name": "made"}
    text = page.read_text()
    assert "`made`, who, 9 pairs of the test part, 2 models of `tiny_vector`" in text
    assert f"{next(r for r in record['rows'] if r['metric'] == 'read_as_static_fresh')['mean']:.3f}" in text
    assert "No record yet" not in text
    capsys.readouterr()


def test_models_that_do_not_belong_together(model, tmp_path):
    other = DiffSDA(preset("tiny_vector").replace(sampling={"steps": 4}))
    paths = [str(save(m, tmp_path / f"{i}.safetensors")) for i, m in enumerate((model, other))]
    with pytest.raises(InputError, match="got a model of another recipe"):
        bench.measure(paths, "series", label="level", count=4, fit_count=40)
    with pytest.raises(InputError, match="expected --data and --label"):
        bench.main(paths)
    with pytest.raises(InputError, match="nothing to do"):
        bench.main([])
