"""MedMNIST v2: eleven sets of medical images by name, each in 28, 64, 128 or 224 px, with official test parts.

Source: J. Yang, R. Shi, D. Wei, Z. Liu, L. Zhao, B. Ke, H. Pfister, B. Ni, MedMNIST v2, Scientific Data 10:41, 2023;
https://medmnist.com. Names, classes and hashes are those of the package medmnist 3.0.2.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from pocketlens.data.dataset import Dataset
from pocketlens.data.sources.download import Remote
from pocketlens.data.sources.folders import Folders
from pocketlens.data.split import Parts
from pocketlens.datasets._official import find_or_fetch
from pocketlens.datasets.npz import npz
from pocketlens.errors import PocketlensError, closest
from pocketlens.text import printable

SIZES = (28, 64, 128, 224)
_MAX_BYTES = 64 * 2**30  # the largest file has 13 GB


@dataclass(frozen=True)
class _Set:
    classes: tuple[str, ...]
    md5: tuple[str, str, str, str]  # of the file of each size
    counts: tuple[int, int]  # images of training and validation together, and of the test part


_ORGANS = (
    *("bladder", "femur-left", "femur-right", "heart", "kidney-left", "kidney-right"),
    *("liver", "lung-left", "lung-right", "pancreas", "spleen"),
)
_SETS = {
    "pathmnist": _Set(
        (
            "adipose",
            "background",
            "debris",
            "lymphocytes",
            "mucus",
            "smooth muscle",
            "normal colon mucosa",
            "cancer-associated stroma",
            "colorectal adenocarcinoma epithelium",
        ),
        (
            "a8b06965200029087d5bd730944a56c1",
            "55aa9c1e0525abe5a6b9d8343a507616",
            "ac42d08fb904d92c244187169d1fd1d9",
            "2c51a510bcdc9cf8ddb2af93af1eadec",
        ),
        (100000, 7180),
    ),
    "dermamnist": _Set(
        (
            "actinic keratoses and intraepithelial carcinoma",
            "basal cell carcinoma",
            "benign keratosis-like lesions",
            "dermatofibroma",
            "melanoma",
            "melanocytic nevi",
            "vascular lesions",
        ),
        (
            "0744692d530f8e62ec473284d019b0c7",
            "b70a2f5635c6199aeaa28c31d7202e1f",
            "2defd784463fa5243564e855ed717de1",
            "8974907d8e169bef5f5b96bc506ae45d",
        ),
        (8010, 2005),
    ),
    "octmnist": _Set(
        ("choroidal neovascularization", "diabetic macular edema", "drusen", "normal"),
        (
            "c68d92d5b585d8d81f7112f81e2d0842",
            "e229e9440236b774d9f0dfef9d07bdaf",
            "0a97e76651ace45c5d943ee3f65b63ae",
            "abc493b6d529d5de7569faaef2773ba3",
        ),
        (108309, 1000),
    ),
    "pneumoniamnist": _Set(
        ("normal", "pneumonia"),
        (
            "28209eda62fecd6e6a2d98b1501bb15f",
            "8f4eceb4ccffa70c672198ea285246c6",
            "05b46931834c231683c68f40c47b2971",
            "d6a3c71de1b945ea11211b03746c1fe1",
        ),
        (5232, 624),
    ),
    "retinamnist": _Set(
        ("0", "1", "2", "3", "4"),
        (
            "bd4c0672f1bba3e3a89f0e4e876791e4",
            "afda852cc34dcda56f86ad2b2457dbcc",
            "e48e916a24454daf90583d4e6efb1a18",
            "eae7e3b6f3fcbda4ae613ebdcbe35348",
        ),
        (1200, 400),
    ),
    "breastmnist": _Set(
        ("malignant", "normal, benign"),
        (
            "750601b1f35ba3300ea97c75c52ff8f6",
            "742edef2a1fd1524b2efff4bd7ba9364",
            "363e4b3f8d712e9b5de15470a2aaadf1",
            "b56378a6eefa9fed602bb16d192d4c8b",
        ),
        (624, 156),
    ),
    "bloodmnist": _Set(
        (
            "basophil",
            "eosinophil",
            "erythroblast",
            "immature granulocytes(myelocytes, metamyelocytes and promyelocytes)",
            "lymphocyte",
            "monocyte",
            "neutrophil",
            "platelet",
        ),
        (
            "7053d0359d879ad8a5505303e11de1dc",
            "2b94928a2ae4916078ca51e05b6b800b",
            "adace1e0ed228fccda1f39692059dd4c",
            "b718ff6835fcbdb22ba9eacccd7b2601",
        ),
        (13671, 3421),
    ),
    "tissuemnist": _Set(
        (
            "Collecting Duct, Connecting Tubule",
            "Distal Convoluted Tubule",
            "Glomerular endothelial cells",
            "Interstitial endothelial cells",
            "Leukocytes",
            "Podocytes",
            "Proximal Tubule Segments",
            "Thick Ascending Limb",
        ),
        (
            "ebe78ee8b05294063de985d821c1c34b",
            "123ece2eba09d0aa5d698fda57103344",
            "61b955355d7425a89687b06cca3ce0c2",
            "b077128c4a949f0a4eb01517f9037b9c",
        ),
        (189106, 47280),
    ),
    "organamnist": _Set(
        _ORGANS,
        (
            "68e3f8846a6bd62f0c9bf841c0d9eacc",
            "2dcccc29b88e6da5a01161ef20cda288",
            "eeae80d0a227a8d099027e1b3cfd3b60",
            "50747347e05c87dd3aaf92c49f9f3170",
        ),
        (41052, 17778),
    ),
    "organcmnist": _Set(
        _ORGANS,
        (
            "b9ceb9546e10131b32923c5bbeaea2b1",
            "3ce34a8724ea6f548e6db4744d03b6a9",
            "773c1f009daa3fe5d9a2a201b2a7ed94",
            "050f5e875dc056f6768abf94ec9995d1",
        ),
        (15367, 8216),
    ),
    "organsmnist": _Set(
        _ORGANS,
        (
            "9ab87b696fb54e2a387ebe992d6ed5f1",
            "53a6d115339d874c25e309a994ff46d3",
            "ded0c5fa01a95dc4978b956f613e9b8e",
            "b354719e553fbbb2513d5533f52a4cb1",
        ),
        (16384, 8827),
    ),
}


def medmnist(folders: Folders, *, name: str = "pathmnist", size: int = 28) -> Parts:
    """A set of MedMNIST with its official test part.

    Args:
        folders: where the files are searched; after them, where the package medmnist keeps its own.
        name: pathmnist, dermamnist, octmnist, pneumoniamnist, retinamnist, breastmnist, bloodmnist, tissuemnist,
            organamnist, organcmnist or organsmnist.
        size: 28, 64, 128 or 224 px.

    Raises:
        PocketlensError: there is no such set or size, or the file is absent or damaged.
    """
    chosen = _chosen(name, size)
    remote = remote_of(name, size)
    path = find_or_fetch("medmnist", (remote,), folders, partial(_find, file=remote.name))
    found = npz(folders, path=str(path))
    development, test = _named(found.development, chosen, path), found.test
    test = None if test is None else _named(test, chosen, path)
    counts = (len(development), 0 if test is None else len(test))
    if counts != chosen.counts:
        here, there = (" + ".join(map(str, pair)) for pair in (counts, chosen.counts))
        development = replace(
            development, notes=(*development.notes, f"{name} has {here} images here, officially {there}")
        )
    return Parts(development, test)


def remote_of(name: str, size: int) -> Remote:
    """The file of a set in a size."""
    file = f"{name}{'' if size == 28 else f'_{size}'}.npz"
    address = f"https://zenodo.org/records/10519652/files/{file}?download=1"
    return Remote(file, f"md5:{_SETS[name].md5[SIZES.index(size)]}", (address,), _MAX_BYTES)


def _chosen(name: str, size: int) -> _Set:
    if not isinstance(name, str) or name not in _SETS:
        several = "; chestmnist has several labels for each image" if name == "chestmnist" else ""
        hint = closest(str(name), [*_SETS])
        raise PocketlensError(f"datasets: medmnist must have the name of one of its sets, got {name!r}{several}.{hint}")
    if type(size) is not int or size not in SIZES:
        raise PocketlensError(f"datasets: size of medmnist must be {', '.join(map(str, SIZES))}, got {size!r}.")
    return _SETS[name]


def _find(folders: Folders, *, file: str) -> Path | None:
    places = [*folders.candidates("medmnist"), Path.home() / ".medmnist"]
    return next((place / file for place in places if (place / file).is_file()), None)


def _named(part: Dataset, chosen: _Set, path: Path) -> Dataset:
    """The part with the names of its classes, which the file holds as numbers."""
    numbers = [int(name) if name.isascii() and name.isdigit() else -1 for name in part.classes]
    bad = [name for name, number in zip(part.classes, numbers, strict=True) if not 0 <= number < len(chosen.classes)]
    if bad:
        raise PocketlensError(
            f"{path}: the labels must be 0..{len(chosen.classes) - 1}, there is {printable(bad[0])!r}."
        )
    return replace(part, classes=tuple(chosen.classes[number] for number in numbers))
