"""The summary of a run on one picture: it says what the page says, nothing leaves the sheet, and every run has one."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_runs import make_dataset, make_run
from PIL import Image
from test_report import HOSTILE, open_by_hand

from pocketlens.report.run.facts import Facts, read_facts
from pocketlens.report.run.summary_picture import draw_summary
from pocketlens.report.run.summary_sheet import HEIGHT, WIDTH, Look, Sheet, sheet
from pocketlens.scoring.confusion_cells import MOST_WHOLE

LONG = "a name that is far too long to stand anywhere in full " * 5


class Drawn:
    """A summary: its pixels, its texts, and how many pictures it has."""

    def __init__(self, facts: Facts, patch: pytest.MonkeyPatch) -> None:
        kept: list[Sheet] = []
        whole = Sheet.png

        def keep(paper: Sheet) -> bytes:
            kept.append(paper)
            return whole(paper)

        patch.setattr(Sheet, "png", keep)
        self.png = draw_summary(facts)
        figure = kept[0].figure
        self.pixels = np.asarray(Image.open(BytesIO(self.png)).convert("RGB"))
        inside = [text for axes in figure.axes for text in axes.texts]
        self.texts = [text.get_text() for text in (*figure.texts, *inside)]
        self.outside = []
        for text in figure.texts:
            box = text.get_window_extent()
            if box.x0 < 40 or box.x1 > WIDTH - 40 or box.y0 < 0 or box.y1 > HEIGHT:
                self.outside.append(text.get_text())
        self.titles = {text.get_text() for text in figure.texts}
        self.n_pictures = sum(bool(axes.images) for axes in figure.axes)
        self.n_curves = sum(
            line.get_label() in ("training", "validation") for axes in figure.axes for line in axes.lines
        )

    def says(self, part: str) -> bool:
        return any(part in text for text in self.texts)


def test_it_says_what_the_page_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = make_dataset(300, ("ant", "bee", "cat", "dog"), (12, 10, 1))
    run = make_run(tmp_path, dataset, label="my first run")
    open_by_hand(run, dataset)
    facts = read_facts(run, dataset)
    drawn = Drawn(facts, monkeypatch)
    scores = facts.scores
    assert scores is not None
    assert scores.top1.low is not None
    assert drawn.pixels.shape == (1500, 1200, 3) == (HEIGHT, WIDTH, 3)
    assert (drawn.pixels[[0, 0, -1, -1], [0, -1, 0, -1]] == 255).all(), "light"
    for part in (
        *(
            "my first run",
            "made",
            f"{100 * (scores.top1.value or 0):.2f}",
            f"95 % interval {100 * scores.top1.low:.2f} to",
        ),
        *("of 90 test images classified correctly", "opened", "guessing at random", "25.0 %", "always “ant”"),
        *("Confusion of 4 classes", "Accuracy, %", "Loss, nats", "Wrong: 8 of", run.id),
    ):
        assert drawn.says(part), part
    assert {str(count) for count in scores.confusion.toarray().ravel().tolist() if count} <= set(drawn.texts)
    assert drawn.n_pictures == 1 + 8, "the matrix and mistakes: no right ones were kept"
    assert drawn.n_curves == 4
    assert drawn.outside == []
    assert draw_summary(facts) == drawn.png


@pytest.mark.slow
@pytest.mark.parametrize(
    ("classes", "shape", "options", "n_pictures", "said"),
    [
        (("a", "b"), (40, 8, 3), {"skill": 100.0, "n_epochs": 0}, 1 + 8, "Right: 8 of 12"),
        (("only",), (8, 8, 1), {}, 1 + 8, "Confusion of 1 class"),
        (
            (*HOSTILE, r"$\frac{", LONG, "猫\n\x1b[2J", "=1"),
            (6, 6, 3),
            {"skill": 1.0, "label": LONG},
            1 + 6 + 5,
            "Wrong: 6",
        ),
        (tuple(f"{LONG}{k}" for k in range(MOST_WHOLE + 1)), (4, 4, 1), {"skill": 3.0}, 12, "Most confused pairs, 301"),
        (("a", "b"), (8, 8, 1), {"val_fraction": 0.0, "state": ("stopped", "")}, 0, "no score yet"),
    ],
    ids=["no mistakes", "one class", "hostile", "many", "no scores"],
)
def test_every_run_has_one(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    classes: tuple[str, ...],
    shape: tuple[int, int, int],
    options: dict[str, Any],
    n_pictures: int,
    said: str,
) -> None:
    dataset = make_dataset(max(60, 2 * len(classes)), classes, shape)
    drawn = Drawn(read_facts(make_run(tmp_path, dataset, **options), dataset), monkeypatch)
    assert drawn.pixels.shape == (HEIGHT, WIDTH, 3)
    assert drawn.n_pictures == n_pictures
    assert drawn.says(said)
    assert drawn.outside == []
    assert not any("\n" in text or "\x1b" in text for text in drawn.texts)


def test_superclasses_name_the_blocks_of_a_matrix_and_a_run_without_data_has_no_pictures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    classes, above = tuple(f"c{k}" for k in range(48)), tuple(f"group {k}" for k in range(6))
    dataset = make_dataset(200, classes, (4, 4, 1), superclasses=above, superclass_of=tuple(k % 6 for k in range(48)))
    drawn = Drawn(read_facts(make_run(tmp_path, dataset)), monkeypatch)
    assert set(above) <= set(drawn.texts)
    assert "c7" not in drawn.texts
    assert drawn.n_pictures == 1
    assert drawn.says("No images: the data was not available")


def test_a_text_is_cut_where_it_would_not_fit() -> None:
    look = Look(16)
    with sheet() as paper:
        assert paper.cut("short", look, 200) == "short"
        cut = paper.cut(LONG, look, 200)
        assert cut.endswith("…")
        assert 150 < paper.width_of(cut, look) <= 200
        assert paper.cut(LONG, look, 1) == "…"
