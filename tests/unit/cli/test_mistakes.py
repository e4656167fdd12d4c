"""A user's mistake is one paragraph and an exit code; a defect keeps its traceback."""

from __future__ import annotations

import subprocess
import sys
import warnings

import pytest

from metarec_sdk import errors
from metarec_sdk.cli.mistakes import exit_code, message


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.ArgumentError("k=0"), 2),
        (errors.DataError("empty"), 2),
        (errors.ColumnError("no such column"), 2),
        (errors.UnknownIdError("u9"), 2),
        (errors.NotFittedError("fit first"), 2),
        (FileNotFoundError(2, "No such file or directory", "users.txt"), 2),
        (errors.ArtefactError("truncated"), 3),
        (errors.StorageError("disk full"), 3),
        (errors.ConflictError("somebody else published"), 3),
        (OSError(28, "No space left on device", "out.csv"), 3),
        (PermissionError(13, "Permission denied", "out.csv"), 3),
        (errors.PluginError("pip install metarec-acme"), 4),
        (errors.MissingDependencyError("pip install torch"), 4),
        (KeyboardInterrupt(), 130),
    ],
)
def test_exit_codes(metarec, serve, error, code):
    model = serve(["i1"], ["u1"])
    model.raises = error
    result = metarec("recommend", "model", "--user", "u1")
    assert result.exit_code == code
    assert "Traceback" not in result.output
    assert result.stdout == ""
    if code != 130:
        assert result.stderr.startswith("Error: ")
        assert (
            error.filename if isinstance(error, OSError) and error.filename else str(error)
        ) in result.stderr


def test_a_defect_is_not_hidden(metarec, serve):
    serve(["i1"], ["u1"]).raises = ZeroDivisionError("a defect")
    result = metarec("recommend", "model", "--user", "u1")
    assert isinstance(result.exception, ZeroDivisionError)
    assert exit_code(ZeroDivisionError()) is None


def test_debug_shows_the_traceback(metarec, serve, monkeypatch):
    serve(["i1"], ["u1"]).raises = errors.ArgumentError("k=0")
    monkeypatch.setenv("METAREC_DEBUG", "1")
    result = metarec("recommend", "model", "--user", "u1")
    assert isinstance(result.exception, errors.ArgumentError)


def test_notes_that_name_a_plugin_are_part_of_the_message():
    error = errors.ArgumentError("n_tasks must be ≥ 1")
    error.add_note("raised by plugin acme 1.2")
    assert message(error) == "n_tasks must be ≥ 1 (raised by plugin acme 1.2)"


def test_markup_in_a_message_is_text(metarec, serve):
    serve(["i1"], ["u1"]).raises = errors.ArgumentError("ids are [red]u1[/red] and [bold]")
    assert "[red]u1[/red] and [bold]" in metarec("recommend", "model", "--user", "u1").stderr


def test_data_warnings_are_sentences_and_others_stay_as_they_are(metarec, serve, monkeypatch):
    model = serve(["i1"], ["u1"])
    shown: list[object] = []
    monkeypatch.setattr(warnings, "showwarning", lambda *arguments: shown.append(arguments[1]))

    def warn(*_):
        warnings.warn("times mean 1970", errors.DataWarning, stacklevel=1)
        warnings.warn("old", FutureWarning, stacklevel=1)

    model._called = warn
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        result = metarec("recommend", "model", "--user", "u1")
    assert result.stderr == "Warning: times mean 1970\n"
    assert shown == [FutureWarning]


@pytest.mark.parametrize(
    "arguments",
    [
        ("recommend", "model"),
        ("recommend", "model", "--user", "u1", "--history", "i1"),
        ("recommend", "model", "--user", "u1", "--out", "lists.xlsx"),
        ("observe", "model", "--user", "u1"),
        ("observe", "model", "--file", "events.csv", "--item", "i1"),
        ("fit", "nowhere.csv", "--out", "model", "--param", "n_tasks=3"),
        ("evaluate", "model", "log.csv", "--seeds", "0"),
        ("evaluate", "model", "log.csv", "--out", "report.txt"),
        ("evaluate", "model", "log.csv", "--protocol", "lukewarm"),
        ("bench", "--folder", "/"),
        ("plugins", "show", "nothing"),
        ("plugins", "list", "--kind", "oracle"),
    ],
)
def test_wrong_arguments(metarec, arguments):
    result = metarec(*arguments)
    assert result.exit_code == 2
    assert result.stderr
    assert "Traceback" not in result.output


def test_the_process_ends_with_the_code_and_without_a_traceback(tmp_path):
    run = subprocess.run(
        [sys.executable, "-m", "metarec_sdk.cli", "recommend", str(tmp_path / "nowhere"), "--user", "u1"],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert run.returncode == 3
    assert "Traceback" not in run.stderr
    assert run.stderr.startswith("Error: ")
