"""Model card: what a person must know before using an exported model, from what was recorded and nothing else.

Source: Mitchell et al. 2019, "Model cards for model reporting", arXiv 1810.03993.
"""

from __future__ import annotations

import re
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pocketlens.data.fit import FITTED
from pocketlens.errors import PocketlensError
from pocketlens.files import read_json, write_json, write_text
from pocketlens.report.run.card_metadata import write_metadata
from pocketlens.report.run.facts import Facts, opened, read_facts
from pocketlens.report.run.methods import write_methods
from pocketlens.scoring.calibration import calibrate
from pocketlens.scoring.predictions import read_predictions
from pocketlens.scoring.scores import PART_NAMES, show, show_interval
from pocketlens.text import capitalised, counted, printable

if TYPE_CHECKING:
    from pocketlens.inference.export import Exported
    from pocketlens.inference.predict import Predictor
    from pocketlens.training.run import Run

CARD = "MODEL_CARD.md"
_CODE = {
    "onnx": """import numpy as np
import onnxruntime

session = onnxruntime.InferenceSession("{file}")
images = np.zeros((1, {height}, {width}, {channels}), np.uint8)  # decoded pixels, 0..255, of any height and width
logits, probabilities = session.run(["logits", "probabilities"], {{"images": images}})""",
    "torchscript": """import torch

model = torch.jit.load("{file}")  # for the CPU
images = torch.zeros(1, {height}, {width}, {channels}, dtype=torch.uint8)  # decoded pixels, 0..255, of any size
logits, probabilities = model(images)""",
    "safetensors": """import pocketlens as pl

for row in pl.predict("{file}", ["picture.jpg"]):
    print(row.file, row.classes, row.probabilities)""",
}


def write_card(run: Run, predictor: Predictor, exported: Exported) -> Path:
    """Writes MODEL_CARD.md and the facts of the export (JSON) beside the exported file; gives the card's path."""
    folder = exported.path.parent
    record = {**asdict(exported), "path": exported.path.name, "model": run.id, "calibration": predictor.calibration}
    write_json(exported.path.with_name(exported.path.name + ".json"), record)
    path = folder / CARD
    write_text(path, render_card(run, predictor, _records(folder, run.id)))
    return path


def render_card(run: Run, predictor: Predictor, files: list[dict[str, Any]]) -> str:
    """The card's Markdown; `files` are the facts of the exported files."""
    facts = read_facts(run)
    parts = [
        f"# Model card: {plain(facts.label or run.id)}",
        *_model(facts, predictor),
        *_data(facts, predictor),
        *_scores(facts),
        *_calibration(run, predictor),
        *_limits(facts, predictor),
        *_loading(predictor, files),
        *_files(files),
    ]
    head = write_metadata(facts, [record["format"] for record in files])
    return head + "\n" + "\n\n".join(parts) + "\n"


def plain(text: str) -> str:
    """Text from outside as Markdown that shows it and does nothing else."""
    return re.sub(r"([\\`*_{}\[\]<>#!|~&$])", r"\\\1", printable(text))


def _records(folder: Path, run_id: str) -> list[dict[str, Any]]:
    """The facts of all exports of a run in a folder."""
    found = []
    for path in sorted(folder.glob("*.json")):
        try:
            value = read_json(path)
        except PocketlensError:
            continue  # a file of someone else's
        if isinstance(value, dict) and value.get("model") == run_id and (folder / str(value.get("path"))).is_file():
            found.append(value)
    return found


def _model(facts: Facts, predictor: Predictor) -> list[str]:
    classifier = predictor.classifier
    height, width, channels = classifier.image_shape
    n, colour = sum(value.numel() for value in classifier.parameters()), "grey" if channels == 1 else "colour"
    return [
        f"An image classifier: `{facts.recipe.model}` with {counted(n, 'parameter')}, trained by pocketlens "
        f"(run {facts.run_id}, recipe {facts.recipe.id}). It takes {colour} images of {height} x {width} px and tells "
        f"{counted(len(classifier.classes), 'class')} apart; images of other sizes are {FITTED[predictor.fit]} "
        "inside the model.",
    ]


def _data(facts: Facts, predictor: Predictor) -> list[str]:
    names = [plain(name) for name in predictor.classifier.classes]
    listed = f"{counted(len(names), 'class')}, in the order of the outputs: {', '.join(names)}."
    return ["## Training", plain(write_methods(facts)), "## Classes", listed]


def _scores(facts: Facts) -> list[str]:
    scores = facts.scores
    if scores is None:
        return ["## Scores", "There are no scores yet."]
    said = [f"On {scores.n:,} {PART_NAMES[scores.part]} images, with 95 % intervals."]
    said.append(opened(facts) or "The test set has not been opened, so these numbers may be slightly optimistic.")
    said += [f"Note that {facts.pretraining}."] if facts.pretraining else []
    rows = [f"| {name} | {show(value, kind)} | {show_interval(value, kind)} |" for name, value, kind in scores.rows()]
    table = "\n".join(["| score | value | interval |", "|---|---|---|", *rows])
    lowest = [f"{plain(row.name)} ({show(row.f1, 'score')})" for row in scores.ranked()[:5]]
    return ["## Scores", " ".join(said), table, f"Lowest F1: {', '.join(lowest)}."]


def _calibration(run: Run, predictor: Predictor) -> list[str]:
    said = [f"Probabilities are {predictor.calibration}."]
    path = run.file("predictions-test.safetensors")
    if path.exists():
        test = read_predictions(path)
        value = 1.0 if predictor.temperature is None else predictor.temperature.value
        after = calibrate(test, value)
        between = show_interval(after.ece_interval, "score")
        without = "" if value == 1 else f" ({calibrate(test).ece:.4f} without the temperature)"
        said.append(
            f"Over the {counted(len(test.rows), 'test image')} the expected calibration error is {after.ece:.4f}"
            f"{' ' + between if between else ''}{without}."
        )
    return ["## Calibration", " ".join(said)]


def _limits(facts: Facts, predictor: Predictor) -> list[str]:
    levels = predictor.classifier.facts.levels
    limits = [
        "It is meant for images like those that it was trained on: same kind of camera, crop and subject.",
        f"It always predicts one of its {counted(len(predictor.classifier.classes), 'class')}, also for "
        "images that show none of "
        "them; a low highest probability is a hint, not a proof.",
        *_unfamiliar(predictor),
        "The scores hold for images drawn like the ones scored; for other images, measure them again.",
        "Images must be upright (EXIF orientation applied), with transparency on a white background.",
    ]
    if levels is not None:
        limits.append(
            f"It was trained on images of 16 bits or more: these must be scaled to 8 bits, {levels[0]:g} to 0 and "
            f"{levels[1]:g} to 255, values beyond clipped. Images that have 8 bits to begin with do not fit it."
        )
    if facts.scores is not None:
        small = [row.name for row in facts.scores.per_class if row.support < 30]
        if small:
            limits.append(
                f"{counted(len(small), 'class was', 'classes were')} scored on fewer than 30 images each; "
                "their scores are imprecise."
            )
    return ["## Intended use and limits", "\n".join(f"- {line}" for line in limits)]


def _unfamiliar(predictor: Predictor) -> list[str]:
    familiarity = predictor.familiarity
    if familiarity is None:
        return ["Nothing tells pictures that are unlike anything in training: there are no validation images."]
    said = f"{capitalised(familiarity.said())}."
    if familiarity.threshold is not None:
        said += " The energy is the mean of the logits minus their log-sum-exp; "
        said += f"the threshold is {familiarity.threshold:.6g}."
    return [said]


def _loading(predictor: Predictor, files: list[dict[str, Any]]) -> list[str]:
    height, width, channels = predictor.classifier.image_shape
    parts = ["## How to load it"]
    for record in files:
        code = _CODE[record["format"]].format(file=record["path"], height=height, width=width, channels=channels)
        parts.append(f"```python\n{code}\n```")
    return [*parts, "Class names, temperature and preparation are in each file's metadata, under `pocketlens`."]


def _checked(record: dict[str, Any]) -> str:
    """On how many images a file was checked, and on which unless they are of the data."""
    what = record.get("checked_on", "real images")  # absent in exports of before
    return f"{record['n_checked']:,}" + ("" if what == "real images" else f" {plain(what)}")


def _files(files: list[dict[str, Any]]) -> list[str]:
    rows = [
        f"| `{record['path']}` | {record['n_bytes']:,} | `{record['sha256']}` | {_checked(record)} | "
        f"{record['logit_difference']:.2g} | {record['probability_difference']:.2g} | {record['n_changed']} |"
        for record in files
    ]
    head = "| file | bytes | SHA-256 | images checked | largest logit difference | of a probability | classes changed |"
    allowed = max((float(record["tolerance"]) for record in files), default=0.0)
    said = f"The limit is a difference of {allowed:g} in a probability, and that share of the largest logit in a logit."
    return [
        "## Files, and their differences from the model",
        "\n".join([head, "|---|---|---|---|---|---|---|", *rows]),
        said,
    ]
