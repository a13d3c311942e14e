"""Sheets before and after augmentation: rows are images, columns are draws, for one text or for all at three strengths.

    picture = sheet(images, [classes[label] for label in labels], "flip | crop(pad=2)")
    page = encode_sheet(picture)                    # PNG
    work = all_sheets(images, names)                # Work[tuple[Sheet, ...]]: run it with pocketlens.events.finish

A column shows the draws of one epoch, as training makes them. If an augmentation mixes labels, the mixed target is
written below each image; the partners come from the sheet's own images.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from pocketlens.audit.strengths import every_strength
from pocketlens.components import parse_pipe, resolve
from pocketlens.data.dataset import Images
from pocketlens.draws import Draws
from pocketlens.errors import PocketlensError
from pocketlens.events import Step, Work
from pocketlens.text import counted

if TYPE_CHECKING:
    from PIL.Image import Image as Picture
    from PIL.ImageFont import FreeTypeFont

_SMALLEST_TILE = 64  # px; smaller images are magnified by an integer factor
_MIXED_TILE = 96  # px, for tiles with targets below
_GAP, _TITLE, _LINE, _FONT = 6, 24, 14, 11  # px
_NAMES_WIDTH = 120  # px for the names of the rows
_INK, _PAPER = (32, 32, 32), (255, 255, 255)
_MOST_DRAWS = 64


@dataclass(frozen=True, eq=False)
class Sheet:
    """An image that shows what an augmentation does.

    Attributes:
        text: the augmentation text.
        canvas: (height, width, 3) uint8 on white: class names beside the rows, titles above the columns.
        labels: the name of each row's class.
        n_draws: columns after the first, which shows the image as it is.
        name: the name of the augmentation if the sheet shows a single one, otherwise None.
        strength: 'weak', 'middle' or 'strong' if it is one of three, otherwise None.
    """

    text: str
    canvas: Images
    labels: tuple[str, ...]
    n_draws: int
    name: str | None = None
    strength: str | None = None

    @property
    def title(self) -> str:
        """The heading of the sheet."""
        return self.text if self.strength is None else f"{self.text}: {self.strength}"

    @property
    def description(self) -> str:
        """A description of the sheet, as alternative text."""
        return (
            f"{counted(len(self.labels), 'image')} ({', '.join(dict.fromkeys(self.labels))}), each as it is and after "
            f"{counted(self.n_draws, 'draw')} of {self.text}"
        )


def sheet(images: Images, labels: Sequence[str], text: str, *, n_draws: int = 8, seed: int = 0) -> Sheet:
    """Draws the sheet of one augmentation text, such as `flip | crop(pad=2)`.

    `images` are (n, H, W, C) uint8 as training would get them, `labels` the names of their classes. Column k is the
    draw of epoch k - 1 for rows 0..n-1 under `seed`.

    Raises:
        PocketlensError: the text or an option of it is wrong, there are no images, or labels are missing.
    """
    if len(images) == 0 or len(images) != len(labels):
        raise PocketlensError(
            f"a sheet needs one or more images and a label for each, got {counted(len(images), 'image')}, "
            f"{counted(len(labels), 'label')}."
        )
    if not 1 <= n_draws <= _MOST_DRAWS:
        raise PocketlensError(f"a sheet has 1..{_MOST_DRAWS} draws, got {n_draws}.")
    parts = parse_pipe(text, "augment")
    names, pictures = tuple(str(label) for label in labels), _to_float(images)
    classes = tuple(dict.fromkeys(names))
    own = torch.eye(len(classes))[[classes.index(name) for name in names]]  # (n, K) float32
    columns, targets = [pictures], [own]
    for epoch in range(n_draws):
        out, mixed = augment_once(text, pictures, own, Draws(seed, *_rows(len(images)), epoch))
        columns.append(out)
        targets.append(mixed)
    captions = None
    if any(not torch.equal(mixed, own) for mixed in targets):
        captions = [[_say_target(row, classes) for row in column] for column in targets]
    canvas = _draw([_to_bytes(column) for column in columns], names, captions)
    return Sheet(text, canvas, names, n_draws, parts[0].name if len(parts) == 1 else None)


def all_sheets(images: Images, labels: Sequence[str], *, n_draws: int = 8, seed: int = 0) -> Work[tuple[Sheet, ...]]:
    """Draws the sheets of every augmentation that takes such images at its strengths, by name, weak ones first.

    Raises:
        PocketlensError: there are no images, or labels are missing.
    """
    sheets, wanted = [], [each for each in every_strength() if takes_images(each.text, images)]
    for done, each in enumerate(wanted, 1):
        made = sheet(images, labels, each.text, n_draws=n_draws, seed=seed)
        sheets.append(replace(made, name=each.name, strength=each.strength))
        yield Step("drawing augmentations", done, len(wanted))
    return tuple(sheets)


def takes_images(text: str, images: Images) -> bool:
    """Whether an augmentation text takes images (n, H, W, C) of this size: a crop needs more than it pads."""
    height, width, channels = images.shape[1:]
    one = torch.zeros(1, channels, height, width)
    try:
        augment_once(text, one, torch.ones(1, 1), Draws(0, *_rows(1), 0))
    except PocketlensError:
        return False
    return True


def encode_sheet(made: Sheet) -> bytes:
    """The sheet as a PNG file."""
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(made.canvas).save(file, "PNG")
    return file.getvalue()


def augment_once(text: str, images: Tensor, targets: Tensor, draws: Draws) -> tuple[Tensor, Tensor]:
    """Applies a text to one batch as training does; (B, C, H, W) float32 in 0..1 and (B, K) float32."""
    for place, part in enumerate(parse_pipe(text, "augment")):
        function = resolve(part, "augment")
        try:
            images, targets = function(images, targets, draws.named(f"{place}/{part.name}"), **dict(part.options))
        except TypeError as error:
            raise PocketlensError(f"{part}: {error}.") from None
    return images, targets


def _draw(columns: list[Images], names: tuple[str, ...], captions: list[list[str]] | None) -> Images:
    """(height, width, 3) uint8: names on the left, titles above, captions (by column and row) below each tile."""
    from PIL import Image, ImageDraw

    height, width = columns[0].shape[1:3]
    smallest = _SMALLEST_TILE if captions is None else _MIXED_TILE
    scale = max(1, -(-smallest // max(height, width)))
    wide, high = width * scale, height * scale
    below = 0 if captions is None else 2 * _LINE
    step_x, step_y = max(wide, smallest) + _GAP, high + below + _GAP
    canvas = Image.new("RGB", (_NAMES_WIDTH + len(columns) * step_x, _TITLE + len(names) * step_y), _PAPER)
    pen = ImageDraw.Draw(canvas)
    for column, tiles in enumerate(columns):
        left = _NAMES_WIDTH + column * step_x
        pen.text((left, 5), "original" if column == 0 else f"draw {column}", _INK, _font())
        for row, tile in enumerate(tiles):
            top = _TITLE + row * step_y
            canvas.paste(_tile(tile, (wide, high)), (left, top))
            if captions is not None:
                pen.multiline_text((left, top + high + 1), captions[column][row], _INK, _font(), spacing=1)
    for row, name in enumerate(names):
        pen.text((4, _TITLE + row * step_y + high // 2), _fit(name, _NAMES_WIDTH - 10), _INK, _font(), anchor="lm")
    return np.asarray(canvas)


def _tile(image: Images, size: tuple[int, int]) -> Picture:
    from PIL import Image

    picture = Image.fromarray(image[:, :, 0] if image.shape[2] == 1 else image)
    return picture.convert("RGB").resize(size, Image.Resampling.NEAREST)


def _say_target(row: Tensor, classes: tuple[str, ...]) -> str:
    """The one or two largest shares of a target: `apple 63 %`."""
    shares, places = row.topk(min(2, len(row)))
    said = [
        f"{_fit(classes[place], _MIXED_TILE - 36)} {100 * share:.0f} %"
        for share, place in zip(shares.tolist(), places.tolist(), strict=True)
        if share >= 0.005
    ]
    return "\n".join(said)


def _fit(name: str, width: int) -> str:
    """As much of a name, in printable characters on one line, as fits into `width` px."""
    name = "".join(letter if letter.isprintable() else " " for letter in name)
    if _font().getlength(name) <= width:
        return name
    while name and _font().getlength(name + "…") > width:
        name = name[:-1]
    return name + "…"


@cache
def _font() -> FreeTypeFont:
    """DejaVu Sans, which comes with matplotlib and covers most scripts."""
    import matplotlib
    from PIL import ImageFont

    return ImageFont.truetype(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf", _FONT)


def _rows(n: int) -> tuple[Tensor, Tensor]:
    rows = torch.arange(n)
    return rows, torch.zeros_like(rows)


def _to_float(images: Images) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(images)).permute(0, 3, 1, 2).float() / 255


def _to_bytes(images: Tensor) -> Images:
    """(n, H, W, C) uint8."""
    return np.asarray((images * 255).round().clamp(0, 255).byte().permute(0, 2, 3, 1).contiguous().numpy())
