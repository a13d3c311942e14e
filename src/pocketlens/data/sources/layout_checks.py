"""Folders beside each other that look like classes and are none: a copy of the classes, and annotations of images."""

from __future__ import annotations

from pocketlens.data.sources.folder_tree import Folder
from pocketlens.data.sources.layout import Asked
from pocketlens.errors import PocketlensError

_IMAGES = frozenset("image images img imgs jpegimages photo photos picture pictures".split())
_ANNOTATIONS = frozenset(
    "annotation annotations bboxes ground_truth groundtruth label labels mask masks segmentation segmentations "
    "segmentationclass segmentationobject trimap trimaps".split()
)


def check_classes(level: Folder, asked: Asked) -> None:
    """Makes sure that the folders of a level are classes.

    Raises:
        PocketlensError: one of them holds a copy of the others, or they are images and their annotations.
    """
    folders = level.filled
    n_names = len({folder.name.casefold() for folder in folders})
    for folder in folders:
        inner = {each.name.casefold() for each in folder.filled}
        if len(inner) < max(2, n_names - 1):
            continue  # fewer than the others have: with thousands of classes their names are not gathered for each
        others = {each.name.casefold() for each in folders if each is not folder}
        if len(others) > 1 and others <= inner:
            raise PocketlensError(
                f"{asked.shown} must have a folder for each class, and {folder.path} has folders of the same names as "
                f"those beside it, which looks like a copy of them; {asked.below(folder)}."
            )
    images = [folder for folder in folders if folder.name.casefold() in _IMAGES]
    annotations = [folder for folder in folders if folder.name.casefold() in _ANNOTATIONS]
    if len(images) == len(folders) - len(annotations) == 1 and annotations:
        nested = len(images[0].filled) > 1
        remedy = (
            asked.below(images[0]) if nested else "give labels='FILE.csv' with a table that has a row for each image"
        )
        raise PocketlensError(
            f"{asked.shown} must have a folder for each class, and has {images[0].name} and {annotations[0].name}, "
            f"which look like images and their annotations; {remedy}."
        )
