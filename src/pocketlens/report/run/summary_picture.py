"""A run on one page, as a picture that can be sent or put on a slide: score, confusion, curves, a few pictures."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pocketlens.report.pictures import Matrix, draw_matrix
from pocketlens.report.run.facts import Facts
from pocketlens.report.run.first_screen import Bar, FirstScreen, Shown, first_screen
from pocketlens.report.run.methods import write_title
from pocketlens.report.run.summary_sheet import BLUE, INK, MUTED, ORANGE, SOFT, WIDTH, Look, Sheet, sheet
from pocketlens.report.titles import short_name
from pocketlens.scoring.scores import show
from pocketlens.text import counted, printable

SUMMARY = "summary.png"
_LEFT, _RIGHT = 60, WIDTH - 60  # px
_ACROSS, _ACROSS_ALONE = 6, 4  # pictures in a row; where there are right ones alone, or wrong ones
_N_PAIRS = 14
_LEAST_ROW = 13  # px of a row of the matrix from which it carries a name
_SMALL, _BODY = Look(14, MUTED), Look(17)
_HEAD = Look(18, weight="bold")


def draw_summary(facts: Facts) -> bytes:
    """The picture of a run as PNG, 1200 x 1500 px; what is not known of the run is left out."""
    with sheet() as paper:
        screen = first_screen(facts)
        _title(paper, facts)
        if screen is None:
            paper.write(_LEFT, 270, "no score yet", Look(64, MUTED, "bold"))
            paper.write(_LEFT, 320, _why_no_score(facts), _BODY, _RIGHT - _LEFT)
        else:
            _score(paper, facts, screen)
            _bars(paper, screen.bars)
        paper.rule(418)
        matrix = None if facts.scores is None else draw_matrix(facts.scores)
        has_curves = len(facts.history) > 1
        if matrix is not None:
            _matrix(paper, matrix, _RIGHT - 520 if not has_curves else 620)
        elif facts.pairs:
            _pairs(paper, facts, _LEFT, 540)
        if has_curves:
            _curves(paper, facts, 700 if facts.scores is not None else _LEFT)
        elif facts.pairs and matrix is not None:
            _pairs(paper, facts, 700, 440)
        paper.rule(976)
        if screen is not None:
            _pictures(paper, screen)
        _foot(paper, facts)
        return paper.png()


def _title(paper: Sheet, facts: Facts) -> None:
    paper.write(_LEFT, 98, write_title(facts), Look(38, weight="bold"), _RIGHT - _LEFT)
    data, title = short_name(facts.data), write_title(facts)
    about = [data] if data != title else []
    about += [facts.recipe.model, f"trained on {counted(facts.n_train, 'image')}"]
    if facts.status != "complete":
        about.insert(0, f"not finished: {facts.status}")
    paper.write(_LEFT, 136, " · ".join(about), Look(17, MUTED), _RIGHT - _LEFT)


def _why_no_score(facts: Facts) -> str:
    if facts.n_val:
        return f"The run is {facts.status}; its validation images are scored when it is complete."
    return "There are no validation images, and the test images have not been opened."


def _score(paper: Sheet, facts: Facts, screen: FirstScreen) -> None:
    top1, most = screen.scores.top1, 540
    big = Look(96, weight="bold")
    number = show(top1, "share").replace(" %", "")
    paper.write(_LEFT, 262, number, big)
    paper.write(_LEFT + paper.width_of(number, big) + 14, 262, "%", Look(44, MUTED))
    said = f"of {counted(screen.scores.n, f'{screen.part} image')} classified correctly"
    paper.write(_LEFT, 304, said, Look(19, weight="bold"), most)
    if top1.low is not None and top1.high is not None:
        paper.write(_LEFT, 334, f"95 % interval {100 * top1.low:.2f} to {100 * top1.high:.2f} %", Look(19), most)
    paper.write(_LEFT, 366, _known_of_test(facts, screen), Look(15, MUTED), most)
    if facts.pretraining:
        paper.write(_LEFT, 392, f"Note that {facts.pretraining}.", Look(15, MUTED), _RIGHT - _LEFT)


def _known_of_test(facts: Facts, screen: FirstScreen) -> str:
    if screen.opened:
        return screen.opened
    return "There are no test images." if facts.n_test == 0 else "The test images are still sealed."


def _bars(paper: Sheet, bars: Sequence[Bar]) -> None:
    """The accuracy beside answers that do not look at the image."""
    left, right = 812, _RIGHT - 92
    for place, bar in enumerate(bars):
        y, value = 208 + 50 * place, bar.accuracy.value or 0.0
        colour = MUTED if bar.is_baseline else BLUE
        name = Look(16, MUTED if bar.is_baseline else INK, align="right")
        paper.write(left - 14, y + 6, bar.name, name, 225)
        axes = paper.axes(left, y - 12, right - left, 24)
        axes.set_axis_off()
        axes.set(xlim=(0, 1), ylim=(0, 1))
        axes.barh(0.5, 1, 1, color=SOFT)
        axes.barh(0.5, value, 1, color=colour, alpha=0.35 if bar.is_baseline else 0.45)
        if bar.accuracy.low is not None and bar.accuracy.high is not None:
            axes.plot([bar.accuracy.low, bar.accuracy.high], [0.5, 0.5], color=BLUE, linewidth=4, solid_capstyle="butt")
        number = Look(18, MUTED if bar.is_baseline else INK, "normal" if bar.is_baseline else "bold", "right")
        paper.write(_RIGHT, y + 6, f"{100 * value:.1f} %", number)


def _matrix(paper: Sheet, matrix: Matrix, right: float) -> None:
    """The confusion matrix, from the left edge to `right` at most."""
    look = Look(13, INK)
    paper.write(_LEFT, 452, f"Confusion of {counted(matrix.n, 'class')}", _HEAD)
    room = 466.0  # px for cells and names, both ways
    ticks = matrix.ticks
    gap = min((b.middle - a.middle for a, b in pairwise(ticks)), default=float(matrix.n))
    every = int(np.ceil(_LEAST_ROW / max(1e-9, gap * (room - 120) / matrix.n)))
    ticks = ticks[::every]
    names = [paper.cut(tick.name, look, 150) for tick in ticks]
    gutter = max(paper.width_of(name, look) for name in names) + 10
    side = min(room - 0.87 * gutter, right - _LEFT - gutter)
    left, top = _LEFT + gutter, 470 + 0.87 * gutter
    axes = paper.axes(left, top, side, side)
    axes.imshow(_pixels(matrix.picture), interpolation="nearest", extent=(0, matrix.n, matrix.n, 0))
    axes.grid(visible=False)
    axes.set(xticks=[], yticks=[])
    for spine in axes.spines.values():
        spine.set(visible=True, color=MUTED, linewidth=0.8)
    for block in matrix.blocks:
        axes.axhline(block, color=MUTED, linewidth=0.4, alpha=0.6)
        axes.axvline(block, color=MUTED, linewidth=0.4, alpha=0.6)
    for tick, name in zip(ticks, names, strict=True):
        text: dict[str, Any] = {"fontsize": look.size * 0.72, "color": look.colour, "parse_math": False}
        unit = matrix.n / side
        axes.text(-8 * unit, tick.middle, name, ha="right", va="center", **text)
        axes.text(tick.middle, -8 * unit, name, ha="left", va="bottom", rotation=60, rotation_mode="anchor", **text)
    for cell in matrix.counts:
        axes.text(cell.column + 0.5, cell.row + 0.5, f"{cell.count}", ha="center", va="center", fontsize=15 * 0.72)
    paper.write(_LEFT, 964, "Rows: true, columns: predicted. Blue: right; orange: wrong.", _SMALL, 560)


def _pairs(paper: Sheet, facts: Facts, left: float, width: float) -> None:
    """The most frequent confusions, as bars."""
    scores = facts.scores
    if scores is None:
        return
    of = f", {counted(len(scores.classes), 'class')}" if left == _LEFT else ""
    paper.write(left, 452, f"Most confused pairs{of}", _HEAD, width)
    pairs = facts.pairs[:_N_PAIRS]
    longest = pairs[0].count
    for place, pair in enumerate(pairs):
        y = 486 + 34 * place
        paper.write(
            left, y, _both(paper, scores.classes[pair.true], scores.classes[pair.predicted], width - 150), Look(15)
        )
        axes = paper.axes(left + width - 136, y - 13, 90, 15)
        axes.set_axis_off()
        axes.set(xlim=(0, longest), ylim=(0, 1))
        axes.barh(0.5, pair.count, 1, color=ORANGE, alpha=0.6)
        paper.write(left + width, y, f"{pair.count:,}", Look(15, align="right"))


def _both(paper: Sheet, true: str, predicted: str, most: float) -> str:
    """`true → predicted`; where that is too long, both are cut, and neither more than the other needs."""
    look, arrow = Look(15), " → "
    room = most - paper.width_of(arrow, look)
    first = paper.cut(true, look, max(room / 2, room - paper.width_of(printable(predicted), look)))
    return first + arrow + paper.cut(predicted, look, room - paper.width_of(first, look))


def _curves(paper: Sheet, facts: Facts, left: float) -> None:
    """Accuracy and loss by epoch."""
    panels = (("Accuracy, %", "accuracy", 100.0), ("Loss, nats", "loss", 1.0))
    for place, (title, key, factor) in enumerate(panels):
        top = 470 + 262 * place
        paper.write(left, top - 18, title, _HEAD)
        axes = paper.axes(left + 46, top, _RIGHT - left - 46, 196)
        for name, colour, style in (("train", BLUE, "-"), ("val", ORANGE, "--")):
            known = [
                (row["epoch"], factor * row[f"{name}_{key}"]) for row in facts.history if _is_there(row, name, key)
            ]
            if known:
                full = "training" if name == "train" else "validation"
                marker = {"train": "", "val": "o"}[name] if len(known) < 30 else ""
                axes.plot(*zip(*known, strict=True), style, color=colour, marker=marker, markersize=4, label=full)
        axes.xaxis.get_major_locator().set_params(integer=True)
        if key == "accuracy":
            axes.set_ylim(0, 100)
        if axes.lines:
            axes.legend(loc="best", fontsize=14 * 0.72, handlelength=2.4)
        if place == 1:
            axes.set_xlabel("epoch", fontsize=14 * 0.72)


def _is_there(row: dict[str, Any], name: str, key: str) -> bool:
    value = row.get(f"{name}_{key}")
    return value is not None and bool(np.isfinite(value))


def _pictures(paper: Sheet, screen: FirstScreen) -> None:
    """A row of wrong and a row of right images; where there are none of a kind, two rows of the other."""
    groups = [("Wrong", screen.wrong, screen.n_wrong, ORANGE), ("Right", screen.right, screen.n_right, BLUE)]
    groups = [group for group in groups if group[1]]
    if not groups:
        said = "There are no mistakes." if not screen.n_wrong else "No images: the data was not available."
        paper.write(_LEFT, 1010, said, _BODY)
    across, side = (_ACROSS, 136) if len(groups) > 1 else (_ACROSS_ALONE, 152)
    pitch, top = (_RIGHT - _LEFT) / across, 1010
    for title, shown, n, colour in groups:
        some = shown[: across if len(groups) > 1 else 2 * across]
        many = "all" if len(some) == n else f"{len(some)}"
        paper.write(_LEFT, top, f"{title}: {many} of {n:,}", _HEAD)
        for place, each in enumerate(some):
            left, above = _LEFT + pitch * (place % across), top + 12 + place // across * (side + 62)
            paper.picture(left, above, side, _pixels(each.picture), colour)
            _caption(paper, each, left, above + side + 20, pitch - 12)
        top += 12 + side + 68


def _caption(paper: Sheet, each: Shown, left: float, y: float, most: float) -> None:
    paper.write(left, y, each.true, Look(15, BLUE, "bold"), most)
    if not each.is_right:
        share = f" ({100 * each.probability:.0f} %)"
        look = Look(15, ORANGE, "bold")
        name = paper.cut(f"→ {each.predicted}", look, most - paper.width_of(share, look))
        paper.write(left, y + 20, name + share, look)


def _foot(paper: Sheet, facts: Facts) -> None:
    paper.write(_LEFT, 1472, f"pocketlens · run {facts.run_id} · recipe {facts.recipe.id}", _SMALL, 700)
    paper.write(_RIGHT, 1472, "intervals: 95 %, over images", Look(14, MUTED, align="right"))


def _pixels(uri: str) -> NDArray[np.uint8]:
    """The pixels of a PNG in a data URI."""
    from PIL import Image

    return np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))), np.uint8)
