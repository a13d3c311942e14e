"""What validation rows say about a model beyond its classes: the temperature, and which pictures are unfamiliar.

Both are computed from a run's stored validation predictions, so they are never out of date; an exported file holds them
in its metadata.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from pocketlens.errors import PocketlensError
from pocketlens.scoring.familiarity import Familiarity, fit_familiarity
from pocketlens.scoring.predictions import Predictions, read_predictions, thinned
from pocketlens.scoring.temperature import Temperature, fit_temperature
from pocketlens.training.run import Run

_VAL = "predictions-val.safetensors"


def read_temperature(run: Run) -> Temperature | None:
    """The temperature of a run, fitted on its stored validation predictions; None where there are none.

    A refitted run has no validation rows of its own; it takes the temperature of the run that it is a refit of, which
    has the same recipe and fewer training rows.

    Raises:
        PocketlensError: the stored predictions cannot be read.
    """
    source = _validated(run)
    if source is None:
        return None
    predictions = thinned(_predictions(source))
    fit = fit_temperature(predictions.logits, predictions.labels, predictions.groups)
    return Temperature(run=source.id, **asdict(fit))


def read_familiarity(run: Run) -> Familiarity | None:
    """Which pictures are unlike the validation images of a run, or of its source as in `read_temperature`.

    Raises:
        PocketlensError: the stored predictions cannot be read.
    """
    source = _validated(run)
    return None if source is None else fit_familiarity(_predictions(source).logits)


def stored_temperature(value: Any, name: str) -> Temperature | None:
    """The temperature in the metadata of an exported file; None where it has none.

    Raises:
        PocketlensError: it is none that `export` writes.
    """
    if value is None:
        return None
    try:
        found = Temperature.from_dict(value)
    except (KeyError, TypeError, ValueError, OverflowError):
        raise PocketlensError(f"{name} must hold a valid temperature; export the model again.") from None
    if not 0 < found.value < float("inf"):
        raise PocketlensError(f"{name}: the temperature must be above 0, it is {found.value}.")
    return found


def stored_familiarity(value: Any, name: str) -> Familiarity | None:
    """What the metadata of an exported file say about unfamiliar pictures; None in files of before.

    Raises:
        PocketlensError: it is nothing that `export` writes.
    """
    if value is None:
        return None
    try:
        return Familiarity.from_dict(value)
    except (KeyError, TypeError, ValueError, OverflowError):
        raise PocketlensError(f"{name} must hold a valid threshold of familiarity; export the model again.") from None


def _validated(run: Run) -> Run | None:
    """The run, or the one that it is a refit of: that which has validation predictions."""
    parent = run.experiment.made_by.removeprefix("refit of ")
    sources = [run, *([type(run)(run.path.parent / parent)] if parent != run.experiment.made_by else [])]
    return next((each for each in sources if each.file(_VAL).exists()), None)


def _predictions(run: Run) -> Predictions:
    return read_predictions(run.file(_VAL))
