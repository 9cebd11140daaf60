"""diffsda prepare sprites: what it leaves, to the bit, after whatever happened on the way."""

import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from flare_miniature import MINI, draw_tree

from diffsda.cli import main
from diffsda.data.debian import Unpacked
from diffsda.data.prepared import Dataset, open_prepared
from diffsda.data.registry import open_clips
from diffsda.data.sprites import design as designs
from diffsda.data.sprites import prepare as preparing
from diffsda.data.sprites.licence import Terms, read_terms
from diffsda.data.sprites.prepare import arrays_folder, prepare_sprites
from diffsda.data.sprites.render import SpriteRenderer
from diffsda.data.stream import Take
from diffsda.data.video.footage import VideoSet
from diffsda.data.video.view import View
from diffsda.errors import InputError, SaveError

SIZE = 32


@pytest.fixture
def prepare(flare, tmp_path):
    """Return a function that prepares the miniature in this process."""

    def run(name="out", design=flare.design, size=SIZE, **options):
        package = Unpacked(tree=flare.tree, package="flare-game", version="1.0", sha256="ab")
        return prepare_sprites(package, tmp_path / name, design, size, jobs=1, **options), tmp_path / name

    return run


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Return the miniature's tree and a folder prepared from it, for looking at only."""
    place = tmp_path_factory.mktemp("made")
    draw_tree(place / "flare")
    package = Unpacked(tree=place / "flare", package="flare-game", version="1.0", sha256="ab")
    held = prepare_sprites(package, place / "out", MINI, SIZE, jobs=1, with_arrays=True)
    return SimpleNamespace(held=held, out=place / "out", tree=place / "flare")


def rendered(tree, split):
    renderer = SpriteRenderer(tree)
    sprites = MINI.splits()[split]
    return np.stack([renderer.render(one.identity, one.action, one.direction, SIZE) for one in sprites])


def test_clips_come_back_to_the_bit(made):
    held, out = made.held, made.out
    assert Dataset.read(out) == held
    assert held.splits == {"train": 32, "val": 4, "test": 4}
    assert (held.kind, held.frames, held.size, held.statistics) == ("video", 8, SIZE, None)
    exact = rendered(made.tree, "test").astype(np.float32) * np.float32(1 / 127.5) - 1
    films = open_prepared(out, "test", loader="pyav")
    (seen,) = films.batches([[Take(item) for item in range(len(films))]])
    assert (seen == exact).all()
    kept = open_prepared(arrays_folder(out), "test")
    assert (kept.x == exact).all()
    assert kept.label_names == held.label_names == MINI.label_names
    for labels in (films.labels(), kept.labels):
        rows = [MINI.labels(sprite) for sprite in MINI.splits()["test"]]
        assert {name: values.tolist() for name, values in labels.items()} == {
            name: [row[name] for row in rows] for name in MINI.label_names
        }


def test_dali_decodes_the_same(made):
    pytest.importorskip("nvidia.dali", reason="DALI is not installed")
    films = VideoSet(made.out, "test", View(frames=8, size=SIZE), loader="dali", threads=1)
    (seen,) = films.batches([[Take(item) for item in range(len(films))]])
    assert np.abs((seen + 1) * 127.5 - rendered(made.tree, "test")).max() < 1e-4


def test_licence_and_authors_are_kept_beside(made):
    held, out = made.held, made.out
    assert read_terms(made.tree) == Terms(holders="2011-2030 A Painter and others", licence="CC-BY-SA-3.0+")
    assert held.licence == "CC-BY-SA-3.0+, copyright 2011-2030 A Painter and others"
    for folder in (out, arrays_folder(out)):
        assert "Copyright 2011-2030 A Painter and others" in (folder / "LICENCE.txt").read_text()
        assert "A Packager" in (folder / "COPYRIGHT-flare-game.txt").read_text()
        assert (folder / "contact-sheet.png").stat().st_size > 500


@pytest.mark.parametrize("text", [None, "", "Files: *\nLicense: GPL\n", "no fields\n\n:\n  x\n"])
def test_without_a_copyright_file_the_known_authors_are_named(flare, text):
    path = flare.tree / "usr/share/doc/flare-game/copyright"
    path.unlink() if text is None else path.write_text(text)
    assert read_terms(flare.tree).holders == "2012-2021 Clint Bellanger and others"


def files_of(folder):
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_stopped_it_goes_on_to_the_same_bytes(made, prepare, monkeypatch, tmp_path):
    written = []

    def stop(path, clip):
        if len(written) == 15:
            raise KeyboardInterrupt
        written.append(path)
        write(path, clip)

    write = preparing.write_exact
    monkeypatch.setattr(preparing, "write_exact", stop)
    with pytest.raises(KeyboardInterrupt):
        prepare("broken")
    broken = tmp_path / "broken"
    assert not (broken / "dataset.json").exists()
    # A kill cuts off the last line, leaves a part of a file; one of the clips is damaged since.
    with (broken / "work.jsonl").open("a") as journal:
        journal.write('{"key": "ma')
    (broken / "clips/.0123.part").write_bytes(b"half")
    written[0].write_bytes(b"damaged")
    done = len(written)
    written.clear()
    monkeypatch.setattr(preparing, "write_exact", lambda path, clip: (written.append(path), write(path, clip)))
    prepare("broken")
    assert len(written) == 40 - done + 1
    assert files_of(broken) == files_of(made.out) | {"work.jsonl": (broken / "work.jsonl").read_bytes()}
    written.clear()
    prepare("broken")
    assert not written


def test_other_settings_and_other_folders_are_refused(flare, prepare, tmp_path):
    _, out = prepare()
    before = files_of(out)
    with pytest.raises(InputError, match=r"out: holds sprites, size 32, .*; expected size 64, "):
        prepare(size=64)
    (out / "dataset.json").unlink()
    with pytest.raises(InputError, match=r"out: was begun with size 32, .*; expected size 64, "):
        prepare(size=64)
    assert files_of(out) == {name: held for name, held in before.items() if name != "dataset.json"}
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/letter.txt").write_text("mine")
    with pytest.raises(InputError, match="mine: holds something else already"):
        prepare("mine")
    (tmp_path / "out-arrays").mkdir()
    (tmp_path / "out-arrays/letter.txt").write_text("mine")
    with pytest.raises(InputError, match="out-arrays: holds something else already"):
        prepare(with_arrays=True)


def test_changed_sheets_are_noticed(flare, prepare):
    prepare()
    flare.draw(flare.mod, "male", "shirt", "chest", 7)
    with pytest.raises(InputError, match=r"out: holds sprites, .* sheets"):
        prepare()


def test_a_missing_part_is_told_before_any_work(flare, prepare, tmp_path):
    (flare.mod / "animations/avatar/female/kilt.txt").unlink()
    with pytest.raises(InputError, match=r"female/kilt.txt: no such file"):
        prepare()
    assert not (tmp_path / "out").exists()
    with pytest.raises(InputError, match=r"has no action 'fly'"):
        prepare(design=replace(flare.design, actions=("fly",), legs=("bare",)))


def test_arrays_that_would_not_fit_are_refused(prepare, monkeypatch, tmp_path):
    monkeypatch.setattr(preparing, "MOST", 1 << 20)
    with pytest.raises(InputError, match=r"--arrays: the training part would be 0.0 GiB, expected at most"):
        prepare(with_arrays=True)
    assert not (tmp_path / "out").exists()


def test_a_full_disk_is_told(prepare, monkeypatch):
    def full(path, clip):
        raise SaveError(f"{path}: could not be written (No space left on device)")

    monkeypatch.setattr(preparing, "write_exact", full)
    with pytest.raises(SaveError, match="No space left"):
        prepare()


def test_the_command(flare, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(designs.DESIGNS, "compact", flare.design)
    out = tmp_path / "sprites"
    words = ["prepare", "sprites", "--root", str(flare.tree), "--out", str(out), "--size", "32", "--jobs", "1"]
    assert main([*words, "--no-arrays"]) == 0
    assert capsys.readouterr().out == f"{out}\n"
    assert not (tmp_path / "sprites-arrays").exists()
    assert main([*words, "--json"]) == 0
    said = capsys.readouterr()
    summary = json.loads(said.out)
    assert summary["splits"] == {"train": 32, "val": 4, "test": 4}
    assert summary["arrays"] == str(tmp_path / "sprites-arrays")
    assert f"prepare sprites: arrays: {tmp_path / 'sprites-arrays'}" in said.err
    assert len(open_clips(out, "val")) == len(open_clips(summary["arrays"], "val")) == 4


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--root", "nowhere"], "--root: nowhere is no folder"),
        (["--root", "."], "holds no engine/hero_layers.txt"),
        (["--jobs", "0"], "--jobs: got 0, expected 1 at least"),
        (["--size", "48"], "--size: got '48', expected one of '64', '32'"),
    ],
)
def test_usage_errors_are_one_line(options, words, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["prepare", "sprites", *options]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert words in said.err
    assert said.err.count("\n") == 1
