"""diffsda prepare mug, taichi, voxceleb, celebv_hq: options, what is printed, exit codes."""

import json
import subprocess
import sys
from pathlib import Path

import av
import pytest
from trees import celebv_hq, frames, indexed, mug, number_of, voxceleb

from diffsda.cli.prepare import faces
from diffsda.data.prepared import Dataset
from diffsda.errors import InputError

ROOT = Path(__file__).resolve().parents[3]


def run(what, root, out, *options):
    return faces.run([what, "--root", str(root), "--out", str(out), "--jobs", "0", *options])


def test_the_folder_is_printed(tmp_path, capsys):
    assert run("voxceleb", voxceleb(tmp_path), tmp_path / "out") == 0
    said = capsys.readouterr()
    assert said.out == f"{tmp_path / 'out'}\n"
    assert "found 6 of 153516 clips" in said.err
    assert Dataset.read(tmp_path / "out").splits == {"train": 4, "test": 2}


def test_problems_make_the_exit_code(tmp_path, capsys):
    root = mug(tmp_path, train=1, test=1, people=("001",))
    (root / "mug_pre2_train/0/user001_take000_00/2.jpg").write_bytes(b"\x1b[31m")
    assert run("mug", root, tmp_path / "out", "--json") == 1
    said = capsys.readouterr()
    summary = json.loads(said.out)
    assert (summary["problems"], summary["clips"]) == (1, {"train": 2, "test": 2})
    assert "user001_take000_00/2.jpg: is no image that can be read; the frame is left out" in said.err
    assert "1 problems, see" in said.err


def test_as_published_is_kept_with_the_set(tmp_path):
    assert run("mug", mug(tmp_path), tmp_path / "out", "--as-published") == 0
    assert Dataset.read(tmp_path / "out").options["as_published"] is True
    with av.open(str(tmp_path / "out" / indexed(tmp_path / "out", "train")[0]["path"])) as container:
        held = [number_of(frame.to_ndarray(format="rgb24")) for frame in container.decode(video=0)]
    assert held == [0, 1, *range(10, 16), *range(2, 10)]


def test_taichi_takes_its_own_options(tmp_path):
    top = tmp_path / "TAICHI/taichi-png"
    for number in range(10):
        frames(top / "train" / f"a#{number}#1.mp4", range(12), "{:07}.png")
    frames(top / "test/b#1#2.mp4", range(12), "{:07}.png")
    assert run("taichi", tmp_path, tmp_path / "out", "--newsplit", "--codec", "png", "--size", "32") == 0
    held = Dataset.read(tmp_path / "out")
    assert (held.options["split"], held.size, held.splits) == ("drawn, 90/10", 32, {"train": 9, "test": 2})
    assert {(line["codec"], line["height"]) for line in indexed(tmp_path / "out", "train")} == {("png", 32)}


def test_faces_by_boxes(tmp_path, capsys):
    root = celebv_hq(tmp_path, clips=5)
    boxes = tmp_path / "boxes.jsonl"
    lines = [json.dumps({"clip": f"-vid{n}_A_{n}", "boxes": [[20, 20, 44, 44]] * 12}) for n in range(4)]
    boxes.write_text("\n".join([*lines, "oops"]), encoding="utf-8")
    assert run("celebv_hq", root, tmp_path / "out", "--boxes", str(boxes), "--crop-size", "48", "--json") == 1
    said = capsys.readouterr()
    summary = json.loads(said.out)
    assert summary["files"] == {"kept": 0, "encoded": 5, "in place": 0}
    assert {(e["codec"], e["width"], e["height"], e["frames"]) for e in indexed(tmp_path / "out", "train")} == {
        ("vp9", 48, 48, 12)
    }
    assert "boxes.jsonl:5: " in said.err
    assert "-vid4_A_4.mp4: no face in any frame" in said.err
    assert summary["options"]["faces"]["extra"] == 40


def test_whole_frames_are_said_to_be_whole(tmp_path, capsys):
    assert run("celebv_hq", celebv_hq(tmp_path), tmp_path / "out", "--json") == 0
    assert any("faces are not cut out" in words for words in json.loads(capsys.readouterr().out)["remarks"])


def test_crops_that_are_there_need_no_detector(tmp_path, capsys):
    root = celebv_hq(tmp_path, folder="512_face_crop")
    assert run("celebv_hq", root, tmp_path / "out", "--detector", "dlib", "--json") == 0
    assert not any("faces" in words for words in json.loads(capsys.readouterr().out)["remarks"])


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--jobs", "-1"], "--jobs: got -1"),
        (["--frames", "1"], "--frames: got 1, expected at least 2"),
        (["--size", "0"], "--size: got 0, expected at least 2"),
        (["--crop-size", "1"], "--crop-size: got 1"),
        (["--boxes", "gone.jsonl"], r"gone\.jsonl: cannot be read"),
        (["--boxes", "b.jsonl", "--detector", "dlib"], "--detector: got boxes as well"),
        (["--detector", "mtcnn"], "detector"),
        (["--codec", "h264"], "codec"),
        (["--strip", "8"], "strip"),
    ],
)
def test_bad_options(tmp_path, options, words):
    root = celebv_hq(tmp_path, clips=2)
    with pytest.raises(InputError, match=words):
        run("celebv_hq", root, tmp_path / "out", *options)
    assert not (tmp_path / "out").exists()


def test_no_such_download(tmp_path):
    with pytest.raises(InputError, match="found no MUG in"):
        run("mug", tmp_path, tmp_path / "out")


@pytest.mark.slow
def test_from_the_command_line_killed_and_again(tmp_path):
    import os
    import signal
    import time

    root = voxceleb(tmp_path, speakers=[f"S_{n}" for n in range(40)], clips=5, length=30)
    command = [
        sys.executable,
        "-m",
        "diffsda",
        "prepare",
        "voxceleb",
        "--root",
        str(root),
        "--out",
        str(tmp_path / "out"),
    ]
    run = subprocess.Popen([*command, "--jobs", "2"], cwd=ROOT, stderr=subprocess.DEVNULL, start_new_session=True)
    journal = tmp_path / "out/journal.jsonl"
    for _ in range(600):
        time.sleep(0.05)
        if journal.exists() and journal.read_bytes().count(b"\n") > 20:
            break
    os.kill(run.pid, signal.SIGKILL)
    run.wait()
    before = journal.read_bytes().count(b"\n")
    assert before < 200
    done = subprocess.run([*command, "--json"], cwd=ROOT, capture_output=True, text=True, check=False)
    summary = json.loads(done.stdout)
    assert done.returncode == 0
    assert summary["clips"] == {"train": 200}
    assert summary["made_now"] == 200 - before
