"""Reading, working and writing side by side: nothing waits for ever, nothing made is lost, memory is bounded."""

import threading
import time

import pytest
from infer_jobs import bytes_of, folder_of, infer

from diffsda.export.infer import runner
from diffsda.export.infer.pipeline import Pipeline


def pipeline(read, write, *, readers=2, writers=1, depth=3, stopping=lambda: False):
    return Pipeline(read, write, readers=readers, writers=writers, depth=depth, stopping=stopping)


def through(arriving):
    """Hand on what comes."""
    yield from arriving


@pytest.mark.parametrize(("readers", "writers"), [(1, 1), (2, 1), (5, 1), (1, 4), (3, 3)])
def test_everything_goes_through_once(readers, writers):
    kept = []
    runner = pipeline(lambda u: range(10 * u, 10 * u + u), kept.append, readers=readers, writers=writers)
    runner.run(range(9), through)
    assert sorted(kept) == sorted(10 * u + i for u in range(9) for i in range(u))
    if readers == writers == 1:
        assert kept == sorted(kept), "one reader keeps the order"


def test_no_more_waits_than_the_queues_hold():
    begun, kept = [], []
    hold = threading.Event()

    def write(thing):
        hold.wait(30)
        kept.append(thing)

    def read(unit):
        begun.append(unit)
        yield unit

    runner = pipeline(read, write, readers=2, depth=3)
    thread = threading.Thread(target=runner.run, args=(range(1000), through))
    thread.start()
    before = -1
    while before != len(begun):
        before = len(begun)
        time.sleep(0.3)
    # Two queues of three, one thing at the writer, one in the work, one at each reader.
    assert len(begun) <= 3 + 3 + 1 + 1 + 2
    hold.set()
    thread.join(30)
    assert len(kept) == 1000


def failing(at):
    """A function that hands on what it is given and fails at one thing."""

    def work(thing):
        if thing == at:
            raise RuntimeError(f"at {at}")
        return thing

    return work


def test_an_error_in_reading_stops_all_and_loses_nothing_made():
    kept = []
    with pytest.raises(RuntimeError, match="at 50"):
        pipeline(lambda unit: [failing(50)(unit)], kept.append, readers=1).run(range(10**9), through)
    assert kept == list(range(len(kept)))
    assert len(kept) <= 50


def test_an_error_in_the_work_stops_all_and_loses_nothing_made():
    kept, made = [], []

    def work(arriving):
        for thing in arriving:
            made.append(failing(50)(thing))
            yield thing

    def write(thing):
        time.sleep(0.002)
        kept.append(thing)

    with pytest.raises(RuntimeError, match="at 50"):
        pipeline(lambda unit: [unit], write, depth=30).run(range(10**9), work)
    assert kept == made
    assert len(kept) >= 20


@pytest.mark.parametrize("writers", [2, 4])
def test_an_error_in_one_of_many_writers_stops_all(writers):
    kept = []
    with pytest.raises(RuntimeError, match="at 5"):
        pipeline(lambda unit: [unit], lambda t: kept.append(failing(5)(t)), writers=writers).run(range(10**9), through)
    assert len(kept) == len(set(kept)) < 100


def test_an_error_in_writing_stops_all():
    kept = []
    with pytest.raises(RuntimeError, match="at 5"):
        pipeline(lambda unit: [unit], lambda t: kept.append(failing(5)(t)), readers=1).run(range(10**9), through)
    assert kept == [0, 1, 2, 3, 4]


def test_an_error_in_writing_the_last_thing_is_not_missed():
    with pytest.raises(RuntimeError, match="at 2"):
        pipeline(lambda unit: [unit], failing(2)).run(range(3), through)


def test_asked_to_stop_it_writes_what_is_made():
    kept, made = [], []

    def work(arriving):
        for thing in arriving:
            made.append(thing)
            yield thing

    pipeline(lambda unit: [unit], kept.append, stopping=lambda: len(made) >= 20).run(range(10**9), work)
    assert kept == made
    assert 20 <= len(kept) <= 21


def test_threads_end_with_the_run():
    before = threading.active_count()
    test_an_error_in_reading_stops_all_and_loses_nothing_made()
    test_an_error_in_writing_stops_all()
    pipeline(lambda unit: [unit], lambda thing: None, readers=4).run(range(9), through)
    assert threading.active_count() == before


def test_a_tile_is_begun_before_the_one_before_it_is_waited_for(monkeypatch, tmp_path):
    """As on a GPU, which is never without work then; what comes out is the same."""
    job, said = folder_of(tmp_path / "job", 7, (5,)), []
    infer(job, tmp_path / "plain", tile=2)
    begin = runner.begin

    def telling(task, session, clips, *rest):
        keys = "".join(clip.key for clip in clips)
        said.append(f"begin {keys}")
        wait = begin(task, session, clips, *rest)

        def told():
            said.append(f"wait {keys}")
            return wait()

        return told

    monkeypatch.setattr(runner, "begin", telling)
    monkeypatch.setattr(runner, "tiles_ahead", lambda session: 1)
    assert infer(job, tmp_path / "ahead", tile=2, readers=1).done == 7
    assert bytes_of(tmp_path / "ahead") == bytes_of(tmp_path / "plain")
    assert said == ["begin 01", "begin 23", "wait 01", "begin 45", "wait 23", "begin 6", "wait 45", "wait 6"]
