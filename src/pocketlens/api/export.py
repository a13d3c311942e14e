"""Export: `pl.export` and `pocketlens export` write a model as one file, checked, with a model card."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pocketlens.api.calls import run_call
from pocketlens.api.requests import Code, check_place, check_runs
from pocketlens.api.runs import command, find_run, typed_name
from pocketlens.api.shown import Shown
from pocketlens.errors import PocketlensError
from pocketlens.events import Doing, Events, Fact
from pocketlens.files import RUNS
from pocketlens.own_code import name_code
from pocketlens.text import counted

if TYPE_CHECKING:
    from pocketlens.api.runs import RunLike
    from pocketlens.inference.export import CheckImages, Exported
    from pocketlens.inference.predict import Predictor
    from pocketlens.training.run import Run

FORMATS = {"onnx": ".onnx", "torchscript": ".pt", "safetensors": ".safetensors"}  # and how their files end


@dataclass(frozen=True, eq=False)
class ExportResult(Shown):
    """The file of a model, how well it agrees with the model, and its card."""

    run: Run
    exported: Exported
    card: Path

    @property
    def path(self) -> Path:
        """The file."""
        return self.exported.path

    def lines(self) -> list[str]:
        """What was checked and where the files are, for a person."""
        made = self.exported
        checked = (
            f"on {made.n_checked:,} {made.checked_on}: probabilities differ by at most "
            f"{made.probability_difference:.2g} (allowed: {made.tolerance:g}), logits by {made.logit_difference:.2g}; "
            f"{counted(made.n_changed, 'predicted class differs', 'predicted classes differ')}"
        )
        serve = command("serve", self.run)
        following = f"pocketlens predict {made.path} IMAGES" if made.format == "safetensors" else serve
        where = f"the model is in {made.path} ({made.n_bytes / 1e6:.1f} MB), its card in {self.card}"
        return [f"{'checked':<9}{checked}", where, f"next: {following}"]

    def to_dict(self) -> dict[str, Any]:
        """What `--json` gives."""
        return {**asdict(self.exported), "path": str(self.path), "id": self.run.id, "card": str(self.card)}


def export(
    run: RunLike,
    *,
    format: str = "onnx",
    out: Path | None = None,
    data: Path | None = None,
    code: Code = (),
    runs: Path = RUNS,
) -> ExportResult:
    """Writes a model as ONNX, TorchScript or safetensors once it agrees with the run on images.

    Those are images of the run's data; where that is gone, the pictures that the run keeps; of older runs, noise.

    Args:
        run: the run, its folder, id or label, or "last".
        format: onnx, torchscript or safetensors.
        out: the file, or a folder for it; the run's folder `export/`.
        data: where the data lies now, if it has moved; for a data set with a name, the folder to search first.
        code: the files of one's own that the run uses, or the functions; unchanged since it was made.
        runs: the folder of runs.

    Raises:
        PocketlensError: there is no such run, or a package for the format is missing.
        ExportFailed: the file does not agree with the model; nothing was written.
    """
    name_code(code)
    return run_call(exporting(run, format, out, data, runs))


def exporting(run: RunLike, format: str, out: Path | None, data: Path | None, runs: Path) -> Events[ExportResult]:
    """The events of `export`."""
    check_runs(runs)
    check_place(data)
    found = find_run(run, runs)
    path = _path(out, found, format)
    from pocketlens.inference.export import check_format
    from pocketlens.inference.export import export as export_model
    from pocketlens.inference.predict import open_predictor
    from pocketlens.report.run.model_card import write_card

    check_format(format)
    yield Doing(f"loading PyTorch and the model of {typed_name(found)}")
    predictor = open_predictor(found)
    checked = yield from _images(found, predictor, format, data)
    path.parent.mkdir(parents=True, exist_ok=True)
    n_classes = len(predictor.classifier.classes)
    yield Fact("model", f"{found.id}: {found.experiment.recipe.model}, {counted(n_classes, 'class')}")
    yield Fact("", f"probabilities are {predictor.calibration}")
    if predictor.familiarity is not None:
        yield Fact("", predictor.familiarity.said())
    exported = yield from export_model(predictor, checked, path, format)
    return ExportResult(found, exported, write_card(found, predictor, exported))


def _images(run: Run, predictor: Predictor, format: str, data: Path | None) -> Events[CheckImages]:
    """The images to check an export on: of the run's data, or where that is gone, those that the run keeps."""
    from pocketlens.inference.export import images_of_data, images_without_data
    from pocketlens.training.run_data import load_of

    try:
        dataset, _ = load_of(run, data, command("export", run, f" --format {format}"))
        return images_of_data(run, dataset)
    except PocketlensError as error:
        if data is not None:
            raise
        checked = images_without_data(run, predictor)
        on = f"{len(checked.images):,} {checked.what}"
        yield Fact("", f"the file is checked on {on}, because the data cannot be used: {error}")
        return checked


def _path(out: Path | None, run: Run, format: str) -> Path:
    if format not in FORMATS:
        raise PocketlensError(f"--format must be {', '.join(FORMATS)}, got {format}.")
    suffix = FORMATS[format]
    if out is None:
        return run.file("export") / f"model{suffix}"
    if out.is_dir():
        return out / f"model{suffix}"
    if out.suffix != suffix or not out.parent.is_dir():
        raise PocketlensError(
            f"--out must be a folder, or a file in a folder that exists that ends with {suffix}, got {str(out)!r}."
        )
    return out
