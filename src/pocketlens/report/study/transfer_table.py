"""The table of transfers, source by target: for the terminal, and as JSON, CSV and Markdown files."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from pocketlens.files import csv_text, write_json, write_text
from pocketlens.report.tables import to_markdown
from pocketlens.studies.transfer import Line

HEADER = (
    *("source", "target", "strategy", "epochs", "trainable", "multiply-adds", "val acc"),
    *("gain over scratch", "verdict"),
)
COSTS = {
    "steps": "All strategies train for equally many steps; frozen ones compute fewer gradients, see the multiply-adds.",
    "multiply-adds": "All strategies use equally many multiply-adds; those with fewer gradients train for more epochs.",
}


def write_table(folder: Path, lines: Sequence[Line], equal: str) -> None:
    """Writes transfer.json, transfer.csv and transfer.md into a folder."""
    names = [field.name for field in dataclasses.fields(Line)]
    write_json(folder / "transfer.json", {"equal": equal, "lines": [dataclasses.asdict(line) for line in lines]})
    write_text(folder / "transfer.csv", csv_text(names, [[getattr(line, name) for name in names] for line in lines]))
    write_text(folder / "transfer.md", f"{to_markdown(HEADER, table_rows(lines))}\n{notes(equal)}\n")


def notes(equal: str) -> str:
    """How to read the table."""
    return (
        f"{COSTS[equal]} Multiply-adds are those of training at the full image size, forward and backward; the cost of "
        "training the source is not counted. Accuracy is on validation rows, mean ± standard deviation over seeds; the "
        "gain is the paired difference from scratch with its 95 % interval. Verdicts are corrected for all strategies "
        "of a target (Holm)."
    )


def table_rows(lines: Sequence[Line]) -> list[tuple[str, ...]]:
    """The cells of each line, in the order of HEADER."""
    return [
        (
            line.source or "-",
            line.target,
            f"{line.strategy} (freeze {line.freeze})" if line.freeze != "none" else line.strategy,
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
