"""Sheets show what training would get: the pixels of each tile, mixed targets, every augmentation at its strengths."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from made_images import random_images, refused
from pictures import natural_pictures
from PIL import Image

from pocketlens.audit import sheets, strengths
from pocketlens.audit.sheets import all_sheets, augment_once, encode_sheet, sheet
from pocketlens.augment.flip import flip
from pocketlens.augment.rotation import rotation
from pocketlens.components import names, parse_one, parse_pipe, signature
from pocketlens.draws import Draws
from pocketlens.errors import PocketlensError
from pocketlens.events import finish

NAMES = ["apple", "bear", "apple", "whale"]


def tile(made: sheets.Sheet, row: int, column: int, side: int, n_rows: int) -> np.ndarray:
    """The pixels of one tile, made small again."""
    height, width = made.canvas.shape[:2]
    step_y = (height - sheets._TITLE) // n_rows
    step_x = (width - sheets._NAMES_WIDTH) // (made.n_draws + 1)
    scale = (step_x - sheets._GAP) // side
    top, left = sheets._TITLE + row * step_y, sheets._NAMES_WIDTH + column * step_x
    return made.canvas[top : top + side * scale : scale, left : left + side * scale : scale]


@pytest.mark.parametrize("channels", [1, 3])
def test_tiles_are_the_draws_of_training(channels: int) -> None:
    images = random_images(4, (16, 16, channels))
    made = sheet(images, NAMES, "flip | rotation(degrees=40)", n_draws=3, seed=5)
    assert (made.canvas.dtype, made.canvas.shape[2], made.n_draws, made.name) == (np.uint8, 3, 3, None)
    floats, rows = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255, torch.arange(4)
    for epoch in range(3):
        draws = Draws(5, rows, rows * 0, epoch)
        out, _ = flip(floats, torch.eye(4), draws.named("0/flip"))  # the names that `fit` gives them
        out, _ = rotation(out, torch.eye(4), draws.named("1/rotation"), degrees=40)
        shown = (out * 255).round().byte().permute(0, 2, 3, 1).numpy()
        for row in range(4):
            assert (tile(made, row, epoch + 1, 16, 4) == shown[row]).all()
            assert (tile(made, row, 0, 16, 4) == images[row]).all()
    assert np.array_equal(sheet(images, NAMES, made.text, n_draws=3, seed=5).canvas, made.canvas)
    assert not np.array_equal(sheet(images, NAMES, made.text, n_draws=3, seed=6).canvas, made.canvas)


def test_mixed_targets_stand_below_and_add_up() -> None:
    images = random_images(4, (16, 16, 3))
    plain, mixed = sheet(images, NAMES, "flip"), sheet(images, NAMES, "mixup(alpha=4.0)")
    assert mixed.canvas.shape[0] >= plain.canvas.shape[0] + 4 * 2 * sheets._LINE
    assert sheets._say_target(torch.tensor([0.63, 0.0, 0.37]), ("apple", "bear", "whale")) == "apple 63 %\nwhale 37 %"
    assert sheets._say_target(torch.tensor([1.0]), ("apple",)) == "apple 100 %"


def test_names_from_outside_stay_on_their_line() -> None:
    assert "\n" not in sheets._fit("a\nb\x1b[2J", 100)
    assert sheets._fit("x" * 300, 100).endswith("…")
    assert sheets._font().getlength(sheets._fit("W" * 300, 100)) <= 100
    long = sheet(random_images(1, (8, 8, 1)), ["鯨" * 80], "invert(p=1.0)", n_draws=1)
    assert long.canvas.shape[1] == sheets._NAMES_WIDTH + 2 * (sheets._SMALLEST_TILE + sheets._GAP)


def test_a_sheet_is_a_png_with_a_title_and_a_description() -> None:
    made = sheet(random_images(2, (28, 28, 1)), ["0", "1"], "zoom", n_draws=2)
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(encode_sheet(made)))), made.canvas)
    assert (made.name, made.strength, made.title) == ("zoom", None, "zoom")
    assert made.description == "2 images (0, 1), each as it is and after 2 draws of zoom"


def test_mistakes_are_one_line() -> None:
    images = random_images(2, (8, 8, 3))
    with refused("one or more images and a label for each, got 2 images, 1 label"):
        sheet(images, ["a"], "flip")
    with refused("got 0 images"):
        sheet(images[:0], [], "flip")
    with refused("1..64 draws, got 0"):
        sheet(images, ["a", "b"], "flip", n_draws=0)
    with refused("there is no 'flap'"):
        sheet(images, ["a", "b"], "flap")
    with refused("rotation: degrees must be a number", "'much'"):
        sheet(images, ["a", "b"], "rotation(degrees='much')")
    with refused("crop: pad must be below"):
        sheet(images, ["a", "b"], "crop(pad=8)")


def test_every_augmentation_has_its_row() -> None:
    assert set(strengths.TEXTS) | set(strengths.KINDS) == set(names("augment")), "add a line to audit/strengths.py"
    assert not set(strengths.TEXTS) & set(strengths.KINDS)
    for each in strengths.every_strength():
        assert parse_one(each.text, "augment").name == each.name
    assert {name for name in names("augment") if "until" in dict(signature("augment", name).options)} == set(
        strengths.MIXING
    )


@pytest.fixture(scope="module")
def pictures() -> torch.Tensor:
    return natural_pictures(200)


@pytest.mark.parametrize("name", sorted(strengths.TEXTS))
def test_strengths_become_stronger(name: str, pictures: torch.Tensor) -> None:
    """The mean change of images, or the other image's share, grows from weak to strong by a fifth or more."""
    rows, targets = torch.arange(200), torch.eye(200)
    changes = []
    for text in strengths.TEXTS[name]:
        out, mixed = augment_once(text, pictures, targets, Draws(0, rows, rows * 0, 1))
        changes.append(float((1 - mixed.amax(1) if name in strengths.MIXING else (out - pictures).abs()).mean()))
    assert changes[0] > 0
    assert changes[0] * 1.2 < changes[1]
    assert changes[1] * 1.2 < changes[2]


def test_all_sheets_are_every_augmentation_at_its_strengths(monkeypatch: pytest.MonkeyPatch) -> None:
    images, steps, work = random_images(3, (8, 8, 3)), [], all_sheets(random_images(3, (8, 8, 3)), NAMES[:3], n_draws=1)
    while True:
        try:
            steps.append(next(work))
        except StopIteration as end:
            made = end.value
            break
    wanted = strengths.every_strength()
    assert [(each.name, each.text, each.strength) for each in wanted] == [
        (each.name, each.text, each.strength) for each in made
    ]
    assert (steps[-1].done, steps[-1].total, len(steps)) == (len(wanted), len(wanted), len(wanted))
    assert made[0].title.endswith(": weak")
    monkeypatch.setattr(strengths, "names", lambda room: ("flip", "unheard_of"))
    assert [each.text for each in strengths.every_strength()][-1] == "unheard_of"
    with pytest.raises(PocketlensError, match="one or more images"):
        finish(all_sheets(images[:0], []))


def test_an_augmentation_that_does_not_take_such_images_has_no_sheet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(strengths, "names", lambda room: ("crop", "flip"))
    for side, wanted in ((1, ["flip"] * 3), (3, ["crop", "crop", "flip", "flip", "flip"])):
        made = finish(all_sheets(random_images(1, (side, side, 3)), ["a"], n_draws=1))
        assert [each.name for each in made] == wanted


def test_pipes_and_none_are_sheets_too() -> None:
    images = random_images(2, (8, 8, 3))
    assert (tile(sheet(images, ["a", "b"], "none", n_draws=1), 1, 1, 8, 2) == images[1]).all()
    assert len(parse_pipe("flip | crop", "augment")) == 2


def test_every_augmentation_has_its_line_in_the_docs() -> None:
    text = (
        (Path(__file__).parent.parent.parent / "docs" / "augment.md").read_text(encoding="utf-8").split("## Speed")[0]
    )
    lines = [line.split("`")[1] for line in text.splitlines() if line.startswith("| `")]
    assert sorted(lines) == sorted(names("augment")), "add a line to docs/augment.md"
