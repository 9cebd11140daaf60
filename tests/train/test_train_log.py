"""The log: complete lines, readable after a kill, honest about a full disk."""

import json
import os

import pytest

from diffsda.errors import SaveError
from diffsda.train.log import Log, provenance, read_log


def fill(folder, steps):
    log = Log(folder)
    for step in steps:
        log.write(step, loss=step / 3, grad_norm=1.0)
    log.close()


def test_records_come_back(tmp_path):
    fill(tmp_path, [1, 2])
    assert read_log(tmp_path) == [
        {"step": 1, "loss": 0.333333, "grad_norm": 1.0},
        {"step": 2, "loss": 0.666667, "grad_norm": 1.0},
    ]
    assert read_log(tmp_path / "log.jsonl") == read_log(tmp_path)


def test_a_record_is_in_the_file_before_write_returns(tmp_path):
    log = Log(tmp_path)
    log.write(1, loss=0.5)
    assert (tmp_path / "log.jsonl").read_text() == '{"step": 1, "loss": 0.5}\n'
    log.close()
    log.close()


@pytest.mark.parametrize("cut", range(1, 40, 4))
def test_a_last_line_cut_short_is_left_out(tmp_path, cut):
    fill(tmp_path, [1, 2, 3])
    path = tmp_path / "log.jsonl"
    whole = path.read_bytes()
    path.write_bytes(whole[:-cut])
    left = [record["step"] for record in read_log(tmp_path)]
    # Without its newline alone a line is still whole.
    assert left == ([1, 2, 3] if cut == 1 else [1, 2])


@pytest.mark.parametrize("rubbish", [b"\0" * 64, b"\xff\xfe{", b"[1, 2]\n", b"null\n", b'{"loss": 1}\n', b"\n"])
def test_rubbish_after_a_power_cut_is_left_out(tmp_path, rubbish):
    fill(tmp_path, [1, 2])
    with (tmp_path / "log.jsonl").open("ab") as file:
        file.write(rubbish)
    assert [record["step"] for record in read_log(tmp_path)] == [1, 2]


def test_no_log_is_an_empty_one(tmp_path):
    assert read_log(tmp_path) == []


def test_going_on_drops_later_records_and_cut_lines(tmp_path):
    fill(tmp_path, [1, 2, 3, 4])
    with (tmp_path / "log.jsonl").open("a") as file:
        file.write('{"step": 5, "lo')
    log = Log(tmp_path, after=2)
    log.write(3, loss=9.0)
    log.close()
    text = (tmp_path / "log.jsonl").read_text()
    assert [json.loads(line)["step"] for line in text.splitlines()] == [1, 2, 3]
    assert read_log(tmp_path)[-1]["loss"] == 9.0


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full here")  # noqa: PTH110
def test_a_full_disk_is_told_once(tmp_path):
    (tmp_path / "log.jsonl").symlink_to("/dev/full")
    log = Log(tmp_path)
    with pytest.raises(SaveError, match=r"log\.jsonl: could not be written \(No space left on device\)"):
        log.write(1, loss=0.5)
    log.close()


def test_a_log_that_cannot_be_opened(tmp_path):
    (tmp_path / "log.jsonl").mkdir()
    with pytest.raises(SaveError, match=r"log\.jsonl: could not be opened"):
        Log(tmp_path)


def test_provenance_is_plain_and_says_what_ran():
    about = json.loads(json.dumps(provenance()))
    assert {"diffsda", "python", "torch", "numpy", "device", "command", "started", "threads"} <= set(about)
