"""The learning-rate range test: its rates, its end, what it suggests, that it is exact, and what it may read."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_images import refused
from made_trainings import PLAIN, made_data

from pocketlens.cli import main
from pocketlens.data.dataset import Dataset
from pocketlens.data.split import Split, make_split
from pocketlens.events import finish
from pocketlens.recipe import Experiment, Recipe
from pocketlens.training.lr_range import LrRange, _has_diverged, _running_mean, lr_range


def found(recipe: Recipe = PLAIN, dataset: Dataset | None = None, **options: Any) -> LrRange:
    dataset = dataset or made_data()
    split = make_split(dataset, val_fraction=0.25)
    return finish(lr_range(Experiment("made", recipe, seed=2), dataset, split, **options))


def test_rates_rise_by_equal_factors_and_training_diverges_in_the_end() -> None:
    result = found(limits=(1e-3, 1e4), n_steps=60)
    ratios = np.array(result.lr[1:]) / np.array(result.lr[:-1])
    np.testing.assert_allclose(ratios, (1e7) ** (1 / 59))
    assert result.lr[0] == 1e-3
    assert result.diverged is not None
    assert len(result.lr) == len(result.loss) == len(result.smooth) < 60
    assert result.suggested is not None
    assert result.fell > 0.05
    assert result.lr[0] < result.suggested < result.lowest < result.diverged <= 1e4
    assert result.suggested == pytest.approx(result.lowest / 3, rel=0.05)
    assert result.smooth[result.lr.index(result.lowest)] == min(result.smooth)


def test_where_nothing_diverges_all_steps_are_taken() -> None:
    result = found(limits=(1e-6, 1e-3), n_steps=12)
    assert result.diverged is None
    assert len(result.lr) == 12
    assert result.lr[-1] == pytest.approx(1e-3)
    assert result.suggested is None  # at such rates nothing is learned, so nothing follows


def test_the_same_seed_gives_the_same_numbers_and_validation_rows_are_not_read() -> None:
    dataset = made_data()
    split = make_split(dataset, val_fraction=0.25)
    images, labels = dataset.images.copy(), dataset.labels.copy()
    images[split.val] = 0
    labels[split.val] = 0
    blank = Dataset("made", images, labels, dataset.classes, dataset.hashes)
    results = []
    for data in (dataset, dataset, blank):
        work = lr_range(Experiment("made", PLAIN), data, split, n_steps=20)
        results.append(finish(work))
    assert results[0] == results[1] == results[2]
    assert found(PLAIN.changed(lr=0.3)).lr == found().lr  # the recipe's own rate plays no part


def test_it_works_at_the_size_of_the_highest_rate_with_modifiers_and_any_schedule() -> None:
    recipe = PLAIN.changed(model="lens(width=0.125)", sizes="67%:0.2 84%:0.6 100%", optimizer="muon | sam | ema")
    assert found(recipe, n_steps=10).size == 10
    for schedule in ("plateau", "constant", "onecycle"):
        assert found(PLAIN.changed(schedule=schedule, keep="best", patience=1), n_steps=10).size == 12


def test_the_running_mean_is_adams_and_divergence_is_a_rise_beyond_the_fall() -> None:
    assert _running_mean([3.0]) == pytest.approx(3.0)
    assert _running_mean([1.0, 2.0]) == pytest.approx((0.9 * 1 + 2) / 1.9)
    assert not _has_diverged([3.0, 2.0, 1.0, 2.9])
    assert _has_diverged([3.0, 2.0, 1.0, 5.1])
    assert not _has_diverged([2.0, 2.0, 2.5])
    assert _has_diverged([2.0, 2.0, 3.5])
    assert _has_diverged([2.0, float("nan")])


def test_mistakes_are_refused() -> None:
    with refused("rates must rise"):
        found(limits=(1.0, 0.1))
    with refused("at least 10 steps"):
        found(n_steps=5)
    with refused("leave --start out"):
        found(PLAIN.changed(start="last"))
    with refused("diverged at the lowest rates", "--low"):
        found(PLAIN.changed(weight_decay=1e38, decay_on="all"), limits=(1e19, 1e20))
    with refused("at least one training row"):
        data = made_data()
        none = np.arange(0)
        finish(lr_range(Experiment("made", PLAIN), data, Split(none, np.arange(64), 0, 1.0)))


@pytest.mark.slow
def test_the_command_writes_its_files_and_says_what_to_type_next(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = ["lr-range", "digits", "--model", "mlp(hidden=(16,))", "--steps", "40", "--optimizer", "muon | ema"]
    argv += ["--out", str(tmp_path / "out"), "--runs", str(tmp_path / "runs"), "--json"]
    assert main(argv) == 0
    said = capsys.readouterr()
    result = json.loads(said.out)
    folder = tmp_path / "out"
    assert sorted(path.name for path in folder.iterdir()) == [
        f"lr-range.{kind}" for kind in ("csv", "json", "png", "svg")
    ]
    with open(folder / "lr-range.csv", newline="") as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["step", "lr", "loss", "running_mean"]
    assert (
        [float(row[1]) for row in rows[1:]] == result["lr"] == json.loads((folder / "lr-range.json").read_text())["lr"]
    )
    svg = (folder / "lr-range.svg").read_text()
    for text in ("learning rate", "training loss", "suggested", "prefers-color-scheme: dark"):
        assert text in svg
    assert "#a0b0" not in svg  # no placeholder of a colour is left
    assert (folder / "lr-range.png").read_bytes().startswith(b"\x89PNG")
    assert result["next"].startswith('pocketlens train digits --model "mlp(hidden=(16,))" --optimizer "muon(rest_lr=')
    assert f"--lr {result['suggested']:g}" in result["next"]
    assert not (tmp_path / "runs").exists()
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert main(argv) == 0
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_where_nothing_is_learned_nothing_is_suggested(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    argv = ["lr-range", "digits", "--model", "mlp(hidden=(16,))", "--steps", "10", "--low", "1e-6", "--high", "1e-5"]
    assert main([*argv, "--runs", str(tmp_path)]) == 0
    said = capsys.readouterr().out
    assert "suggest  nothing: the loss fell by" in said
    assert 'next: pocketlens lr-range digits --steps 30 --low 1e-06 --high 1e-05 --model "mlp(hidden=(16,))"' in said
    svg = next(tmp_path.glob("lr-range-*/lr-range.svg")).read_text()
    assert "suggested" not in svg.replace("--suggested", "")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--low", "1", "--high", "0.1"], "--high must be above --low"),
        (["--steps", "3"], "--steps must be 10 or more"),
        (["--low", "0"], "--low"),
    ],
)
def test_mistakes_on_the_command_line_are_one_line(
    words: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["lr-range", "digits", *words]) == 2
    said = capsys.readouterr().err
    assert says in said
    assert said.count("\n") == 1
