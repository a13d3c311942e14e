"""EuroSAT: 27,000 satellite pictures of 64x64 (Sentinel-2, visible light) in 10 kinds of land use.

Source: P. Helber, B. Bischke, A. Dengel, D. Borth, EuroSAT: A Novel Dataset and Deep Learning Benchmark for Land Use
and Land Cover Classification, IEEE JSTARS 12(7), 2019; https://github.com/phelber/EuroSAT (MIT).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from pocketlens.data.images import SUFFIXES
from pocketlens.data.sources.cache import Entry, Key, find
from pocketlens.data.sources.download import Remote
from pocketlens.data.sources.folders import Folders
from pocketlens.data.sources.tree import scan
from pocketlens.data.split import Parts
from pocketlens.datasets._encoded import Encoded, parts, store
from pocketlens.datasets._headers import Rules
from pocketlens.datasets._official import find_or_fetch, unpacked
from pocketlens.errors import PocketlensError
from pocketlens.text import counted, printable

CLASSES = (
    *("AnnualCrop", "Forest", "HerbaceousVegetation", "Highway", "Industrial"),
    *("Pasture", "PermanentCrop", "Residential", "River", "SeaLake"),
)
_OFFICIAL = 27_000
_FOLDERS = ("2750", "EuroSAT/2750", "EuroSAT_RGB", "EuroSAT", ".")
_ARCHIVES = ("EuroSAT.zip", "EuroSAT_RGB.zip")
REMOTES = (
    Remote(
        _ARCHIVES[0],
        "md5:c8fa014336c82ac7804f0398fcb19387",
        (
            "https://huggingface.co/datasets/torchgeo/eurosat/resolve/c877bcd43f099cd0196738f714544e355477f3fd/EuroSAT.zip",
            "https://madm.dfki.de/files/sentinel/EuroSAT.zip",
        ),
    ),
)


def eurosat(folders: Folders) -> Parts:
    """EuroSAT in visible light; there is no official test part. Rows are in the order of their file names.

    Raises:
        PocketlensError: the files are absent or damaged.
    """
    source = find_or_fetch("eurosat", REMOTES, folders, _find)
    if source.is_file():
        key = Key((source,), "eurosat")
        return parts(find(key) or _read_archive(source, key), "eurosat")
    encoded = _encoded(source)
    key = Key(tuple(encoded.sources), "eurosat")  # type: ignore[arg-type] # they are paths
    return parts(find(key) or store(key, encoded, Rules(shape=(64, 64, 3))), "eurosat")


def _find(folders: Folders) -> Path | None:
    """The folder of the class folders, or the archive."""
    for folder in folders.candidates("eurosat"):
        found = _classes_in(folder)
        if found is not None:
            return found
        for name in _ARCHIVES:
            if (folder / name).is_file():
                return folder / name
    return None


def _classes_in(folder: Path) -> Path | None:
    places = [folder / name for name in _FOLDERS]
    return next((place for place in places if all((place / name).is_dir() for name in CLASSES)), None)


def _read_archive(archive: Path, key: Key) -> Entry:
    with unpacked(archive) as root:
        found = _classes_in(root)
        if found is None:
            raise PocketlensError(f"{archive} must hold a folder for each of the classes {', '.join(CLASSES)}.")
        return store(key, _encoded(found), Rules(shape=(64, 64, 3)))


def _encoded(folder: Path) -> Encoded:
    """The pictures in the class folders of the data set; anything else below the folder is left out."""
    tree = scan(folder, suffixes=SUFFIXES)
    number = {name: label for label, name in enumerate(CLASSES)}
    rows = [row for row, name in enumerate(tree.names) if name.split("/")[0] in number]
    labels = np.array([number[tree.names[row].split("/")[0]] for row in rows], np.int64)
    paths, names = tuple(tree.paths[row] for row in rows), tuple(printable(tree.names[row]) for row in rows)
    notes = (
        () if len(rows) == _OFFICIAL else (f"eurosat has {counted(len(rows), 'image')} here, officially {_OFFICIAL}",)
    )
    return Encoded("eurosat", paths, names, {"labels": labels}, CLASSES, None, notes)
