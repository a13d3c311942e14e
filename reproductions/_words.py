"""The page of a study: what each command gave as JSON, in Markdown tables and sentences; nothing is computed anew."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from _numbers import (
    Done,
    Step,
    coarse,
    duration,
    interval,
    judgement,
    number,
    percent,
    points,
    share,
    signed,
    spread,
    values,
)

from pocketlens.data.split import Split
from pocketlens.files import read_json, read_lines
from pocketlens.report.tables import to_markdown
from pocketlens.studies.store import Study

SAID = {
    "smoke": "seconds a step on a handful of rows: a test of the study, whose numbers mean nothing",
    "minutes": "fewer rows, epochs, values and repeats than the report, so that all of it fits into minutes on two "
    "cores; its numbers are small-budget numbers, and are no match for the report's where the report trained longer",
    "full": "the report's own epochs, grids and repeats",
}
MOST_VERDICTS = 12  # sentences below a table


def page_of(
    about: str, budget: str, done: Sequence[Done], left: Sequence[Step], remark: str, machine: dict[str, Any]
) -> str:
    """The whole page; `machine` is what a run has in its environment.json."""
    seconds = sum(item.seconds for item in done)
    title, _, rest = about.partition("\n")
    lines = [
        f"# {title.rstrip('.')}",
        "",
        "Written by the study itself; do not edit by hand.",
        "",
        f"- **Budget**: `--budget {budget}`: {SAID[budget]}.",
        f"- **Hardware**: {machine['processor']}, {machine['threads']} threads, "
        f"{machine.get('gpu', machine['device'])}; torch {machine['torch']}, Python {machine['python']}; "
        f"pocketlens {machine['pocketlens']}.",
        f"- **Time**: {duration(seconds)} for {len(done)} commands ({seconds:,.0f} s). Seconds stand beside each.",
        "- **Seeds**: the first is 0, repeats count up from it; the split seed is 0. ± is the standard deviation over "
        "seeds, brackets are 95 % intervals: over seeds where there are repeats, else over images.",
        "- **Rows**: recipes are chosen on validation rows. `pocketlens test` alone opens test rows, and each opening "
        "is in the ledger and is counted below.",
        "- Run below the folder of the clone; pages that are named lie in the folder of runs and are not committed.",
    ]
    lines += [f"- **Note**: {remark}"] if remark else []
    if left:
        lines += [f"- **Not run yet** (call the study again): {', '.join(f'{s.row} {s.name}' for s in left)}."]
    lines += ["", rest.strip(), ""]
    for row in dict.fromkeys(item.step.row for item in done):
        lines += [f"## {row}", ""]
        for item in (item for item in done if item.step.row == row):
            lines += [*_step_lines(item), ""]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).rstrip() + "\n"


def _step_lines(item: Done) -> list[str]:
    step = item.step
    command = " ".join(["pocketlens", *map(quoted, item.words)])
    lines = [f"### {step.question}", "", "```", command, "```", ""]
    if step.reported:
        lines += [f"The report: {step.reported}.", ""]
    if item.code != step.exits:
        lines += [f"**This command ended with exit code {item.code}, not {step.exits}.** It said:", "", "```"]
        lines += [*item.said[-8:], "```", ""]
    elif step.exits:
        lines += ["As it should, the command refuses, with one line:", "", "```", *item.said[-1:], "```", ""]
    else:
        lines += [*told(item), ""]
    if step.note:
        lines += [f"{step.note}", ""]
    again = "; it went on after a stop, and these are the seconds since then" if item.resumed else ""
    return [*lines, f"{item.seconds:,.0f} s{again}."]


def quoted(word: str) -> str:
    """A word as a person types it in a shell: in double quotes where it holds single ones."""
    return f'"{word}"' if "'" in word and not set(word) & set('"$`\\!') else shlex.quote(word)


def told(item: Done) -> list[str]:
    """The result of a command in Markdown, by its kind."""
    result, command = item.result, item.words[0]
    if "leaders" in result:
        return _search(result)
    if "lines" in result:
        return _transfer(result)
    if "recipes" in result:
        return [*_comparison(result), *(_study_curves(result) if item.step.curves else [])]
    if command in ("train", "features"):
        best = [line[0].upper() + line[1:] + "." for line in item.said if line.startswith("highest validation")]
        return [line for run in result.get("runs") or [result] for line in _run(run)] + best
    if command == "test":
        return _test(result)
    if command == "look":
        return _look(result)
    if command == "show" and "layers" in result:
        return _layers(result)
    if command == "report" and "md" in result:
        return [Path(result["md"]).read_text(encoding="utf-8"), f"Page with curves: `{result['html']}`."]
    pages = [f"`{result[key]}`" for key in ("report", "explain", "page", "plot", "html") if key in result]
    return [f"Page: {', '.join(pages)}."] if pages else [*("    " + line for line in item.said[-12:])]


def _run(run: dict[str, Any]) -> list[str]:
    """A training: its validation score, and its curve."""
    val = run.get("val")
    why = f" ({run['reason']})" if run["reason"] else ""
    lines = [f"Run `{run['id']}`: {run['status']}{why}{_rows(Path(run['path']) / 'split.json')}."]
    if val:
        lines.append(f"**Validation accuracy {share(val['top1'])}**, loss {val['nll']['value']:.3f}{coarse(val)}.")
    history = Path(run["path"]) / "history.jsonl"
    records: list[dict[str, Any]] = list(read_lines(history))
    if records:
        lines += ["", _curve(records)]
    return lines


def _rows(path: Path) -> str:
    """How many rows it was trained and validated on."""
    if not path.exists():
        return ""
    split = Split.from_dict(read_json(path))
    return f", on {len(split.train):,} rows, and {len(split.val):,} validate"


def _curve(records: list[dict[str, Any]]) -> str:
    """Loss, accuracy and the gap between training and validation by epoch; at most a dozen of the epochs."""
    chosen = sorted({round(i) for i in np.linspace(0, len(records) - 1, min(12, len(records)))})
    header = ("epoch", "train loss", "val loss", "train acc", "val acc", "gap, points")
    rows = []
    for record in (records[i] for i in chosen):
        known = record["val_accuracy"] is not None
        gap = f"{100 * (record['train_accuracy'] - record['val_accuracy']):.2f}" if known else "n/a"
        rows.append(
            (
                str(record["epoch"]),
                number(record["train_loss"]),
                number(record["val_loss"]),
                percent(record["train_accuracy"]),
                percent(record["val_accuracy"]),
                gap,
            )
        )
    return to_markdown(header, rows)


def _comparison(result: dict[str, Any]) -> list[str]:
    """Every recipe with its mean and interval, its verdict against the first, and what can be told of other pairs."""
    candidates, verdicts = result["recipes"], result["verdicts"]
    first = candidates[0]["name"]
    with_first = {v["second"]: v for v in verdicts if v["first"] == first}
    best = set(result["like_the_best"])
    rows = []
    for each in candidates:
        n = sum(status == "complete" for status in each["statuses"])
        verdict = with_first.get(each["name"])
        score = "n/a" if each["mean"] is None else f"{100 * each['mean']:.2f}{spread(each['sd'])} %"
        mark = "●" if each["name"] in best else ""
        cells = (each["name"], score, interval(each), str(n), f"{each['seconds'] / max(1, n):.0f}", judgement(verdict))
        rows.append((*cells, mark))
    header = ("recipe", "val accuracy", "95 % interval", "n", "s each", f"against {first}", "like the best")
    others = [v for v in verdicts if v["first"] != first]
    lines = [to_markdown(header, rows)]
    if any(v["difference"]["low"] is None for v in verdicts):
        return [*lines, "One repeat has no spread: nothing can be told of the differences."]
    clear = [v for v in others if v["word"] != "cannot tell"]
    lines += [f"- {v['second']} is {v['word']} than {v['first']}: {points(v)}" for v in clear[:MOST_VERDICTS]]
    if others:
        lines.append(
            f"- Pairs without {first}: {len(others)}, of which {len(others) - len(clear)} cannot be told apart."
        )
    return [*lines, "", "Verdicts are paired over seeds and corrected for all pairs (Holm)."]


def _study_curves(result: dict[str, Any]) -> list[str]:
    """Validation accuracy and the gap to training by epoch, means over the repeats of every recipe of a study."""
    study = Study(Path(result["path"]))
    curves: dict[str, dict[int, list[tuple[float, float]]]] = {}
    for record in (record for record in study.records() if record.status == "complete"):
        for line in study.run(record.trial).history():
            pair = (line["val_accuracy"], line["train_accuracy"] - line["val_accuracy"])
            curves.setdefault(record.trial.candidate, {}).setdefault(line["epoch"], []).append(pair)
    epochs = sorted({epoch for curve in curves.values() for epoch in curve})
    chosen = [epochs[i] for i in sorted({round(i) for i in np.linspace(0, len(epochs) - 1, min(8, len(epochs)))})]
    rows = []
    for name, curve in curves.items():
        means = [np.mean(curve[epoch], axis=0) if epoch in curve else None for epoch in chosen]
        rows.append((name, *("" if m is None else f"{100 * m[0]:.1f} ({100 * m[1]:+.1f})" for m in means)))
    header = ("recipe", *(f"epoch {epoch}" for epoch in chosen))
    title = "Validation accuracy in %, and in brackets the gap (training minus validation accuracy, points), by epoch:"
    return ["", title, "", to_markdown(header, rows)]


def _search(result: dict[str, Any]) -> list[str]:
    """The leaders, the winner, the selection bias of its score, and the scores with new seeds."""
    if result["winner"] is None:
        return ["No trial has a result."]
    winner = result["winner"]
    rows = [
        (str(item["trial"]), percent(item["score"]), values(item["values"]), f"{item['seconds']:.0f}")
        for item in result["leaders"][:5]
    ]
    lines = [f"{result['n_trials']} trials. The best five:", "", to_markdown(("trial", "val", "values", "s"), rows)]
    lines.append(f"**Best: trial {winner['trial']}, {percent(winner['score'])}** ({values(winner['values'])}).")
    bias = result.get("selection_bias", result.get("luck"))  # its older name
    if bias is not None:
        lines.append(
            f"It is expected to be {100 * bias:.2f} points too high (selection bias): it is the best of "
            f"{len(result['leaders'])} scores that vary by {100 * result['noise']:.2f} points over seeds."
        )
    return [*lines, "", "With new seeds:", "", *_comparison(result["final"])] if result["final"] else lines


def _transfer(result: dict[str, Any]) -> list[str]:
    rows = []
    for line in result["lines"]:
        score = "n/a" if line["mean"] is None else f"{100 * line['mean']:.2f}{spread(line['sd'])} %"
        gain = "" if line["gain"] is None else signed(line["gain"], line["gain_low"], line["gain_high"])
        name = line.get("strategy", line.get("way"))  # its older name
        cells = (name, line["freeze"], f"{line['epochs']:.3g}", f"{line['n_trained']:,}", score, str(line["n"]))
        rows.append((*cells, gain, line["verdict"] or "", f"{line['seconds']:.0f}"))
    header = (
        *("strategy", "freeze", "epochs", "trainable parameters", "val accuracy", "n"),
        *("gain over scratch", "verdict", "s"),
    )
    return [to_markdown(header, rows), f"Equal for all strategies: {result['equal']}."]


def _test(result: dict[str, Any]) -> list[str]:
    """The test score with its interval and opening, the validation score beside it, and the classes that stand out."""
    test = result["test"]
    lines = [
        f"**Test accuracy {share(test['top1'])}**, loss {test['nll']['value']:.3f}{coarse(test)}, on {test['n']:,} "
        f"images; opening {test['opening']} of {test['openings']} of this test part in this ledger."
    ]
    val = Path(result["path"]) / "scores-val.json" if "path" in result else None
    if val is not None and val.exists():
        lines.append(f"Validation accuracy beside it: {share(read_json(val)['top1'])}.")
    macro = {name: test["averages"]["macro"][name]["value"] for name in ("precision", "recall", "f1")}
    lines.append("Macro averages: " + ", ".join(f"{name} {value:.4f}" for name, value in macro.items()) + ".")
    lines += _errors_by_superclass(test)
    ranked = sorted(test["per_class"], key=lambda row: row["f1"]["value"] or 0.0)
    shown = ranked if len(ranked) <= 20 else [*ranked[:10], *ranked[-5:]]
    header = ("class", "precision", "recall", "F1", "95 % interval of F1", "support")
    rows = [
        (
            row["class"],
            *(f"{row[name]['value'] or 0:.3f}" for name in ("precision", "recall", "f1")),
            f"[{row['f1']['low'] or 0:.3f}, {row['f1']['high'] or 1:.3f}]",
            str(row["support"]),
        )
        for row in shown
    ]
    said = "All classes" if len(shown) == len(ranked) else "The ten lowest and the five highest F1"
    return [*lines, "", f"{said}:", "", to_markdown(header, rows)]


def _errors_by_superclass(test: dict[str, Any]) -> list[str]:
    if not test["superclass_of"]:
        return []
    confusion, above = np.array(test["confusion"]), np.array(test["superclass_of"])
    wrong = confusion * (1 - np.eye(len(above), dtype=np.int64))
    near = int(wrong[above[:, None] == above[None, :]].sum())
    return [f"Of {int(wrong.sum()):,} mistakes {near / max(1, wrong.sum()):.1%} are near: inside the right superclass."]


def _look(result: dict[str, Any]) -> list[str]:
    look = result["look"]
    counts = [sum(of.values()) for of in look["counts"].values()]
    each = f"{min(counts):,}" if min(counts) == max(counts) else f"{min(counts):,} to {max(counts):,}"
    lines = [
        f"- {look['images']['development']:,} development images of {len(counts)} classes, {each} in each, and "
        f"{look['images']['test']:,} test images whose labels stay sealed.",
        *(f"- {finding['text']}" for finding in look["findings"]),
    ]
    groups = None if look["augment"] else look["superclasses"]  # pictures of augmentations need no such table
    if groups:
        lines += ["", to_markdown(("superclass", "classes"), [(name, ", ".join(of)) for name, of in groups.items()])]
    return [*lines, "", f"Page with the pictures: `{result['page']}`."]


def _layers(result: dict[str, Any]) -> list[str]:
    rows = [
        (layer["name"], layer["kind"], " x ".join(map(str, layer["shape"])), f"{layer['n_trainable']:,}")
        for layer in result["layers"]
    ]
    counted = f"**{result['n_parameters']:,} parameters**, {result['n_buffers']:,} numbers in buffers"
    table = [to_markdown(("layer", "kind", "output", "parameters"), rows)] if len(rows) <= 40 else []
    return [f"{counted}, {result['multiply_adds']:,} multiply-adds an image.", "", *table]
