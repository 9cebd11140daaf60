"""Signals as the loop sees them, in this very process."""

import os
import signal
import threading

import pytest
from training_runs import assert_same_run, clips, records, state_of, vector, weights_of

from diffsda.checkpoint import load
from diffsda.train.interrupt import Interrupt
from diffsda.train.loop import Options, train


@pytest.fixture(autouse=True)
def _sigterm_ends_a_test_and_not_pytest():
    def fail(number, frame):
        raise AssertionError("SIGTERM was not caught")

    before = signal.signal(signal.SIGTERM, fail)
    yield
    signal.signal(signal.SIGTERM, before)


def send(number):
    os.kill(os.getpid(), number)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_is_noted_and_handlers_are_put_back(number):
    before = signal.getsignal(number)
    with Interrupt() as interrupt:
        assert interrupt.signal is None
        send(number)
        assert interrupt.signal == number
    assert signal.getsignal(number) is before


@pytest.mark.parametrize("first", [signal.SIGINT, signal.SIGTERM])
def test_sigint_after_another_signal_stops_at_once(first):
    before = signal.getsignal(signal.SIGINT)
    with Interrupt():
        send(first)
        with pytest.raises(KeyboardInterrupt):
            send(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before


def test_a_second_sigterm_does_not_hurry():
    with Interrupt() as interrupt:
        send(signal.SIGTERM)
        send(signal.SIGTERM)
    assert interrupt.signal == signal.SIGTERM


def test_a_handler_that_was_not_pythons_is_no_stumbling_block():
    with Interrupt() as interrupt:
        interrupt._before[signal.SIGTERM] = None
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def test_training_in_another_thread_leaves_signals_alone(tmp_path):
    recipe = vector(steps=2)
    results = []
    thread = threading.Thread(target=lambda: results.append(train(recipe, clips(recipe), tmp_path / "run")))
    thread.start()
    thread.join()
    assert results[0].finished


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_loop_finishes_its_step_saves_and_says_so(tmp_path, number):
    recipe = vector(ema=0.9)
    data = clips(recipe)
    train(recipe, data, tmp_path / "whole", Options(log_every=1))

    def stop(step, total, values):
        if step == 4:
            send(number)

    result = train(recipe, data, tmp_path / "run", Options(log_every=1), progress=stop)
    assert (result.signal, result.step, result.finished) == (number, 5, False)
    assert state_of(tmp_path / "run")["step"] == 5
    assert [record["step"] for record in records(tmp_path / "run")] == [1, 2, 3, 4, 5]
    result = train(recipe, data, tmp_path / "run", Options(log_every=1, resume=True))
    assert (result.signal, result.step, result.finished) == (None, 10, True)
    assert_same_run(tmp_path / "run", tmp_path / "whole")


@pytest.mark.parametrize("last", [2, 3])
def test_a_signal_in_or_after_the_last_step_stopped_nothing(tmp_path, last):
    recipe = vector(steps=3)

    def stop(step, total, values):
        if step == last:
            send(signal.SIGINT)

    result = train(recipe, clips(recipe), tmp_path / "run", Options(log_every=1), progress=stop)
    assert (result.signal, result.finished) == (None, True)
    assert load(tmp_path / "run").provenance["step"] == 3


def test_a_second_sigint_leaves_at_once_and_the_last_checkpoint_stays(tmp_path):
    recipe = vector()
    data = clips(recipe)
    train(recipe, data, tmp_path / "whole", Options(log_every=1))
    before = signal.getsignal(signal.SIGINT)

    def stop(step, total, values):
        if step == 5:
            send(signal.SIGINT)
            send(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        train(recipe, data, tmp_path / "run", Options(log_every=1, save_every=2), progress=stop)
    assert signal.getsignal(signal.SIGINT) is before
    assert state_of(tmp_path / "run")["step"] == 4
    assert weights_of(tmp_path / "run")[-1] == "weights-00000004.safetensors"
    train(recipe, data, tmp_path / "run", Options(log_every=1, resume=True))
    assert_same_run(tmp_path / "run", tmp_path / "whole")


def test_a_device_is_looked_at_seldom_but_signals_are_heard_at_once(tmp_path, monkeypatch):
    from diffsda.train import loop

    guard = loop.Guard
    monkeypatch.setattr(loop, "Guard", lambda device: guard(device, every=50))
    recipe = vector(steps=60)

    def stop(step, total, values):
        if step == 4:
            send(signal.SIGTERM)

    result = train(recipe, clips(recipe), tmp_path / "run", Options(log_every=4), progress=stop)
    assert (result.signal, result.step) == (signal.SIGTERM, 5)
