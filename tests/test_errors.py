"""Every error people see has its exit status and can be caught as what it is."""

import pytest

from diffsda.errors import (
    CheckpointError,
    DiffSDAError,
    InputError,
    MissingPackage,
    SaveError,
    TrainingError,
)


@pytest.mark.parametrize(
    ("kind", "status", "builtin"),
    [
        (DiffSDAError, 1, Exception),
        (InputError, 2, ValueError),
        (CheckpointError, 1, ValueError),
        (SaveError, 1, OSError),
        (TrainingError, 1, RuntimeError),
        (MissingPackage, 3, ImportError),
    ],
)
def test_statuses_and_kinds(kind, status, builtin):
    error = kind("x: got 1, expected 2")
    assert error.exit_code == status
    assert isinstance(error, builtin)
    assert isinstance(error, DiffSDAError)
    assert str(error) == "x: got 1, expected 2"


def test_the_command_line_prints_every_kind_as_one_line(monkeypatch, capsys):
    import diffsda.cli.doctor
    from diffsda.cli import main

    for kind in (InputError, CheckpointError, SaveError, TrainingError, MissingPackage):

        def stop(_argv, kind=kind):
            raise kind("x: got 1,\n  expected 2")

        monkeypatch.setattr(diffsda.cli.doctor, "run", stop)
        assert main(["doctor"]) == kind.exit_code
        said = capsys.readouterr()
        assert (said.out, said.err) == ("", "diffsda doctor: error: x: got 1, expected 2\n")
