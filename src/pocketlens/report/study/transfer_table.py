"""The table of transfers, source by target: for a screen, and as JSON, CSV and Markdown to be taken away."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from pocketlens.files import csv_text, write_json, write_text
from pocketlens.report.tables import to_markdown
from pocketlens.studies.transfer import Line

HEADER = ("source", "target", "way", "epochs", "trains", "multiply-adds", "val acc", "gain over scratch", "verdict")
COSTS = {
    "steps": "All ways take equally many steps; frozen ones compute fewer gradients, as the multiply-adds say.",
    "multiply-adds": "All ways take equally many multiply-adds; those that compute fewer gradients take more epochs.",
}


def write_table(folder: Path, lines: Sequence[Line], equal: str) -> None:
    """Leaves transfer.json, transfer.csv and transfer.md in a folder."""
    names = [field.name for field in dataclasses.fields(Line)]
    write_json(folder / "transfer.json", {"equal": equal, "lines": [dataclasses.asdict(line) for line in lines]})
    write_text(folder / "transfer.csv", csv_text(names, [[getattr(line, name) for name in names] for line in lines]))
    write_text(folder / "transfer.md", f"{to_markdown(HEADER, table_rows(lines))}\n{notes(equal)}\n")


def notes(equal: str) -> str:
    """What a reader of the table must know."""
    return (
        f"{COSTS[equal]} Multiply-adds are those of training at the full image size, forward and backward; what the "
        "source has cost is not counted. Accuracy is on validation rows, mean ± standard deviation over seeds; the "
        "gain is the paired difference to scratch with its 95 % interval, the verdict Holm's over all ways of a target."
    )


def table_rows(lines: Sequence[Line]) -> list[tuple[str, ...]]:
    """The cells below HEADER, in the order of the lines."""
    return [
        (
            line.source or "-",
            line.target,
            f"{line.way} (freeze {line.freeze})" if line.freeze != "none" else line.way,
            f"{line.epochs:.3g}",
            f"{line.n_trained:,}",
            f"{line.multiply_adds / 1e12:.3g} T",
            _score(line),
            _gain(line),
            line.verdict or "-",
        )
        for line in lines
    ]


def _score(line: Line) -> str:
    if line.mean is None:
        return "n/a"
    spread = f" ± {100 * line.sd:.2f}" if line.sd is not None else ""
    return f"{100 * line.mean:.2f}{spread} % (n {line.n})"


def _gain(line: Line) -> str:
    if line.gain is None:
        return "-"
    if line.gain_low is None or line.gain_high is None:
        return f"{100 * line.gain:+.2f}"
    return f"{100 * line.gain:+.2f} [{100 * line.gain_low:+.2f}, {100 * line.gain_high:+.2f}]"
