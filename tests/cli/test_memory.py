"""Memory that runs out: a training that ended is complete and can be scored again, and the advice fits the command."""

from __future__ import annotations

from pathlib import Path

import pytest
from made_images import class_folder

from pocketlens import cli
from pocketlens.cli import main
from pocketlens.studies.process import read_outcome
from pocketlens.training import train, validation_scores
from pocketlens.training.run import Run

FAST = ["--model", "mlp(hidden=8)", "--epochs", "1", "--threads", "1", "--device", "cpu"]
ERRORS = (MemoryError("Unable to allocate 18.6 GiB"), RuntimeError("DefaultCPUAllocator: can't allocate memory"))


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(tmp_path)
    class_folder(tmp_path / "data", {"cat": 20, "dog": 20})
    return "data"


@pytest.mark.parametrize("error", ERRORS, ids=["numpy", "torch"])
def test_scores_that_did_not_fit_can_be_asked_for_again(
    error: Exception, data: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_args: object) -> None:
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(validation_scores, "score", fail)
        assert main(["train", data, *FAST, "--label", "a"]) == 4
        run = Run.open("a")
        out = capsys.readouterr().out
        assert f"then compute them with pocketlens resume {run.id}" in out
        assert "next: pocketlens resume a" in out
        assert "batch-size" not in out
        assert run.status()[0] == "complete"
        assert read_outcome(run, 0).status == "out of memory"
        assert main(["resume", "a"]) == 3
        assert capsys.readouterr().err.count("\n") == 1
    weights = run.weights_hash()
    assert main(["resume", "a"]) == 0
    assert "next: pocketlens test" in capsys.readouterr().out
    assert (run.status(), run.weights_hash()) == (("complete", ""), weights)
    assert main(["train", data, *FAST, "--label", "b"]) == 0
    for name in ("scores-val.json", "predictions-val.safetensors", "pictures.safetensors"):
        assert run.file(name).read_bytes() == Run.open("b").file(name).read_bytes()


def test_a_step_that_did_not_fit_has_failed(
    data: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_args: object) -> None:
        raise ERRORS[1]

    monkeypatch.setattr(train, "fit", fail)
    assert main(["train", data, *FAST, "--label", "a"]) == 3
    assert "smaller --batch-size or a smaller --model" in "".join(capsys.readouterr())
    assert Run.open("a").status() == ("failed", "out of memory")


def test_advice_names_only_options_of_the_command() -> None:
    def advice(*words: str) -> str:
        return cli._memory_advice(cli._parse(words))

    assert "a smaller --batch-size or a smaller --model, close other programs" in advice("train", "digits")
    assert "try a smaller --batch-size, close other programs" in advice("predict", "last", "a.png")
    assert advice("report", "last") == "out of memory; close other programs, or use a machine with more memory"
