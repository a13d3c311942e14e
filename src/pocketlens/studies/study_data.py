"""The data of a study that goes on: its trials read it themselves, so it is looked for before the first one starts."""

from __future__ import annotations

from pathlib import Path

from pocketlens.datasets import absent, load, places_of
from pocketlens.errors import PocketlensError
from pocketlens.studies.store import Study
from pocketlens.text import counted, printable
from pocketlens.training.run_data import gone


def require_data(study: Study, data: Path | None, command: str) -> None:
    """Makes sure that the trials of a study will find its data, where it was or at `data`.

    `command` is the one to repeat with `--data NEW_LOCATION`.

    Raises:
        PocketlensError: a data set of files is at neither place, or there is another one.
    """
    text, name = study.spec.data, f"study {study.id}"
    if absent(text) is None:
        return
    if data is None:
        raise PocketlensError(gone(name, text, command))
    failed, shown = "", f'"{printable(str(data))}"'
    for place in places_of(text, data):
        try:
            dataset, _ = load(place)
        except PocketlensError as error:
            failed = failed or str(error)
            continue
        if dataset.fingerprint == study.spec.data_fingerprint:
            return
        failed = (
            failed or f"it has {counted(len(dataset), 'development image')}, and other pixels, labels or another order"
        )
    raise PocketlensError(f"{shown} is not the data of {name}: {failed.rstrip('.')}.")
