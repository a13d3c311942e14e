"""The options that say how trials are run, and what follows from them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from pocketlens.api.resources import Wanted, reserve
from pocketlens.cli import main
from pocketlens.cli.terminal.options import machine_of
from pocketlens.cli.terminal.parser import Parser
from pocketlens.cli.terminal.study_options import add_running, resources_of
from pocketlens.studies.executors import LOCAL


def wanted(*argv: str) -> Wanted:
    parser = Parser()
    add_running(parser)
    args = parser.parse_args([*argv, "--device", "cpu"])
    return Wanted(resources_of(args), machine_of(args), None, Path())


def test_each_of_several_trials_has_its_share_of_the_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: 8)
    found = {}
    for jobs in (1, 3, 20):
        with reserve(wanted("--jobs", str(jobs))) as reserved:
            resources = reserved.resources
            assert (resources.jobs, resources.executor, resources.tracker) == (jobs, LOCAL, None)
            assert reserved.facts == ()
            found[jobs] = resources.limits.threads
    assert found == {1: None, 3: 2, 20: 1}


def test_what_a_trial_may_use() -> None:
    argv = ["--trial-minutes", "2", "--trial-memory", "0.5", "--threads", "1", "--track", "tensorboard"]
    with reserve(wanted(*argv)) as reserved:
        resources = reserved.resources
        assert (resources.jobs, resources.limits.seconds, resources.limits.memory) == (1, 120, 500_000_000)
        assert resources.limits.folder is None
        assert resources.tracker is not None
        assert resources.tracker.name == "tensorboard"


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["compare", "digits", "base", "lr=0.1", "--cluster", "nowhere"], "auto, or HOST:PORT"),
        (["study", "last", "--cluster", "ray://a:1"], "auto, or HOST:PORT"),
        (["train", "digits", "--cluster", "auto", "--minutes", "1"], "--minutes works only"),
        (["train", "digits", "--cluster", "auto", "--save-every", "1"], "--save-every works only"),
        (["train", "digits", "--cluster", "auto", "--track", "wandb"], "tensorboard, mlflow"),
    ],
)
def test_mistakes_in_the_words(argv: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*argv, "--runs", str(tmp_path)]) == 2
    assert said in capsys.readouterr().err


def test_torchrun_and_cluster_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in {"TORCHELASTIC_RUN_ID": "x", "RANK": "0", "WORLD_SIZE": "2"}.items():
        monkeypatch.setenv(name, value)
    assert main(["train", "digits", "--cluster", "auto", "--runs", str(tmp_path)]) == 2
    assert "leave one of them out" in capsys.readouterr().err
    assert main(["look", "digits"]) == 2
    assert "torchrun works only with train and resume" in capsys.readouterr().err
