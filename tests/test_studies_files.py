"""The five studies: every row of every report has a step, every command is one, and nothing is done twice."""

from __future__ import annotations

import importlib
import re
import shlex
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from pocketlens.cli import _parse
from pocketlens.cli.options import check_dataset, check_recipe, recipe_changes
from pocketlens.recipe import Recipe, read_recipe
from pocketlens.studies.changes import grid, pointwise, read_lists, read_variant
from pocketlens.studies.space import read_space

STUDIES = Path(__file__).parent.parent / "studies"
N_ROWS = {  # of each report, as its study must cover them
    "cifar100_augmentation_and_attention": ("A", 14),
    "cifar100_ablations": ("B", 9),
    "fashion_mnist_sam_search": ("C", 5),
    "cifar100_small_cnns_and_vgg19": ("D", 6),
    "mlp_cnn_sweeps_and_stl10": ("E", 8),
}
BUDGETS = ("smoke", "minutes", "full")


@pytest.fixture(autouse=True)
def _importable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(STUDIES))


@pytest.fixture
def shared() -> ModuleType:
    return importlib.import_module("_steps")


def steps_of(name: str, budget: str, **more: Any) -> list[Any]:
    asked = importlib.import_module("_steps").Asked(budget, **more)
    return list(importlib.import_module(name).steps(asked))


def test_there_are_five_studies() -> None:
    assert {path.stem for path in STUDIES.glob("[a-z]*.py")} == set(N_ROWS)


@pytest.mark.parametrize("name", N_ROWS)
def test_a_study_says_what_it_is(name: str, shared: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    module = importlib.import_module(name)
    assert module.__doc__.startswith(f"Report {N_ROWS[name][0]}: ")
    with pytest.raises(SystemExit) as ended:
        shared.main(module.__doc__, module.steps, ["--help"])
    assert ended.value.code == 0
    assert "--budget {smoke,minutes,full}" in capsys.readouterr().out
    assert shared.main(module.__doc__, module.steps, ["--list", "--budget", "smoke"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == len(steps_of(name, "smoke"))


@pytest.mark.parametrize("budget", BUDGETS)
@pytest.mark.parametrize("name", N_ROWS)
def test_every_row_of_the_report_has_a_step(name: str, budget: str) -> None:
    letter, n = N_ROWS[name]
    steps = steps_of(name, budget)
    assert {step.row for step in steps} == {f"{letter}{number}" for number in range(1, n + 1)}
    names = [step.name for step in steps]
    assert len(set(names)) == len(names)
    assert all(step.name.startswith(f"{step.row}-") for step in steps)


@pytest.mark.parametrize("budget", BUDGETS)
@pytest.mark.parametrize("name", N_ROWS)
def test_every_command_is_one_that_pocketlens_knows(name: str, budget: str) -> None:
    """Words, options, data sets, recipes, variants, spaces, and the runs of earlier steps that a command names."""
    earlier: list[str] = []
    for step in steps_of(name, budget):
        words = shlex.split(step.command)
        named = re.findall(rf"\b{N_ROWS[name][0]}\d+-[\w-]+", step.command)
        assert set(named) <= set(earlier), step.name
        earlier.append(step.name)
        if any(word.startswith("@") for word in words):
            continue  # a recipe that an earlier step writes
        args = _parse(words)
        if hasattr(args, "dataset"):
            check_dataset(args.dataset)
        if words[0] not in ("train", "compare", "sweep", "search", "transfer"):
            continue
        base = check_recipe(read_recipe(args.recipe) if args.recipe else Recipe(), recipe_changes(args), "the recipe")
        base.check()
        made = [base]
        if words[0] == "compare":
            made = [read_variant(text, base).recipe for text in args.recipes]
        elif words[0] == "sweep":
            made = [variant.recipe for variant in (grid if args.grid else pointwise)(base, read_lists(args.lists))]
        elif words[0] == "search":
            read_space(args.space, base)
        assert len({str(recipe) for recipe in made}) == len(made), step.name
        for recipe in made:
            recipe.check()


def test_report_d_says_whose_weights_it_has() -> None:
    def joined(**more: Any) -> str:
        steps = steps_of("cifar100_small_cnns_and_vgg19", "full", **more)
        return "\n".join(f"{step.command} {step.note}" for step in steps)

    assert "no ImageNet weights here" in joined()
    assert "pretrained=True" in joined(hub=True)
    assert "no ImageNet weights here" not in joined(hub=True)
    assert "weights='vgg19.pth'" in joined(weights=Path("vgg19.pth"))


def test_what_is_done_is_not_done_again(
    shared: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    called: list[list[str]] = []

    def call(words: list[str], folder: Path) -> tuple[int, dict[str, Any], list[str]]:
        called.append(words)
        if words[0] == "show" and len(called) == 2:
            return 143, {}, ["stopped"]
        return (2 if "nonsense" in words else 0), {"path": "made/here", "html": "page.html"}, ["it said | this"]

    monkeypatch.setattr(shared, "_call", call)

    def steps(asked: Any) -> list[Any]:
        return [
            shared.Step("B1", "B1-rate", "Which rate?", "lr-range digits"),
            shared.Step("B1", "B1-show", "Which layers?", "show lens"),
            shared.Step("B1", "B1-error", "What is said?", "show nonsense", exits=2),
            shared.Step("B2", "B2-again", "And then?", "export @B1-rate/x"),
        ]

    words = ["--runs", str(tmp_path / "runs"), "--results", str(tmp_path)]
    assert shared.main("A title.\nMore.", steps, words) == 143
    assert [call[0] for call in called] == ["lr-range", "show"]
    assert shared.main("A title.\nMore.", steps, words) == 0
    assert [call[:2] for call in called[2:]] == [["show", "lens"], ["show", "nonsense"], ["export", "made/here/x"]]
    assert shared.main("A title.\nMore.", steps, words) == 0
    assert len(called) == 5
    page = next(tmp_path.glob("*.md")).read_text(encoding="utf-8")
    assert page.startswith("# A title\n")
    assert f"pocketlens show lens --runs {tmp_path}/runs" in page
    assert "As it should, the command refuses" in page
    assert shared.main("A title.\nMore.", steps, [*words, "--only", "B2", "--stop-after", "0"]) == 0  # known already
    capsys.readouterr()


def test_words_are_quoted_as_a_person_types_them(shared: ModuleType) -> None:
    quoted = importlib.import_module("_words").quoted
    assert quoted("cnn(padding='valid')") == "\"cnn(padding='valid')\""
    for word in ("lens", "flip | crop(pad=2)", "a'b\"c", "it's $5"):
        assert shlex.split(quoted(word)) == [word]


@pytest.mark.parametrize("path", sorted(STUDIES.glob("results/*.md")), ids=lambda path: path.stem)
def test_results_name_their_commands(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    letter, n = N_ROWS[path.stem]
    assert {f"{letter}{number}" for number in range(1, n + 1)} <= set(re.findall(r"\b[A-E]\d+\b", text))
    assert "**Hardware**" in text
    assert not re.search(r"/(home|tmp|work|root)/", text)


@pytest.mark.slow
def test_a_study_runs_on_real_data(data_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some rows of report B from end to end, on a handful of images; the ledger is the test's own."""
    module, shared = importlib.import_module("cifar100_ablations"), importlib.import_module("_steps")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("POCKETLENS_DATA", str(data_folder))
    words = ["--budget", "smoke", "--only", "B1,B2,B5", "--results", str(tmp_path)]
    assert shared.main(module.__doc__, module.steps, words) == 0
    page = (tmp_path / "cifar100_ablations.md").read_text(encoding="utf-8")
    assert "6,454,948 parameters" in page
    assert "would shrink one to 0 x 0" in page
    assert "opening 1 of 1" in page
    assert "like the best" in page
