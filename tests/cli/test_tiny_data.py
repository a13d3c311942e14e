"""Tiny data sets through the commands: one image, one class, parts of one row. Each works or says in a line why not."""

from __future__ import annotations

import contextlib
import io
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from pocketlens.cli import main

FAST = ["--model", "mlp(hidden=4)", "--augment", "flip", "--epochs", "1", "--threads", "1", "--device", "cpu"]
FEW = settings(
    max_examples=4, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
)  # fmt: skip
COUNTS = st.lists(st.integers(0, 3), min_size=1, max_size=4)


@dataclass(frozen=True)
class Tiny:
    """Images of each class in the training, validation and test part; None where there is no such part."""

    train: list[int]
    val: list[int] | None
    test: list[int] | None
    shape: tuple[int, ...]
    val_fraction: float | None

    def write(self, folder: Path) -> None:
        """Class folders of pictures, also where a class has none."""
        random = np.random.default_rng(0)
        parts = {"train": self.train, "val": self.val, "test": self.test}
        given = {name: counts for name, counts in parts.items() if counts is not None}
        for name, counts in given.items():
            base = folder if len(given) == 1 else folder / name
            for index, count in enumerate(counts):
                (base / f"kind{index}").mkdir(parents=True)
                for number in range(count):
                    pixels = random.integers(0, 256, self.shape, dtype=np.uint8)
                    Image.fromarray(pixels).save(base / f"kind{index}" / f"{number}.png")


TINY = st.builds(
    Tiny,
    train=COUNTS,
    val=st.none() | COUNTS,
    test=st.none() | COUNTS,
    shape=st.sampled_from([(1, 1), (1, 7, 3), (2, 3), (9, 9, 3)]),
    val_fraction=st.sampled_from([None, 0.0, 0.5]),
)


def told(*words: str) -> int:
    """The exit code of a command, which ends without an exception; a refusal is one line."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main(list(words))
    assert code in (0, 2), (words, code, err.getvalue())
    if code == 2:
        assert err.getvalue().startswith("pocketlens: "), (words, err.getvalue())
        assert err.getvalue().count("\n") == 1, (words, err.getvalue())
    return code


def go_through(tiny: Tiny, *, whole: bool) -> None:
    """All commands on one data set; a training that is refused leaves nothing behind."""
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder), pytest.MonkeyPatch.context() as patch:
        patch.setenv("POCKETLENS_HOME", str(Path(folder, "home")))
        tiny.write(Path("data"))
        told("look", "data", *(["--augment", "all"] if whole else ["--quick"]))
        cut = [] if tiny.val_fraction is None else ["--val-fraction", str(tiny.val_fraction)]
        if told("train", "data", *FAST, *cut, "--label", "a") == 2:
            assert not list(Path().glob("pocketlens-runs/*"))
            return
        told("test", "a")
        told("report", "a")
        assert told("predict", "a", "data") == 0
        assert told("export", "a", "--format", "safetensors") == 0
        if whole:
            assert told("export", "a", "--format", "onnx") == 0
            for verb in ("show", "resume", "explain", "robustness", "refit"):
                told(verb, "a")
            told("report", "a", "last")
            told("compare", "data", "lr=0.1", "--repeat", "2", *FAST, *cut)


@FEW
@given(TINY)
def test_tiny_data_sets_work_or_are_refused_in_a_line(tiny: Tiny) -> None:
    go_through(tiny, whole=False)


@pytest.mark.slow
@settings(FEW, max_examples=20)
@given(TINY)
def test_tiny_data_sets_through_every_command(tiny: Tiny) -> None:
    go_through(tiny, whole=True)


@pytest.mark.parametrize(
    ("tiny", "works"),
    [
        (Tiny([2, 1], None, None, (9, 9, 3), None), True),
        (Tiny([1, 1], None, None, (9, 9, 3), None), True),  # neither validation nor test images
        (Tiny([1, 1], [1, 0], [0, 1], (1, 1), None), True),  # validation and test of one row
        (Tiny([1, 1, 0], [0, 0, 1], [1, 0, 0], (9, 9, 3), None), False),  # a class in the validation part alone
        (Tiny([3], None, None, (9, 9, 3), None), False),
    ],
    ids=["three images", "two images", "parts of one row", "an unknown class", "one class"],
)
def test_what_works_and_what_does_not(tiny: Tiny, works: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    tiny.write(tmp_path / "data")
    assert told("train", "data", *FAST, "--label", "a") == (0 if works else 2)
    if works and tiny.test == tiny.val:
        err = io.StringIO()
        with contextlib.redirect_stderr(err):
            assert main(["test", "a"]) == (2 if sum(tiny.train) == 2 else 0)
        assert ("there are no validation images either" in err.getvalue()) == (sum(tiny.train) == 2)
    if works and tiny.test is not None:
        assert told("test", "a") == told("report", "a") == 0
