"""What `diffsda evaluate` says: refusals in the words that were typed, notes, lists of settings, and how it ends."""

import json

import numpy as np
import pytest
from shelf import VECTOR, build, names

from diffsda.checkpoint import save
from diffsda.data.arrays import write
from diffsda.data.prepared import Dataset
from diffsda.evaluate.record import Result
from diffsda.evaluate.result import NAN, Row


@pytest.fixture(scope="module")
def stage(tmp_path_factory):
    """Two models of one recipe, another copy of the first, and labelled clips."""
    folder = tmp_path_factory.mktemp("words")
    for name, seed in (("run-0", 0), ("run-1", 1), ("again", 0)):
        (folder / name).mkdir()
        save(build(VECTOR.replace(optim={"seed": seed})), folder / name / "weights-00000001.safetensors")
    (folder / "again" / "weights-00000001.safetensors").write_bytes(
        (folder / "run-0" / "weights-00000001.safetensors").read_bytes()
    )
    for name, count in (("fit", 40), ("test", 24)):
        draw = np.random.default_rng(count)
        level = draw.integers(0, 3, count)
        x = draw.normal(0, 0.5, (count, 5, 3)) + level[:, None, None]
        write(folder / f"{name}.npz", {"x": x.astype(np.float32), "level": level})
    write(folder / "wide.npz", {"x": np.zeros((8, 5, 4), np.float32)})
    return folder


def planted(monkeypatch, run):
    """Put a protocol in the place of all."""
    from diffsda.evaluate import protocols

    monkeypatch.setattr(protocols.Protocol, "run", lambda self, job: run(job))


def rows(*values, **others):
    return [Row(**{"metric": "m", "values": values, "unit": "", "better": "lower", "count": 3, **others})]


def words(stage, *more, protocol="classification", models=("run-0",)):
    given = [protocol, *(stage / model for model in models), "--data", stage / "test.npz", "--fit", stage / "fit.npz"]
    return ["evaluate", *given, *more]


def test_a_protocols_settings_are_listed_with_what_they_mean(cli):
    said = cli("evaluate", "list", "multifactor", "eer")
    assert said.status == 0
    from diffsda.evaluate.protocols import PROTOCOLS

    for name in ("multifactor", "eer"):
        for setting, about in PROTOCOLS[name].settings.items():
            assert f"--set {about.line(setting)}" in said.out
    assert "dci" not in said.out
    assert "--as-published changes nothing" in said.out
    assert "--as-published counts as the authors" in said.out
    assert "evaluate list PROTOCOL" in cli("evaluate", "list").out
    missed = cli("evaluate", "list", "eeer")
    assert missed.status == 2
    assert "did you mean 'eer'" in missed.err


def test_one_model_given_twice_is_no_two_models(cli, stage, monkeypatch, tmp_path):
    planted(monkeypatch, lambda job: rows(0.5))
    for models in (("run-0", "run-0"), ("run-1", "run-0", "again")):
        said = cli(*words(stage, "--out", tmp_path / "r.json", models=models))
        assert said.status == 2
        assert f"MODEL: {stage / models[-1]} is given twice (same weights as {stage / 'run-0'})" in said.err
        assert "expected models trained with different seeds" in said.err
    assert cli(*words(stage, "--out", tmp_path / "r.json", models=("run-0", "run-1"))).status == 0


@pytest.mark.parametrize(
    ("more", "protocol", "expected"),
    [
        (("--draw-pairs", "9"), "classification", "--draw-pairs: got 9, but classification draws no pairs"),
        (
            ("--set", "count=16", "--draw-pairs", "8", "--count", "16"),
            "multifactor",
            "--draw-pairs: got 8 and --set count=16 as well",
        ),
        (("--set", "pairs=4", "--draw-pairs", "8"), "swap-labels", "--draw-pairs: got 8 and --set pairs=4 as well"),
        (("--set", "different=some"), "swap-labels", "setting different: got 'some', expected any, every, none"),
        (("--steps", "abc"), "dci", "--steps: got 'abc', expected a whole number (INT)"),
        (("--seeds", "1", "b"), "dci", "--seeds: got '1', 'b', expected a whole number, one or several"),
        (("--noise", "loud"), "dci", "--noise: got 'loud', expected one of 'dynamic', 'fresh', 'shared', 'static';"),
    ],
)
def test_refusals_name_what_was_typed(cli, stage, tmp_path, more, protocol, expected):
    said = cli(*words(stage, *more, "--out", tmp_path / "r.json", protocol=protocol))
    assert said.status == 2
    assert expected in said.err
    assert said.err.count("\n") == 1
    assert "instantiated" not in said.err


def test_data_that_is_not_there_or_of_another_shape(cli, stage, tmp_path):
    base, out = ("evaluate", "dci", stage / "run-0", "--data"), ("--out", tmp_path / "r.json")
    said = cli(*base, tmp_path / "nowhere", *out)
    assert (said.status, said.err.count("\n")) == (2, 1)
    assert f"{tmp_path / 'nowhere'}: no such file or folder" in said.err
    # The shape comes first: it is wrong whatever is fitted on.
    said = cli(*base, stage / "wide.npz", "--fit", stage / "wide.npz", *out)
    assert said.status == 2
    assert "got (8, 5, 4), expected (N, V, 3)" in said.err
    assert "--fit" not in said.err


def test_clips_that_are_fitted_on_are_not_scored(cli, stage, tmp_path):
    out = ("--out", tmp_path / "r.json")
    run = stage / "run-0"
    said = cli("evaluate", "dci", run, "--data", stage / "fit.npz", "--fit", stage / "fit.npz", *out)
    assert said.status == 2
    assert "--fit: got the clips that are scored" in said.err
    folder = tmp_path / "made"
    folder.mkdir()
    for name, split in (("fit", "train"), ("test", "test")):
        (folder / f"{split}.npz").write_bytes((stage / f"{name}.npz").read_bytes())
    held = Dataset(
        kind="arrays", name="made", modality="series", frames=5, channels=3, splits={"train": 40, "test": 24}
    )
    held.write(folder)
    # Nobody typed --fit here.
    said = cli("evaluate", "dci", run, "--data", folder, "--split", "train", *out)
    assert said.status == 2
    assert (
        "--split: got train, which judges are fitted on; give other clips to fit on (--fit), or --split test"
        in said.err
    )


def test_a_list_of_pairs_under_another_count_says_so(cli, stage, monkeypatch, tmp_path):
    planted(monkeypatch, lambda job: rows(0.5))
    pairs, roles = tmp_path / "p.csv", ("--static", "level")
    more = (*roles, "--draw-pairs", "7", "--save-pairs", pairs, "--out", tmp_path / "a.json")
    assert cli(*words(stage, *more, protocol="swap-labels")).status == 0
    given = (*roles, "--pairs", pairs, "--count", "12", "--out", tmp_path / "b.json")
    said = cli(*words(stage, *given, protocol="swap-labels"))
    assert said.status == 2
    assert "is of other clips" in said.err
    assert "--count 12 scores some of the clips only: leave it out" in said.err
    (tmp_path / "p.csv").write_text("")
    said = cli(*words(stage, *given, protocol="swap-labels"))
    assert "is empty, expected a list of pairs" in said.err
    assert "--count" not in said.err


def test_a_stop_says_what_is_kept(cli, stage, monkeypatch, tmp_path):
    def run(job):
        if job.seed == stop[0]:
            raise KeyboardInterrupt
        return rows(float(job.seed))

    planted(monkeypatch, run)
    stop, seeds, out = [0], ("--seeds", "0", "1", "2"), ("--out", tmp_path / "r.json")
    said = cli(*words(stage, *seeds, *out))
    assert said.status == 130
    assert said.err.endswith("error: interrupted: no seed was finished, nothing is kept\n")
    stop[0] = 2
    said = cli(*words(stage, *seeds, *out))
    assert said.status == 130
    assert said.err.endswith("error: interrupted: 2 of 3 seeds kept; the same command goes on\n")
    stop[0] = 7
    said = cli(*words(stage, "--seeds", "1", "7", *out))
    assert said.err.endswith("error: interrupted: 1 of 2 seeds kept; the same command goes on\n")
    # Other settings under the same --out leave them alone, and say so.
    stop[0] = None
    said = cli(*words(stage, *seeds, "--as-published", *out))
    assert said.status == 0
    assert "2 finished seeds of other settings" in said.err
    asked = []
    planted(monkeypatch, lambda job: asked.append(job.seed) or rows(float(job.seed)))
    assert cli(*words(stage, *seeds, "--overwrite", *out)).status == 0
    assert asked == [2]
    assert names(tmp_path) == ["r.json"]


def test_a_result_that_says_nothing_of_the_model_is_a_failure(cli, stage, monkeypatch, tmp_path):
    reason = "no judge of faces is there; get one: pip install faces"

    def run(job):
        return [*rows(NAN, reason=reason), *rows(NAN, metric="n", reason=reason), *rows(0.5, baseline=True)]

    planted(monkeypatch, run)
    said = cli(*words(stage, "--out", tmp_path / "r.json"))
    assert (said.status, said.out, said.err.count("\n")) == (1, "", 1)
    assert f"nothing could be measured of the model, no result is written: {reason}\n" in said.err
    assert names(tmp_path) == []
    # What was missing is there now: nothing of the failure is taken up.
    planted(monkeypatch, lambda job: [*rows(0.25), *rows(NAN, metric="n", reason=reason)])
    said = cli(*words(stage, "--out", tmp_path / "r.json"))
    assert said.status == 0
    assert Result.read(tmp_path / "r.json").rows[0].values == (0.25,)


def test_a_protocol_that_draws_nothing_is_scored_once(cli, stage, tmp_path):
    out = tmp_path / "r.json"
    more = ("--static", "level", "--seeds", "4", "5", "6", "--out", out)
    said = cli(*words(stage, *more, protocol="eer"))
    assert said.status == 0, said.err
    assert "note: eer draws nothing here, so that no seed changes it: seed 4 stands for all" in said.err
    result = Result.read(out)
    assert result.seeds == (4,)
    assert {len(row.values) for row in result.rows} == {1}
    drawn = cli(*words(stage, *more, "--set", "utterances=10", "--overwrite", protocol="eer"))
    assert drawn.status == 0
    assert "draws nothing" not in drawn.err
    assert Result.read(out).seeds == (4, 5, 6)


def test_as_published_says_where_it_changes_nothing(cli, stage, monkeypatch, tmp_path):
    planted(monkeypatch, lambda job: rows(0.5))
    for protocol, told in (("dci", True), ("eer", False)):
        said = cli(*words(stage, "--as-published", "--out", tmp_path / f"{protocol}.json", protocol=protocol))
        assert said.status == 0
        assert ("--as-published changes nothing in dci" in said.err) == told


def test_much_sampling_is_announced_once(cli, stage, monkeypatch, tmp_path):
    def run(job):
        for _ in range(2):
            list(job.track(steps[0])(range(3)))
        return rows(0.5)

    planted(monkeypatch, run)
    steps = [100]
    more = ("--seeds", "0", "1", "--batch", "50")
    said = cli(*words(stage, *more, "--out", tmp_path / "a.json", models=("run-0", "run-1")))
    assert said.status == 0
    told = "sampling up to 50 clips x 200 network evaluations first, for each of 2 seeds and each of 2 models; Ctrl-C"
    assert said.err.count(told) == 1
    steps[0] = 99
    assert "sampling up to" not in cli(*words(stage, *more, "--out", tmp_path / "b.json")).err


def test_what_was_cut_is_in_the_result(cli, stage, monkeypatch, tmp_path):
    planted(monkeypatch, lambda job: rows(0.5, notes=("clips cut to 4 frames",)))
    said = cli(*words(stage, "--json", "--out", tmp_path / "r.json"))
    assert json.loads(said.out)["rows"][0]["notes"] == ["clips cut to 4 frames"]
    assert "clips cut to 4 frames" in said.err
    assert "| 3 |" in said.err
