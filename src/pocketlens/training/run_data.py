"""The data of a run: its development rows with the labels that it was trained on, and its sealed test part.

A data set of files (a folder, npz, parquet) may have moved since: `data` then says where it lies now, and the
fingerprint of its images tells whether it is the same. The new place is noted in the run's data.json; experiment.json
stays as it is.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from pocketlens.data.dataset import Dataset, Loaded
from pocketlens.data.relabel import relabel
from pocketlens.datasets import absent, load, place_of, places_of
from pocketlens.errors import PocketlensError
from pocketlens.files import read_json, write_json
from pocketlens.text import counted, listed, printable
from pocketlens.training.run import Run

NOTE = "data.json"


def load_of(run: Run, data: Path | None = None, command: str = "") -> Loaded:
    """Loads the data of a run, with the labels that it was trained on.

    Args:
        run: the run.
        data: of a data set of files the new place, or the folder in which it lies under its old name; of a data set
            with a name, the folder in which data sets are searched first.
        command: the command to repeat with `--data NEW_LOCATION` where the data is not there, for the error.

    Raises:
        PocketlensError: the data cannot be loaded, it is not the run's, or the run's corrections do not fit it.
    """
    run.bind_code()
    text = run.experiment.data
    if place_of(text) is None:
        return _load(run, text, data)
    if data is not None:
        return _load_moved(run, data)
    if absent(text) is None:
        return _load(run, text, None)
    noted = _noted(run)
    if noted is None or absent(noted) is not None:
        raise PocketlensError(gone(f"run {run.id}", noted or text, command))
    loaded = _load(run, noted, None)
    require_same(run, loaded.dataset)
    return loaded


def data_if_moved(run: Run, data: Path | None) -> Path | None:
    """`data` where it is needed to find the run's data; None where a data set of files lies where it was.

    The trials of a study are made with the place that was typed, and `data` is for others.
    """
    text = run.experiment.data
    return None if place_of(text) is not None and absent(text) is None else data


def gone(name: str, text: str, command: str) -> str:
    """What to say where a data set of files is not at its place; `name` is of whose data it is."""
    said = f"the data of {name} is no longer at {_quoted(absent(text))}; if it has moved, give its new location"
    return f"{said}{f': {command}' if command else ' with'} --data NEW_LOCATION"


def require_same(run: Run, dataset: Dataset) -> None:
    """Refuses data that is not the one with which the run was made.

    Raises:
        PocketlensError: its fingerprint is another one; the message says what differs.
    """
    wanted = run.experiment.data_fingerprint
    if not wanted or wanted == dataset.fingerprint:
        return
    raise PocketlensError(f"{dataset.text} is not the data of run {run.id}: {_difference(run, dataset)}.")


def _load_moved(run: Run, data: Path) -> Loaded:
    failed: PocketlensError | None = None
    for text in places_of(run.experiment.data, data):
        try:
            loaded = _load(run, text, None)
            require_same(run, loaded.dataset)
        except PocketlensError as error:
            failed = failed or PocketlensError(_with_place(str(error), run, data))
            continue
        if text != run.experiment.data and text != _noted(run):
            with suppress(OSError):  # a run that cannot be written can still be read
                write_json(run.file(NOTE), {"data": text})
        return loaded
    assert failed is not None
    raise failed


def _with_place(why: str, run: Run, data: Path) -> str:
    """An error about the data at a new place, which says that it is about that."""
    said = f"is not the data of run {run.id}"
    return why if said in why else f"{_quoted(printable(str(data)))} {said}: {why}"


def _load(run: Run, text: str, data: Path | None) -> Loaded:
    loaded = load(text, data, version=run.experiment.hold_out, aim=None)
    corrected = run.corrections()
    if corrected is None:
        return loaded
    return Loaded(relabel(loaded.dataset, corrected, str(run.file("relabel.csv"))).dataset, loaded.sealed)


def _noted(run: Run) -> str | None:
    """The component text of the data at the place where it was found last; None where none is noted."""
    path = run.file(NOTE)
    if not path.exists():
        return None
    value = read_json(path)
    text = value.get("data") if isinstance(value, dict) else None
    if not isinstance(text, str) or place_of(text) is None:
        raise PocketlensError(
            f"{path} must hold the location of the run's data; remove it, and give --data NEW_LOCATION."
        )
    return text


def _difference(run: Run, dataset: Dataset) -> str:
    """What differs between the data of a run and another, in words."""
    said = []
    n_rows = len(run.split.train) + len(run.split.val)
    if run.experiment.rows is None and n_rows != len(dataset):
        said.append(f"it has {counted(len(dataset), 'development image')}, the run has {n_rows:,}")
    with suppress(PocketlensError, KeyError, TypeError):  # a run that has not begun knows no classes
        classes = run.checkpoint().meta["classifier"]["classes"]
        only_here = [repr(printable(name)) for name in dataset.classes if name not in classes]
        only_there = [repr(printable(name)) for name in classes if name not in dataset.classes]
        said += [f"the run does not have its classes {listed(only_here, 10)}"] if only_here else []
        said += [f"it lacks the run's classes {listed(only_there, 10)}"] if only_there else []
    return "; ".join(said) or "it has as many images of the same classes, but other pixels, labels or another order"


def _quoted(place: str | None) -> str:
    return f'"{place}"'
