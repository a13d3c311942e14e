"""The README's Python runs as it is printed: the calls, and the loop, which gives the weights of the call."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import pocketlens as pl
from pocketlens.cli import main
from pocketlens.evaluation.open_test import openings
from pocketlens.pipeline.result import AutoResult

README = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.set_num_threads(1)


def run_block(code: str, **instead: str) -> dict[str, Any]:
    """The names that a block leaves behind; `instead` replaces options of its calls, so that it takes seconds."""
    for option, value in instead.items():
        code, n = re.subn(rf"\b{option}=[^,)]+", f"{option}={value}", code)
        assert n == 1, f"the block has no option {option}, or several"
    names: dict[str, Any] = {"__name__": "__main__"}
    exec(compile(code, "README.md", "exec"), names)
    return names


def paint(folder: Path) -> None:
    """Two classes of 16 x 16 px images, one dark and one bright."""
    random = np.random.default_rng(0)
    for name, low in (("cat", 0), ("dog", 150)):
        (folder / name).mkdir(parents=True)
        for number in range(30):
            pixels = random.integers(low, low + 100, (16, 16, 3), np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{number}.png")


def test_there_is_a_block_for_runs_for_studies_and_for_the_loop() -> None:
    assert len(BLOCKS) == 4
    calls = set(re.findall(r"\b(?:pl|run)\.(\w+)\(", "".join(BLOCKS)))
    assert {"auto", "train", "compare", "predict", "test", "report"} <= calls


def test_the_call_and_the_loop_give_the_same_weights(capsys: pytest.CaptureFixture[str]) -> None:
    run = run_block(BLOCKS[0])["run"]
    out = capsys.readouterr().out
    assert run.status == "complete"
    assert run.val.top1.value > 0.8
    assert f"validation accuracy: {run.val.top1.value:.1%}" in out
    assert "this test set has been opened once" in out
    assert out.splitlines()[-1] == str(run.path / "report.html")
    assert (run.path / "report.html").exists()

    names = run_block(BLOCKS[2])
    assert names["loop_run"].weights_hash() == run.run.weights_hash()
    shown = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert shown == [[str(each["epoch"]), str(each["val_accuracy"])] for each in run.history]
    assert len(openings(names["sealed"])) == 1, "the loop opens nothing"


@pytest.mark.slow
def test_the_studies_and_the_prediction(capsys: pytest.CaptureFixture[str]) -> None:
    paint(Path("photos"))
    names = run_block(BLOCKS[1], repeat="1", minutes="0.05")
    verdict, result = names["verdict"], names["result"]
    assert [each.statuses for each in verdict.comparison.candidates] == [("complete",)] * 2
    (found,) = verdict.verdicts
    base, other = verdict.comparison.candidates
    assert (found.first, found.second) == ("base", "augment=none")
    assert found.difference.mean == pytest.approx(other.mean - base.mean)
    out = capsys.readouterr().out
    assert f"against A: {found.word}" in out
    assert isinstance(result, AutoResult)
    assert result.page.exists()
    assert re.fullmatch(r"photos/cat/1\.png (cat|dog) [\d.]+", out.splitlines()[-1])


def test_components_of_ones_own(capsys: pytest.CaptureFixture[str]) -> None:
    block = next(block for block in BLOCKS if block.startswith("# mynet.py"))
    Path("mynet.py").write_text(block)
    commands = re.findall(r"^pocketlens (.*mynet\.py.*)$", README, re.MULTILINE)
    assert [shlex.split(line)[0] for line in commands] == ["train", "test"]
    for line in commands:
        assert main(shlex.split(line)) == 0, line
    assert "flip | mynet.py:fog" in capsys.readouterr().out
    names = run_block(block)
    pl.train("digits", model=names["net"], epochs=1, verbose=False)
