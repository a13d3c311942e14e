"""The five reproductions: every row of every report has a step, every command is one, and nothing is done twice."""

from __future__ import annotations

import importlib
import os
import re
import shlex
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from pocketlens.cli import _parse
from pocketlens.cli.terminal.options import check_dataset, check_recipe, recipe_changes
from pocketlens.files import write_json
from pocketlens.recipe import Recipe, read_recipe
from pocketlens.studies.overrides import grid, pointwise, read_lists, read_variant
from pocketlens.studies.space import read_space

STUDIES = Path(__file__).parent.parent / "reproductions"
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

    assert "The body is EfficientNet-Lite0 with the weights of ImageNet" in joined()
    assert "vgg(depth=19" in joined(hub=True)
    assert "The body is EfficientNet-Lite0" not in joined(hub=True)
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
    os.utime(tmp_path / "runs/steps/B1-rate.json")  # as if it had been made anew: what used it must be, too
    assert shared.main("A title.\nMore.", steps, words) == 0
    assert [call[0] for call in called[5:]] == ["export"]
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


def estimate(value: float) -> dict[str, float]:
    return {"value": value, "low": value - 0.01, "high": value + 0.01}


def told(command: str, result: dict[str, Any]) -> str:
    words, shared = importlib.import_module("_words"), importlib.import_module("_steps")
    step = shared.Step("B4", "B4-x", "Which?", command)
    lines = words.told(shared.Done(step, [command], 0, 1.0, result))
    return "\n".join(lines).replace("\\", "")  # Markdown's escapes


def candidate(name: str, mean: float | None) -> dict[str, Any]:
    known = mean is not None
    statuses = ["complete", "complete" if known else "diverged"]
    low, high, sd = (mean - 0.02, mean + 0.02, 0.015) if mean is not None else (None, None, None)
    return {"name": name, "mean": mean, "sd": sd, "low": low, "high": high, "statuses": statuses, "seconds": 12.0}


def verdict(first: str, second: str, word: str, gain: float, low: float | None) -> dict[str, Any]:
    seen = {"mean": gain, "low": low, "high": None if low is None else 2 * gain - low}
    return {"first": first, "second": second, "word": word, "p_holm": 0.0123, "difference": seen}


def test_a_comparison_is_told_with_intervals_and_verdicts() -> None:
    verdicts = [
        verdict("max", "average", "better", 0.04, 0.02),
        verdict("max", "mixed", "cannot tell", 0.01, -0.01),
        verdict("average", "mixed", "worse", -0.03, -0.05),
    ]
    candidates = [candidate("max", 0.30), candidate("average", 0.34), candidate("mixed", 0.31)]
    page = told("compare", {"recipes": candidates, "verdicts": verdicts, "like_the_best": ["average"]})
    row = "| average | 34.00 ± 1.50 % | [32.00, 36.00] | 2 | 6 | better, +4.00 [+2.00, +6.00] points, p 0.012 | ● |"
    assert row in page
    assert "- mixed is worse than average: -3.00 [-5.00, -1.00] points" in page
    assert "Pairs without max: 1, of which 0 cannot be told apart." in page
    candidates[2] = candidate("mixed", None)
    once = [verdict("max", "average", "cannot tell", 0.04, None)]
    page = told("sweep", {"recipes": candidates, "verdicts": once, "like_the_best": []})
    assert "| mixed | n/a |" in page
    assert "no verdicts" in page


def test_a_test_score_is_told_with_its_opening(tmp_path: Path) -> None:
    per_class = [
        {"class": name, "support": 10, **{key: estimate(f1) for key in ("precision", "recall", "f1")}}
        for name, f1 in (("otter", 0.34), ("bag", 0.99))
    ]
    test = {"top1": estimate(0.6964), "nll": {"value": 1.302}, "coarse": estimate(0.7965), "n": 20, "opening": 2}
    macro = {key: {"value": 0.5} for key in ("precision", "recall", "f1")}
    more = {"averages": {"macro": macro}, "superclass_of": [0, 0], "confusion": [[3, 7], [0, 10]]}
    page = told("test", {"test": {**test, **more, "openings": 2, "per_class": per_class}, "path": str(tmp_path)})
    assert "**Test accuracy 69.64 % [68.64, 70.64]**, loss 1.302; superclasses by summed probabilities 79.65 %" in page
    assert "opening 2 of 2" in page
    assert "Of 7 mistakes 100.0% are near" in page
    assert page.index("| otter | 0.340") < page.index("| bag | 0.990")


def test_a_search_is_told_with_its_selection_bias() -> None:
    leaders = [{"trial": 3, "score": 0.7, "values": {"lr": 0.01}, "seconds": 9.0, "name": "trial 3"}]
    final = {"recipes": [candidate("base", 0.6)], "verdicts": [], "like_the_best": ["base"]}
    found = {"n_trials": 5, "leaders": leaders, "winner": leaders[0], "noise": 0.003, "final": final}
    page = told("search", {**found, "selection_bias": 0.004})
    assert page == told("search", {**found, "luck": 0.004}), "its name in the results of earlier versions"
    assert "**Best: trial 3, 70.00 %** (lr=0.01)." in page
    assert "0.40 points too high" in page
    assert "With new seeds:" in page
    assert told("search", {**found, "winner": None}) == "No trial has a result."


def test_a_page_names_the_machine_that_trained(shared: ModuleType, tmp_path: Path) -> None:
    step, words = shared.Step("B1", "B1-look", "What?", "train digits"), importlib.import_module("_words")
    here = shared._machine([shared.Done(step, [], 0, 1.0, {})])
    assert (here["threads"], here["device"]) == (torch.get_num_threads(), "cpu")
    there = {**here, "device": "cuda", "gpu": "a large one"}
    write_json(tmp_path / "environment.json", there)
    done = [shared.Done(step, [], 0, 1.0, {"path": path}) for path in (str(tmp_path / "none"), str(tmp_path))]
    page = words.page_of("Report.", "full", [], [], "", shared._machine(done))
    assert f"{there['threads']} threads, a large one; torch" in page


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
