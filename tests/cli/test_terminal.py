"""What a person reads in a terminal: 80 columns, a first line at once, labels of their own, hints, what there is."""

from __future__ import annotations

import ast
import importlib
from pathlib import Path

import pytest
from made_runs import make_dataset, make_run

from pocketlens.api import test as opening_of_tests
from pocketlens.api.runs import command, next_command, typed_name
from pocketlens.cli import _parse, main
from pocketlens.cli.terminal.parser import COMMANDS, Parser
from pocketlens.cli.terminal.synonyms import _INSIDE, _SAME, hint_for
from pocketlens.display.screen import table
from pocketlens.events import Doing
from pocketlens.recipe import Recipe

SOURCE = Path(importlib.import_module("pocketlens").__file__ or "").parent


def test_a_table_fits_80_columns_and_cuts_texts_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    row = ("20260101-000000-0000-abcd", "x" * 40, "12.34%", "y" * 30, "1,000,000")
    header = ("run", "text", "acc", "other", "n")
    lines = table([row, ("b", "short", "1.00%", "z", "2")], header)
    assert max(map(len, lines)) == 80
    assert lines[1].startswith(row[0])
    assert "12.34%" in lines[1]
    assert lines[1].endswith("1,000,000")
    assert lines[1].count("…") == 2
    assert "…" not in lines[2]
    assert max(map(len, table([row], header, indent=4))) == 76
    monkeypatch.setenv("COLUMNS", "140")
    assert "…" not in "".join(table([row], header)), "a wider terminal shows more"


@pytest.mark.parametrize("words", [["list", "runs"], ["list"], ["show", "lenet"], ["study"]])
def test_what_is_listed_fits(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    dataset = make_dataset(60, ("a", "b"), (8, 8, 1), text="folder(path='/home/somebody/with/a/long/path/photos')")
    make_run(tmp_path, dataset, id="20260101-000000-0000-abcd", label="a label that is as long as labels get " * 2)
    assert main([*words, "--runs", str(tmp_path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    tables = [line for line in lines if "  " in line]
    assert max(map(len, tables), default=0) <= 80


def test_list_and_show_give_both_scores(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from test_report import open_by_hand

    dataset = make_dataset(60, ("a", "b"), (8, 8, 1))
    run = make_run(tmp_path, dataset, label="mine")
    open_by_hand(run, dataset)
    val, test = run.top1("val"), run.top1("test")
    assert val is not None
    assert test is not None
    assert main(["list", "runs", "--runs", str(tmp_path)]) == 0
    line = next(line for line in capsys.readouterr().out.splitlines() if line.startswith(run.id))
    assert line.split()[2:5] == [f"{val.value:.2%}", f"{test.value:.2%}", "mine"]
    assert main(["show", "mine", "--runs", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    for name, estimate in (("val", val), ("test", test)):
        assert f"{name:<14}{100 * estimate.value:.2f} % [{100 * estimate.low:.2f}" in out  # type: ignore[operator]


def test_bare_list_and_study_say_what_there_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "--runs", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert all(f"pocketlens list {kind}" in out for kind in ("models", "runs", "recipes"))
    assert main(["study", "--runs", str(tmp_path)]) == 0
    assert "no studies in" in capsys.readouterr().out


def test_next_lines_name_a_run_as_its_person_does(tmp_path: Path) -> None:
    dataset = make_dataset(60, ("a", "b"), (8, 8, 1))

    def named(name: str, label: str) -> str:
        return typed_name(make_run(tmp_path, dataset, id=name, label=label))

    assert named("20260101-000001-0000-aaaa", "my run") == '"my run"'
    assert named("20260101-000002-0000-aaaa", "baseline") == "baseline"
    old = make_run(tmp_path, dataset, id="20260101-000003-0000-aaaa", label="twice")
    new = make_run(tmp_path, dataset, id="20260101-000004-0000-aaaa", label="twice")
    assert (typed_name(old), typed_name(new)) == (old.id, "twice"), "a label means the newest run"
    for label in ("", "last", "auto: final", "--lr", "a`b", "$HOME", "20260101-000002-0000-aaaa"):
        name = f"20260102-{abs(hash(label)) % 10**6:06d}-0000-aaaa"
        assert named(name, label) == name, label
    assert next_command(new) in ("pocketlens test twice", "pocketlens report twice")
    assert command("resume", new) == f"pocketlens resume twice --runs {tmp_path}"


def test_the_first_event_says_what_is_done(tmp_path: Path) -> None:
    run = make_run(tmp_path, make_dataset(60, ("a", "b"), (8, 8, 1)), label="mine")
    events = opening_of_tests.testing(opening_of_tests.TestRequest(run))
    first = next(events)
    events.close()
    assert first == Doing("loading PyTorch and reading made, to test mine")


def test_whatever_loads_torch_says_so_before() -> None:
    """In the room api, every call of `prepare` that a generator of events makes stands behind a Doing."""
    for path in sorted((SOURCE / "api").glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.FunctionDef) or "Events[" not in ast.unparse(node.returns or ast.Constant("")):
                continue
            text = ast.unparse(node)
            place = text.find("machine.prepare(")
            if place >= 0:
                assert 0 <= text.find("yield Doing(") < place, f"{path.name}: {node.name}"


@pytest.mark.parametrize(
    ("command_and_option", "hint"),
    [
        (("train", "--learning-rate"), "did you mean '--lr'?"),
        (("train", "--batch_size"), "did you mean '--batch-size'?"),
        (("train", "--scheduler"), "did you mean '--schedule'?"),
        (("train", "--dropout"), 'type it as --model "cnn(dropout=0.5)"'),
        (("test", "--learning-rate"), None),
        (("test", "--tta"), "did you mean '--views'?"),
        (("serve", "--gpu"), "did you mean '--device'?"),
        (("train", "--nonsense"), None),
    ],
    ids=str,
)
def test_options_of_other_programs_have_a_hint(command_and_option: tuple[str, str], hint: str | None) -> None:
    name, option = command_and_option
    assert hint_for(option, options_of(name)) == hint


def test_every_hint_leads_to_an_option_that_exists() -> None:
    known = {option for name in COMMANDS for option in options_of(name)}
    assert set(_SAME) <= known
    assert {option for option, _ in _INSIDE.values()} <= known
    others = [other for words in _SAME.values() for other in words]
    assert len(others) == len(set(others))
    assert not known & {f"--{other}" for other in others} - {"--name", "--from", "--limit", "--labels", "--k"}
    for _, example in _INSIDE.values():
        args = _parse(["train", "digits", *[word.strip('"') for word in example.split(" ", 1)]])
        recipe = {key.removeprefix("recipe_"): value for key, value in vars(args).items() if key.startswith("recipe_")}
        Recipe().changed(**recipe).check()


def options_of(name: str) -> set[str]:
    commands = Parser().add_subparsers()
    importlib.import_module(f"pocketlens.cli.{name.replace('-', '_')}").add(commands)
    return set(commands.choices[name].option_names())
