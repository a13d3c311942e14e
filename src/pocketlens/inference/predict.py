"""predict: a trained model's predictions for image files, one row per file, including those that cannot be read.

Files are decoded, resized and prepared as in training, so a file gives the same logits here as there, bit for bit on
the same CPU. A file of another size than the training images is treated as these were: the largest middle part of their
shape is resized, or all of it is stretched or padded, as the `fit` of the data set says. A file that cannot be read has
a row with the reason; its place in the batch stays blank, so that it does not change other rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pocketlens.data.fit import fit_picture
from pocketlens.data.images import (
    DEFAULT,
    MOST_PIXELS,
    SUFFIXES,
    BadImage,
    DecodeOptions,
    Pixels,
    Source,
    TooLarge,
    depth_note,
    map_images,
    read_header,
    read_image,
)
from pocketlens.data.sources.tree import is_junk, other_files, scan
from pocketlens.errors import PocketlensError
from pocketlens.files import RUNS
from pocketlens.inference.validation import (
    read_familiarity,
    read_temperature,
    stored_familiarity,
    stored_temperature,
)
from pocketlens.scoring.metrics import log_probabilities
from pocketlens.scoring.temperature import Temperature, calibration_in_words
from pocketlens.text import printable
from pocketlens.training.run import Run

if TYPE_CHECKING:
    from pocketlens.scoring.familiarity import Familiarity
    from pocketlens.training.classifier import Classifier

READ_BY = "read by max_pixels="  # the note on an image that has too many pixels
BATCH = 500  # as in validation: in batches of another size, sums may be rounded differently


@dataclass(frozen=True, eq=False)
class Predictor:
    """A trained model, ready to predict.

    Attributes:
        classifier: the model.
        name: the run's id, or the file's name.
        temperature: what logits are divided by, 1 where validation rows are too few to tell; None where there are none.
        options: what images are read, and how.
        familiarity: which pictures are unlike the images of training; None where there are no validation rows.
    """

    classifier: Classifier
    name: str
    temperature: Temperature | None
    options: DecodeOptions = DEFAULT
    familiarity: Familiarity | None = None

    @property
    def fit(self) -> str:
        """How a picture of another shape is fitted: crop, stretch or pad."""
        return self.classifier.facts.fit

    @property
    def calibration(self) -> str:
        """Whether the probabilities are calibrated, and how."""
        return calibration_in_words(self.temperature)

    @property
    def is_calibrated(self) -> bool:
        """Whether there were enough validation images to tell how sure the model may be."""
        return self.temperature is not None and self.temperature.known

    def is_unfamiliar(self, logits: NDArray[np.float32]) -> bool | None:
        """Whether the picture with the logits (K,) is unlike anything in training; None where nothing tells."""
        return None if self.familiarity is None else self.familiarity.is_unfamiliar(logits)

    def remarks(self, logits: NDArray[np.float32]) -> tuple[str, ...]:
        """What the logits (K,) say about the picture beyond its classes."""
        return () if self.familiarity is None else self.familiarity.remarks(logits)

    def probabilities(self, logits: NDArray[np.float32]) -> NDArray[np.float64]:
        """(N, K) float64 of logits (N, K), calibrated where the temperature is known."""
        scale = 1.0 if self.temperature is None else self.temperature.value
        return np.exp(log_probabilities(logits.astype(np.float64) / scale))


@dataclass(frozen=True, eq=False)
class Row:
    """The prediction for one file.

    Attributes:
        file: the file as it was named.
        classes: the most likely classes, in descending order; empty where the file cannot be read.
        probabilities: their probabilities.
        reason: why the file cannot be read, or None.
        notes: remarks, such as that the image was resized.
        logits: (K,) float32, or None where the file cannot be read.
        unfamiliar: whether the picture is unlike anything in training; None where nothing tells.
    """

    file: str
    classes: tuple[str, ...] = ()
    probabilities: tuple[float, ...] = ()
    reason: str | None = None
    notes: tuple[str, ...] = ()
    logits: NDArray[np.float32] | None = None
    unfamiliar: bool | None = None

    @property
    def cells(self) -> tuple[str, ...]:
        """Each class with its probability, and whether the picture is unlike anything in training, in words."""
        pairs = zip(self.classes, self.probabilities, strict=True)
        said = tuple(f"{label} {100 * probability:.2f} %" for label, probability in pairs)
        return (*said, *self.notes[-1:]) if self.unfamiliar else said


@dataclass(frozen=True)
class Files:
    """The files that were found, in the order in which they were named, and remarks about them."""

    paths: tuple[Path, ...]
    notes: tuple[str, ...] = ()


def predict(
    run: Run | Predictor | Path | str,
    images: Iterable[Path | str] | Path | str,
    *,
    device: str = "cpu",
    batch_size: int = BATCH,
    top: int = 5,
) -> Iterator[Row]:
    """Predicts image files; yields a row for every file, in order.

    Args:
        run: a run, its path, id (below ./pocketlens-runs) or label, or a safetensors file that `export` wrote.
        images: files, folders and globs.
        device: where to compute.
        batch_size: files per forward pass.
        top: the number of classes in a row, at most.

    Raises:
        PocketlensError: there is no such run or no image, or the model cannot be built.
    """
    predictor = run if isinstance(run, Predictor) else open_predictor(run)
    given = [images] if isinstance(images, (str, Path)) else list(images)
    files = find_files([str(name) for name in given])
    return predict_files(predictor, files.paths, device=device, batch_size=batch_size, top=top)


def predict_files(
    predictor: Predictor, paths: Iterable[Path], *, device: str = "cpu", batch_size: int = BATCH, top: int = 5
) -> Iterator[Row]:
    """Yields a row for every path, in order; nothing is computed before the first row is requested."""
    remaining = iter(paths)
    while batch := list(islice(remaining, batch_size)):
        yield from _predict_batch(predictor, batch, device=device, batch_size=batch_size, top=top)


def open_predictor(run: Run | Path | str, runs: Path = RUNS, options: DecodeOptions = DEFAULT) -> Predictor:
    """Loads the model of a run, or of a safetensors file that `export` wrote; `options` say what images it reads.

    Raises:
        PocketlensError: there is no such model, or it is damaged or does not fit its own description.
    """
    found = run if isinstance(run, (Run, Path)) else find_model(run, runs)
    found = found if isinstance(found, Run) or found.is_file() else find_model(str(found), runs)
    if isinstance(found, Run):
        temperature, familiarity = read_temperature(found), read_familiarity(found)
        from pocketlens.training.classifier import load_classifier

        return Predictor(load_classifier(found), found.id, temperature, options, familiarity)
    from pocketlens.training.checkpoint import read_checkpoint
    from pocketlens.training.classifier import build_classifier

    checkpoint = read_checkpoint(found)
    classifier = build_classifier(checkpoint, found.name)
    temperature = stored_temperature(checkpoint.meta.get("temperature"), found.name)
    familiarity = stored_familiarity(checkpoint.meta.get("familiarity"), found.name)
    return Predictor(classifier, found.name, temperature, options, familiarity)


def find_model(name: str, runs: Path = RUNS) -> Run | Path:
    """The run, or the file of a model, that `name` refers to; nothing is read.

    Raises:
        PocketlensError: there is neither.
    """
    path = Path(name)
    if not path.is_file():
        return Run.open(name, runs)
    if path.suffix != ".safetensors":
        raise PocketlensError(
            f"{printable(name)} must be a run, or a .safetensors file that export wrote; other files are never "
            "opened, as they may contain code."
        )
    return path


def find_files(named: Iterable[str], *, follow: bool = False, must_exist: bool = True) -> Files:
    """Files, the images below folders in the order of their names, and the matches of globs.

    Args:
        named: paths and globs.
        follow: whether links that lead out of a folder are followed.
        must_exist: whether a name that matches nothing is an error; otherwise it counts as a file that cannot be read.

    Raises:
        PocketlensError: a name matches nothing, or there is no image at all.
    """
    given = list(named)
    paths: list[Path] = []
    notes: list[str] = []
    for name in given:
        if Path(name).is_dir():
            tree = scan(Path(name), suffixes=SUFFIXES, follow=follow)
            paths += tree.paths
            notes += [f"{printable(name)}: {note}" for note in tree.notes]
        elif must_exist and not Path(name).exists():
            matches = _matches(name)
            if not matches:
                raise PocketlensError(f"{printable(name)!r} must be a file, a folder or a glob that matches files.")
            inside = find_files(matches, follow=follow, must_exist=False)
            paths += inside.paths
            notes += inside.notes
        else:
            paths.append(Path(name))
    if not paths:
        others = other_files([Path(name) for name in given if Path(name).is_dir()], SUFFIXES)
        raise PocketlensError(
            f"IMAGES must name at least one image file, none was found{': ' if others else ''}{others}."
        )
    return Files(tuple(paths), tuple(notes))


def _matches(pattern: str) -> list[str]:
    """The matches of a glob, by name, without hidden and system files; `**` does not follow links."""
    whole = Path(pattern)
    given = set(whole.parts)
    try:
        found = sorted(str(path) for path in Path(whole.anchor).glob(str(whole.relative_to(whole.anchor))))
    except (ValueError, NotImplementedError, OSError):  # not a pattern
        return []
    return [name for name in found if not any(is_junk(part) and part not in given for part in Path(name).parts)]


@dataclass(frozen=True, eq=False)
class Picture:
    """An image in the form of a model's training images, and remarks about it.

    Attributes:
        pixels: (H, W, C) uint8, before `prepare`.
        notes: remarks, such as that the image was resized.
    """

    pixels: Pixels
    notes: tuple[str, ...]


def read_picture(predictor: Predictor, source: Source) -> Picture:
    """An image in the form of the model's training images.

    Raises:
        BadImage: it cannot be read.
    """
    height, width, channels = predictor.classifier.image_shape
    if isinstance(source, Path) and source.exists() and not source.is_file():
        raise BadImage("it is not a file")
    levels = predictor.classifier.facts.levels
    options = replace(predictor.options, deep_colour=levels is not None)
    header = read_header(source, options)
    needed = max(height, width)
    pixels = read_image(source, channels=channels, levels=levels, needed=needed, options=options)
    notes: tuple[str, ...] = ("its first frame is used",) if header.animated else ()
    depth = depth_note(header, levels)
    notes += (depth,) if depth is not None else ()
    if (header.height, header.width) != (height, width):
        notes += (f"resized from {header.width} x {header.height}",)
    return Picture(fit_picture(pixels, height, width, predictor.fit), notes)


def compute_logits(predictor: Predictor, pictures: Pixels, device: str, batch_size: int = BATCH) -> NDArray[np.float32]:
    """(N, K) float32 logits of (N, H, W, C) uint8 images as `read_picture` returns them."""
    from pocketlens.training.classifier import predict_logits

    return predict_logits(predictor.classifier, pictures, device=device, batch_size=batch_size)


@dataclass(frozen=True)
class TopClasses:
    """The most likely classes, in descending order, and their probabilities."""

    classes: tuple[str, ...]
    probabilities: tuple[float, ...]


def top_classes(predictor: Predictor, logits: NDArray[np.float32], top: int) -> TopClasses:
    """The `top` most likely classes of one row of logits, (K,)."""
    probabilities = predictor.probabilities(logits[None])[0]
    places = np.argsort(-probabilities, kind="stable")[:top]
    classes = tuple(predictor.classifier.classes[place] for place in places)
    return TopClasses(classes, tuple(probabilities[places].tolist()))


def _predict_batch(predictor: Predictor, paths: list[Path], *, device: str, batch_size: int, top: int) -> Iterator[Row]:
    results = list(map_images(lambda source: read_picture(predictor, source), paths, batch_size))
    pictures = np.zeros((len(paths), *predictor.classifier.image_shape), np.uint8)
    for place, result in enumerate(results):
        if not isinstance(result, BadImage):
            pictures[place] = result.pixels
    if all(isinstance(result, BadImage) for result in results):
        logits = np.zeros((len(paths), 1), np.float32)
    else:
        logits = compute_logits(predictor, pictures, device, batch_size)
    for path, result, row in zip(paths, results, logits, strict=True):
        if isinstance(result, BadImage):
            limit = result.limit if isinstance(result, TooLarge) else MOST_PIXELS + 1
            notes = (f"{READ_BY}{limit}",) if limit <= MOST_PIXELS else ()
            yield Row(str(path), reason=str(result), notes=notes)
        elif not np.isfinite(row).all():
            yield Row(str(path), reason="the model's logits are not finite", notes=result.notes)
        else:
            unfamiliar, found = predictor.is_unfamiliar(row), top_classes(predictor, row, top)
            remarks = (*result.notes, *predictor.remarks(row))
            yield Row(str(path), found.classes, found.probabilities, notes=remarks, logits=row, unfamiliar=unfamiliar)
