"""The audit by today's small models beside the audit by a pretrained body: planted labels, outliers and duplicates.

    python benchmarks/audit_body.py labels FOLDER cifar100 fashion_mnist --rows 2000
    python benchmarks/audit_body.py outliers FOLDER --foreign OTHER_FOLDER
    python benchmarks/audit_body.py duplicates FOLDER cifar100

labels: 5 % of the labels are set to another class, drawn with the seed. Both methods rank all labels by the probability
that they give them; the average precision is that of this ranking, recall and precision those of the labels that
confident learning flags. outliers: 2 % of images of another data set, with labels drawn by the seed, are ranked by
their distance. duplicates: development images are changed as photos are (other crop, other exposure, mirrored, turned,
saved again, all at once) and added as further rows. Cached features are read: delete them to see what they take.
"""

from __future__ import annotations

import argparse
import io
import time
from collections.abc import Generator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pocketlens.audit.body import BodyView, body_features, predict_by_probe
from pocketlens.audit.cross_validation import cross_validate
from pocketlens.audit.label_issues import distrust, find_label_issues
from pocketlens.audit.near_duplicates import find_duplicates
from pocketlens.audit.out_of_fold import OutOfFold
from pocketlens.audit.outliers import FeatureSpace, autoencoder_errors, neighbour_distances
from pocketlens.data.dataset import Dataset, SealedTest, hash_images, seal
from pocketlens.data.duplicates import Duplicates
from pocketlens.datasets import Aim, load
from pocketlens.events import finish
from pocketlens.models._bodies import EMBEDDED, probe_recipe
from pocketlens.scoring.metrics import log_probabilities

SHARE, FOREIGN = 0.05, 0.02
KINDS = ("cropped", "exposed", "mirrored", "turned", "saved again", "all at once")
CLOSE, AXES = 0.5, 128  # of the distance of the fourth neighbour; principal axes
T = TypeVar("T")
Rows = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Data:
    """A data set at the size for the body, and some of its development rows."""

    dataset: Dataset
    sealed: SealedTest


@dataclass(frozen=True, eq=False)
class Timed:
    """What some work gave, and its seconds."""

    result: Any
    seconds: float


def main() -> None:
    """Plants, searches and prints one table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("labels", "outliers", "duplicates"))
    parser.add_argument("datasets", nargs="+")
    parser.add_argument("--rows", type=int, default=2000, help="at most so many development rows (%(default)s)")
    parser.add_argument("--foreign", help="data set of the foreign images among which outliers are planted")
    parser.add_argument("--planted", type=int, default=120, help="changed copies (%(default)s)")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    print(HEADS[args.what], flush=True)
    for text in args.datasets:
        data = read(text, args.rows, args.seed)
        ways = {
            "labels": partial(labels, text, data, args.seed),
            "outliers": partial(outliers, text, data, args.foreign, args.seed),
            "duplicates": partial(duplicates, text, data, args.planted, args.seed),
        }
        for row in ways[args.what]():
            print(row, flush=True)


HEADS = {
    "labels": "| data | rows, classes | method | right | flagged | average precision | recall | precision | seconds |\n"
    "|---|---|---|--:|--:|--:|--:|--:|--:|",
    "outliers": "| data | planted | method | average precision | among the first | seconds |\n"
    "|---|--:|---|--:|--:|--:|",
    "duplicates": f"| data | method | {' | '.join(KINDS)} | all | other pairs | seconds |\n"
    f"|---|---|{'--:|' * len(KINDS)}--:|--:|--:|",
}


def read(text: str, n_rows: int, seed: int) -> Data:
    """A data set at the body's size, with at most `n_rows` development rows."""
    recipe = probe_recipe(EMBEDDED)
    dataset, sealed = load(text, aim=Aim(recipe.model, recipe.prepare))
    if len(dataset) > n_rows:
        dataset = dataset.take(np.sort(np.random.default_rng(seed).permutation(len(dataset))[:n_rows]))
        dataset = replace(dataset, images=np.asarray(dataset.images))
    return Data(dataset, sealed)


def timed(work: Generator[Any, None, T]) -> Timed:
    """Runs work to its end."""
    began = time.perf_counter()
    result = finish(work)
    return Timed(result, time.perf_counter() - began)


def features_of(dataset: Dataset, sealed: SealedTest) -> Timed:
    """(N, D) float32 features of the development rows; where they are cached, the seconds are those of reading."""
    found = timed(body_features(BodyView(dataset, sealed), "cpu", with_test=False))
    return Timed(found.result.development, found.seconds)


def labels(text: str, data: Data, seed: int) -> list[str]:
    """The rows of the table for one data set."""
    from sklearn.metrics import average_precision_score

    dataset, random = data.dataset, np.random.default_rng(seed)
    n, k = len(dataset), len(dataset.classes)
    wrong = random.choice(n, round(SHARE * n), replace=False)
    given = dataset.labels.copy()
    given[wrong] = (given[wrong] + random.integers(1, k, len(wrong))) % k
    planted = replace(dataset, labels=given)
    is_wrong = np.isin(np.arange(n), wrong)
    features = features_of(dataset, data.sealed)
    ways = {
        "small models": timed(cross_validate(planted, seed=seed)),
        "body": timed(predict_by_probe(planted, features.result)),
    }
    shown = []
    for name, way in ways.items():
        found: OutOfFold = way.result
        own = log_probabilities(found.logits)[np.arange(n), given]
        precision = average_precision_score(is_wrong, -own)
        right = float((found.logits.argmax(1) == given).mean())
        issues = find_label_issues(planted, found)
        hits = int(is_wrong[issues.rows].sum())
        listed = f"{len(issues):,}" + ("" if distrust(planted, found) is None else ", not listed")
        seconds = f"{way.seconds:.0f}" + (f" + {features.seconds:.0f}" if name == "body" else "")
        shown.append(
            f"| {text} | {n:,}, {k} | {name} | {right:.1%} | {listed} | {precision:.3f} | {hits / len(wrong):.1%} | "
            f"{hits / max(1, len(issues)):.1%} | {seconds} |"
        )
    return shown


def outliers(text: str, data: Data, foreign: str, seed: int) -> list[str]:
    """The rows of the table for one data set."""
    from sklearn.metrics import average_precision_score

    dataset = data.dataset
    random = np.random.default_rng(seed)
    n = max(5, round(FOREIGN * len(dataset)))
    others = read(foreign, 10 * n, seed).dataset
    chosen = np.sort(random.permutation(len(others))[:n])
    odd = fitted(np.asarray(others.images[chosen]), dataset.shape)
    images = np.concatenate([dataset.images, odd])
    given = np.concatenate([dataset.labels, random.integers(0, len(dataset.classes), n)])
    text_of_both = f"{dataset.text} and {n} of {others.text}"
    both = Dataset(text_of_both, images, given, dataset.classes, hash_images(images))
    is_out = np.arange(len(both)) >= len(dataset)
    foreigners = Dataset(others.text, odd, others.labels[chosen], others.classes, hash_images(odd))
    parts = [features_of(each, data.sealed) for each in (dataset, foreigners)]
    features = np.concatenate([part.result for part in parts])
    models = timed(cross_validate(both, seed=seed))
    ways = {
        "autoencoder": timed(autoencoder_errors(both, seed=seed)),
        "small models": timed(neighbour_distances(FeatureSpace(models.result.features, models.result.fold, ""))),
        "body": timed(neighbour_distances(FeatureSpace(features, np.zeros(len(both), np.int64), ""))),
    }
    before = {"small models": models.seconds, "body": sum(part.seconds for part in parts)}
    shown = []
    for name, way in ways.items():
        first = np.argsort(-way.result, kind="stable")[:n]
        precision = average_precision_score(is_out, way.result)
        seconds = way.seconds + before.get(name, 0.0)
        shown.append(f"| {text} | {n} | {name} | {precision:.3f} | {is_out[first].mean():.1%} | {seconds:.0f} |")
    return shown


def fitted(images: NDArray[np.uint8], shape: tuple[int, int, int]) -> NDArray[np.uint8]:
    """(N, H, W, C) uint8 brought to the shape of the other data set."""
    import torch
    import torch.nn.functional as F

    pixels = torch.from_numpy(images).permute(0, 3, 1, 2).float()
    pixels = F.interpolate(pixels, shape[:2], mode="bilinear", antialias=True, align_corners=False)
    pixels = pixels.mean(1, keepdim=True).expand(-1, shape[2], -1, -1) if shape[2] != pixels.shape[1] else pixels
    return pixels.round().clamp(0, 255).byte().permute(0, 2, 3, 1).contiguous().numpy()


def duplicates(text: str, data: Data, count: int, seed: int) -> list[str]:
    """The rows of the table for one data set: copies found, by kind, and other pairs, some of which are real."""
    dataset = data.dataset
    original, kinds, changed = plant(dataset, count, seed)
    copies = Dataset("copies", changed, dataset.labels[original], dataset.classes, hash_images(changed))
    images = np.concatenate([np.asarray(dataset.images), changed])
    both = Dataset(
        "both", images, np.concatenate([dataset.labels, copies.labels]), dataset.classes, hash_images(images)
    )
    none = seal(both.take(np.arange(0)))
    parts = [features_of(each, data.sealed) for each in (dataset, copies)]
    features = np.concatenate([part.result for part in parts])
    alone = timed(find_duplicates(both, none, keep=False))
    joint = timed(find_duplicates(both, none, keep=False, features=features))
    nearness = relative_distances(features)
    first, second = np.triu_indices(len(both), 1)
    reading = sum(part.seconds for part in parts)
    ways = {
        "alignment": (alone.seconds, _listed(alone.result)),
        "features alone": (reading, Listed(first, second, nearness[first, second] <= CLOSE)),
        "alignment and body": (joint.seconds + reading, _listed(joint.result)),
    }
    return [
        f"| {text} | {name} | {_copies(original, kinds, len(dataset), listed)} | {seconds:.0f} |"
        for name, (seconds, listed) in ways.items()
    ]


@dataclass(frozen=True, eq=False)
class Listed:
    """M pairs of rows, and which of them are called near or exact."""

    first: Rows
    second: Rows
    is_near: NDArray[np.bool_]


def _listed(found: Duplicates) -> Listed:
    return Listed(found.row_a, found.row_b, found.judgement != "similar")


def relative_distances(features: NDArray[np.float32]) -> NDArray[np.float64]:
    """(N, N) cosine distances, half whitened, relative to those of the fourth neighbour of the nearer image."""
    centred = (features - features.mean(0)).astype(np.float64)
    values, vectors = np.linalg.eigh(centred.T @ centred / len(centred))
    axes = centred @ vectors[:, -AXES:] / (values[-AXES:].clip(0) + 1e-6) ** 0.25
    unit = axes / np.linalg.norm(axes, axis=1, keepdims=True)
    distance: NDArray[np.float64] = 1 - unit @ unit.T
    np.fill_diagonal(distance, 9.0)
    fourth = np.partition(distance, 3, axis=1)[:, 3]
    return distance / np.minimum(fourth[:, None], fourth[None])


def _copies(original: Rows, kinds: NDArray[np.str_], n: int, listed: Listed) -> str:
    """Found copies of each kind, found in all, and other pairs."""
    place = {n + index: int(row) for index, row in enumerate(original)}
    pairs = zip(listed.first.tolist(), listed.second.tolist(), strict=True)
    planted = np.array([place.get(second, -1) == first for first, second in pairs], bool)
    hit = listed.second[planted & listed.is_near] - n
    by_kind = [f"{(kinds[hit] == kind).sum()} of {(kinds == kind).sum()}" for kind in KINDS]
    return " | ".join([*by_kind, str(len(hit)), str(int((listed.is_near & ~planted).sum()))])


def plant(dataset: Dataset, count: int, seed: int) -> tuple[Rows, NDArray[np.str_], NDArray[np.uint8]]:
    """Rows, kinds and changed images of `count` development images."""
    random = np.random.default_rng(seed)
    rows = random.choice(len(dataset), count, replace=False).astype(np.int64)
    kinds = np.array(KINDS)[np.arange(count) % len(KINDS)]
    changed = [changed_photo(dataset.images[row], kind, random) for row, kind in zip(rows, kinds, strict=True)]
    return rows, kinds, np.stack(changed)


def changed_photo(image: NDArray[np.uint8], kind: str, random: np.random.Generator) -> NDArray[np.uint8]:
    """One image, changed according to its kind."""
    height, width, channels = image.shape
    photo = Image.fromarray(image[:, :, 0] if channels == 1 else image)
    if kind == "turned":
        photo = photo.rotate(random.uniform(3, 10) * random.choice([-1, 1]), Image.Resampling.BICUBIC)
        margin = 0.12
        box = (width * margin, height * margin, width * (1 - margin), height * (1 - margin))
        photo = photo.resize((width, height), Image.Resampling.BICUBIC, box)
    if kind in ("cropped", "all at once"):
        share = random.uniform(0.6, 0.9)
        left, top = random.uniform(0, (1 - share) * width), random.uniform(0, (1 - share) * height)
        box = (left, top, left + share * width, top + share * height)
        photo = photo.resize((width, height), Image.Resampling.BICUBIC, box)
    if kind in ("mirrored", "all at once"):
        photo = photo.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    if kind in ("exposed", "all at once"):
        stops = random.uniform(0.4, 1.0) * random.choice([-1, 1])
        light = (np.asarray(photo) / 255.0) ** 2.2 * 2**stops  # in linear light
        photo = Image.fromarray(np.clip(255 * light ** (1 / 2.2), 0, 255).astype(np.uint8))
    if kind in ("saved again", "all at once"):
        smaller = photo.resize((max(8, width // 2), max(8, height // 2)), Image.Resampling.BICUBIC)
        smaller.save(file := io.BytesIO(), "JPEG", quality=50)
        photo = Image.open(file).resize((width, height), Image.Resampling.BICUBIC)
    return np.asarray(photo).reshape(height, width, channels)


if __name__ == "__main__":
    main()
