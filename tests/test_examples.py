"""The examples run, and are short enough to be read."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest
import torch

EXAMPLES = Path(__file__).parent.parent / "examples"


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def load_example(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.py")), ids=lambda path: path.stem)
def test_an_example_is_short_and_is_run_here(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 40
    assert path.stem in ("first_run", "the_loop", "own_images", "compare", "search", "transfer")


@pytest.mark.slow
def test_first_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = load_example("first_run").main(tmp_path, 2.0)
    assert page.read_text(encoding="utf-8").startswith("<!")
    out = capsys.readouterr().out
    assert "  2/2 " in out
    assert "validation: " in out
    assert "opened once" in out


@pytest.mark.slow
def test_the_loop(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = load_example("the_loop").main(tmp_path, 4.0)
    assert run.status()[0] == "complete"
    assert capsys.readouterr().out.splitlines()[-2:] == ["stopped", "complete"]


@pytest.mark.slow
def test_own_images(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    example = load_example("own_images")
    images = example.paint(tmp_path / "painted", n=30)
    assert len(list(images.rglob("*.png"))) == 60
    example.main(images, tmp_path / "runs", 0.05)
    out = capsys.readouterr().out
    assert "60 images" in out or "48 images" in out
    assert "the page: " in out
    assert out.splitlines()[-1].split(": ")[1].split(",")[0] in ("disc", "square")


@pytest.mark.slow
def test_compare(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    load_example("compare").main(tmp_path, 0.3, 2)
    out = capsys.readouterr().out
    assert all(out.count(f"seed {seed}") == 2 for seed in (0, 1))
    assert "against base: " in out


@pytest.mark.slow
def test_search(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    load_example("search").main(tmp_path, 0.3, 2, 1)
    out = capsys.readouterr().out
    assert out.count("final, ") in (1, 2)
    assert "best: {'lr': " in out


def test_transfer(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    load_example("transfer").main(tmp_path, 0.3)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["scratch", "full", "frozen", "forest"]
