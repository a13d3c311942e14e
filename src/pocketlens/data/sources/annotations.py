"""Annotations of boxes and outlines beside images (COCO, YOLO, Pascal VOC, LabelMe), which say no class of an image."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from pocketlens.data.images import SUFFIXES
from pocketlens.text import counted, printable

_SIDECARS = {".txt": "YOLO", ".xml": "Pascal VOC", ".json": "LabelMe"}  # one file for each image, of its name
_COCO = (b'"images"', b'"annotations"', b'"categories"')
_EDGE = 65_536  # bytes at each end of a JSON file that are looked at


def sidecars(names: Sequence[str]) -> dict[str, list[str]]:
    """The files that are called like an image, by their ending, where at least two and half of the images have one."""
    pictures = {PurePosixPath(name).stem for name in names if PurePosixPath(name).suffix.lower() in SUFFIXES}
    found = {
        ending: [
            name
            for name in names
            if PurePosixPath(name).suffix.lower() == ending and PurePosixPath(name).stem in pictures
        ]
        for ending in _SIDECARS
    }
    return {ending: each for ending, each in found.items() if len(each) > 1 and 2 * len(each) >= len(pictures)}


def describe_annotations(root: Path, names: Sequence[str]) -> str | None:
    """What annotations lie in a folder, in a sentence, such as `boxes.json (COCO)`; None where there are none.

    Args:
        root: the folder of images.
        names: the files below it, relative to it, with `/`.
    """
    for ending, files in sidecars(names).items():
        return f"{counted(len(files), f'{ending} file')} of the images' names ({_SIDECARS[ending]}: {_shown(files[0])})"
    found = next((name for name in names if name.lower().endswith(".json") and _is_coco(root / name)), None)
    return None if found is None else f"{_shown(found)} (COCO)"


def _shown(name: str) -> str:
    return printable(name)


def _is_coco(path: Path) -> bool:
    """Whether a JSON file holds images and annotations, by its beginning and its end."""
    try:
        with path.open("rb") as file:
            text = file.read(_EDGE)
            file.seek(max(0, path.stat().st_size - _EDGE))
            text += file.read(_EDGE)
    except OSError:
        return False
    return sum(word in text for word in _COCO) > 1
