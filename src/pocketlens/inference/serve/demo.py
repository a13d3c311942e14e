"""What the page of a served model shows beside its answers: whose model it is, how good it is, and pictures to try."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pocketlens.data.images import as_png
from pocketlens.files import read_json
from pocketlens.scoring.predictions import PICTURES, read_pictures, read_predictions
from pocketlens.scoring.scores import PART_NAMES, show, show_interval
from pocketlens.text import counted

if TYPE_CHECKING:
    from pocketlens.training.run import Run

N_SAMPLES = 12


@dataclass(frozen=True)
class Sample:
    """A picture of the run, as PNG, and its class; "" where it is not known."""

    png: bytes
    true: str = ""


@dataclass(frozen=True)
class Demo:
    """What is known of the model.

    Attributes:
        label: a person's name for the run; "" without one.
        accuracy: on test images, else on validation images, in words; "" where it was never scored.
        samples: a few pictures of the run, which were not trained on where it has others.
        threshold: the probability below which an answer is called unsure, 0..1.
    """

    label: str = ""
    accuracy: str = ""
    samples: tuple[Sample, ...] = ()
    threshold: float = 0.5


def read_demo(run: Run, classes: tuple[str, ...], threshold: float) -> Demo:
    """What the files of a run say; `classes` are those of its model.

    Raises:
        PocketlensError: a file of the run cannot be read.
    """
    accuracy = ""
    for part in ("val", "test"):  # the latter counts where there are both
        top1 = run.top1(part)
        if top1 is not None:
            n = int(read_json(run.file(f"scores-{part}.json"))["n"])
            name = PART_NAMES[part]
            accuracy = f"{show(top1, 'share')} {show_interval(top1, 'share')} of {counted(n, f'{name} image')}"
    return Demo(run.experiment.label, accuracy, _samples(run, classes), threshold)


def _samples(run: Run, classes: tuple[str, ...]) -> tuple[Sample, ...]:
    if not run.file(PICTURES).exists():
        return ()
    kept = read_pictures(run.file(PICTURES))
    labels: dict[int, int] = {}
    path = run.file("predictions-val.safetensors")
    if path.exists():
        predictions = read_predictions(path)
        labels = dict(zip(predictions.rows.tolist(), predictions.labels.tolist(), strict=True))
    samples = []
    for row, image in list(zip(kept.rows.tolist(), kept.images, strict=True))[:N_SAMPLES]:
        samples.append(Sample(as_png(image), classes[labels[row]] if row in labels else ""))
    return tuple(samples)
