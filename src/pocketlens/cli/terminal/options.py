"""The options that commands share, and the recipe's fields as options. Mistakes in them become one line."""

from __future__ import annotations

import argparse
import dataclasses
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from pocketlens.api.requests import DataRequest, Machine, RecipeRequest, check_place
from pocketlens.cli.terminal.parser import Parser
from pocketlens.errors import PocketlensError
from pocketlens.files import RUNS
from pocketlens.recipe import SMALL, Recipe, from_dict
from pocketlens.text import path_hint


def add_dataset(parser: Parser) -> None:
    """DATASET and where data is looked for."""
    parser.add_argument(
        "dataset",
        metavar="DATASET",
        help="a folder of images or its archive, a .npz or .parquet file, or a name (see: pocketlens list datasets)",
    )
    add_data(parser)


def add_data(parser: Parser) -> None:
    """`--data` of a command that is given a data set."""
    about = "for a data set given by name: folder to search before $POCKETLENS_DATA and the cache"
    parser.section("data").add_argument("--data", type=Path, metavar="DIR", help=about)


def add_place(parser: Parser) -> None:
    """`--data` of a command that reads the data of a run again."""
    parser.section("data").add_argument(
        "--data",
        type=Path,
        metavar="PATH",
        help="new location of the data set's folder, .npz or .parquet file, if it has moved since; for a data set "
        "given by name, the folder to search first",
    )


def add_rows(parser: Parser) -> None:
    """`--rows`."""
    about = "train on a stratified random subset of N training images (default: all)"
    parser.section("data").add_argument("--rows", type=count, metavar="N", help=about)


def add_runs(parser: Parser, *, named: bool = False) -> None:
    """`--runs`, and RUN where the command takes one."""
    if named:
        parser.add_argument("run", metavar="RUN", help="a run's folder, its id, its label, or last")
    about = "folder that holds the runs (default: %(default)s)"
    parser.section("runs").add_argument("--runs", type=Path, default=RUNS, metavar="DIR", help=about)


def add_machine(parser: Parser) -> None:
    """`--device` and `--threads`."""
    parser.section("machine").add_argument(
        "--device",
        choices=("auto", "cpu", "cuda", "mps"),
        default="auto",
        help="device to compute on (default: auto, a GPU if there is one)",
    )
    about = "number of CPU threads of each process (default: PyTorch's choice)"
    parser.section("machine").add_argument("--threads", type=count, metavar="N", help=about)


def add_max_pixels(parser: Parser) -> None:
    """`--max-pixels`."""
    about = (
        "limit in pixels: larger JPEGs are decoded at a reduced size, other larger images are refused (default: "
        "%(default)s)"
    )
    parser.add_argument("--max-pixels", type=count, default=25_000_000, metavar="N", help=about)


def add_split(parser: Parser) -> None:
    """`--val-fraction` and `--split-seed`."""
    parser.section("data").add_argument(
        "--val-fraction",
        type=fraction,
        metavar="F",
        help="fraction of each class to hold out for validation, at least 0 and below 1 (default: the validation part "
        "of the data set, such as val/ beside train/ and test/, if it has one; else 0.1)",
    )
    parser.section("data").add_argument(
        "--split-seed",
        type=seed,
        default=0,
        metavar="N",
        help="random seed of the split into training and validation images, independent of --seed (default: "
        "%(default)s)",
    )


def add_save_every(parser: Parser) -> None:
    """`--save-every`."""
    about = "also save a checkpoint every N steps (default: only after each epoch)"
    parser.section("runs").add_argument("--save-every", type=count, metavar="N", help=about)


def add_code(parser: Parser) -> None:
    """`--code`, which may be given several times."""
    about = (
        "Python file of your own components; needed if a run or a recipe file uses one, such as mynet.py:net, and "
        "refused if it has changed since (can be repeated)"
    )
    parser.section("runs").add_argument("--code", action=_Several, type=Path, default=(), metavar="FILE", help=about)


class _Several(argparse.Action):
    """Collects the values of an option that may be given several times."""

    def __call__(self, _parser: Any, namespace: argparse.Namespace, values: Any, _option: Any = None) -> None:
        setattr(namespace, self.dest, (*getattr(namespace, self.dest), values))


def add_track(parser: Parser) -> None:
    """`--track`."""
    about = "also log metrics: TensorBoard files in each run's folder, or the MLflow server at $MLFLOW_TRACKING_URI"
    parser.section("runs").add_argument("--track", choices=("tensorboard", "mlflow"), help=about)


_PRECISION = (
    "fp32, bf16 if the hardware supports it, or auto: the one that is faster here, by a few measured steps before a "
    "long training (auto; a recipe's file keeps its own)"
)


def add_recipe(parser: Parser, helps: Mapping[str, str] | None = None) -> None:
    """`--recipe` and every field of the recipe as an option; `helps` replaces the help of some fields."""
    about = (
        "how to train; each option overrides one field of --recipe, and the values in parentheses are\n"
        "those of the recipe `default`. Components and their options: pocketlens list models (or\n"
        "operations, augment, losses, optimizers, schedules)"
    )
    helps = {"precision": _PRECISION, **(helps or {})}
    group = parser.add_argument_group("recipe", about)
    group.add_argument(
        "--recipe",
        metavar="NAME|FILE",
        help="a name (see: pocketlens list recipes) or a JSON file (default: small below "
        f"{SMALL:,} training images, else grey for greyscale images, else default)",
    )
    for field in dataclasses.fields(Recipe):
        default = "none" if field.default is None else field.default
        group.add_argument(
            f"--{field.name.replace('_', '-')}",
            dest=f"recipe_{field.name}",
            type=_field_type(str(field.type)),
            metavar=str(field.type).partition(" ")[0].replace("str", "TEXT").replace("int", "N").replace("float", "X"),
            default=argparse.SUPPRESS,
            help=helps.get(field.name) or f"{field.metadata['help']} ({default})".replace("%", "%%"),
        )


def recipe_changes(args: argparse.Namespace) -> dict[str, Any]:
    """The recipe's fields that were given as options."""
    return {key.removeprefix("recipe_"): value for key, value in vars(args).items() if key.startswith("recipe_")}


def check_recipe(recipe: Recipe, changes: dict[str, Any], source: str) -> Recipe:
    """The recipe with its changes, all its component texts checked."""
    return from_dict({**recipe.to_dict(), **changes}, source)


def check_dataset(text: str) -> None:
    """Refuses a text that is neither a path nor a data set's component text; reads no data and imports no torch."""
    from pocketlens.datasets import component

    component(text, must_exist=True)


def check_folders(args: argparse.Namespace) -> None:
    """Refuses a data folder that is not there and a runs folder that cannot be one.

    The commands that are given no data set read that of a run or a study, which may be a file.
    """
    data: Path | None = getattr(args, "data", None)
    if not hasattr(args, "dataset"):
        check_place(data)
    elif data is not None and not data.is_dir():
        raise PocketlensError(f"--data must be a folder that exists, got {str(data)!r}.{path_hint(data, '--data')}")
    runs: Path | None = getattr(args, "runs", None)
    if runs is None:
        return
    for folder in (runs, *runs.parents):
        if folder.exists() and not folder.is_dir():
            raise PocketlensError(f"--runs must be a folder, but {str(folder)!r} is a file.")


def data_of(args: argparse.Namespace) -> DataRequest:
    """The data that the command's words name."""
    return DataRequest(
        args.dataset,
        args.data,
        getattr(args, "val_fraction", None),
        getattr(args, "split_seed", 0),
        getattr(args, "rows", None),
        getattr(args, "relabel", None),
    )


def recipe_of(args: argparse.Namespace) -> RecipeRequest:
    """The recipe that the command's words name."""
    return RecipeRequest(args.recipe, recipe_changes(args))


def machine_of(args: argparse.Namespace) -> Machine:
    """Where the command is to compute."""
    return Machine(args.device, args.threads)


def count(text: str) -> int:
    """A whole number, 1 or more."""
    return _whole(text, 1)


def seed(text: str) -> int:
    """A whole number, 0 or more."""
    return _whole(text, 0)


def positive(text: str) -> float:
    """A number above 0."""
    value = _number(text)
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"must be a number above 0, got {text!r}")
    return value


def fraction(text: str) -> float:
    """A number from 0 up to, and without, 1."""
    value = _number(text)
    if not 0 <= value < 1:
        raise argparse.ArgumentTypeError(f"must be at least 0 and below 1, got {text!r}")
    return value


def _whole(text: str, least: int) -> int:
    if not re.fullmatch(r"[+-]?\d{1,18}", text) or int(text) < least:
        raise argparse.ArgumentTypeError(f"must be a whole number, {least} or more, got {text!r}")
    return int(text)


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"must be a number, got {text!r}") from None


def _field_type(kind: str) -> Callable[[str], Any]:
    base, _, rest = kind.partition(" | ")

    def read(text: str) -> Any:
        if rest == "None" and text == "none":
            return None
        if base == "str":
            return text
        if base == "float":
            return _number(text)
        if not re.fullmatch(r"[+-]?\d{1,18}", text):
            raise argparse.ArgumentTypeError(f"must be a whole number, got {text!r}")
        return int(text)

    return read
