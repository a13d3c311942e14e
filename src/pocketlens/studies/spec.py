"""StudySpec: everything that defines a study, and the only place where study.json is written and read.

The keys of study.json are older than the names used here (`arms`, `judge`, `ways`, `keep`) and stay as they are, so
that every study ever made can be read. A key of a later format is a reason to raise FORMAT.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

from pocketlens.data.split import require_validation
from pocketlens.errors import PocketlensError
from pocketlens.files import read_json, write_json
from pocketlens.literals import IN_PYTHON
from pocketlens.own_code import CodeRecord, records_from, records_in
from pocketlens.recipe import Recipe, from_dict
from pocketlens.studies.json_keys import JsonKeys
from pocketlens.studies.overrides import Variant

if TYPE_CHECKING:
    from pocketlens.data.dataset import Dataset
    from pocketlens.data.split import Split

FORMAT = 2  # 2: a candidate has corrected labels; a study without any is written as 1
KINDS = ("compare", "sweep", "search")
Pairs = Literal["all pairs", "base"]
METHODS = ("coarse-to-fine", "tpe", "random", "grid")


@dataclass(frozen=True)
class Strategy:
    """A way to use a source in a transfer: its recipe, what an image costs in training, and how much is trained."""

    name: str
    source: str  # the run's id; empty for scratch
    recipe: Recipe
    multiply_adds: int  # of one image, forward and backward, at the full size
    n_trained: int  # trainable parameters


@dataclass(frozen=True)
class TransferSpec:
    """What a transfer adds to a comparison: the strategies behind its candidates, in the same order."""

    equal: str  # what all strategies spend alike: steps or multiply-adds
    strategies: tuple[Strategy, ...]


@dataclass(frozen=True)
class ComparisonSpec:
    """Candidates that are trained with the same seeds and compared in pairs.

    Attributes:
        candidates: the recipes with their names; the first is the base where `pairs` is "base".
        repeats: seeds per candidate, counted up from `seed`.
        pairs: "all pairs", or "base": each candidate with the first.
        kind: "compare", or "sweep" where the candidates are values around a base.
    """

    candidates: tuple[Variant, ...]
    repeats: int
    seed: int = 0
    pairs: Pairs = "all pairs"
    kind: Literal["compare", "sweep"] = "compare"
    transfer: TransferSpec | None = None


@dataclass(frozen=True)
class SearchSpec:
    """A search for a good recipe in a space, with successive halving where there are several rungs.

    Attributes:
        space: domains by address, as `read_space` takes them.
        trials: of the first rung, at most.
        repeats: new seeds with which the best trials and the base are trained at the end, counted up from seed + 1.
        seed: of every trial of the search, and of the sampler.
        minutes: the time limit; None: as many trials as `trials` says.
        method: one of METHODS.
        rounds: of coarse-to-fine; the space is narrowed between two of them.
        rungs: of successive halving: rising fractions of the epochs that end with 1, each a complete schedule.
        keep_fraction: the part of a rung's trials that is promoted to the next rung, 0..1.
        jobs: how many trials run at the same time, by which the time limit is planned.
    """

    space: str
    trials: int
    repeats: int = 3
    seed: int = 0
    minutes: float | None = None
    method: str = METHODS[0]
    rounds: int = 2
    rungs: tuple[float, ...] = (1.0,)
    keep_fraction: float = 0.5
    jobs: int = 1


@dataclass(frozen=True)
class StudySpec:
    """What defines a study: its data, its base recipe, and how it is designed.

    Attributes:
        data: component text of the data set; `data_fingerprint` is the hash of its images.
        rows: the number of training rows where not all of the split's are used, else None.
        n_train, n_val: rows of the study's split.
        shape: (height, width, channels) of the images.
        base: the recipe from which the others differ.
        label, made_by: a person's name for the study, empty where it has none, and the command that made it.
        code: the files behind components of one's own, in the data or in any of its recipes.
        hold_out: version of the rule by which the data's test rows are held out; absent in studies of before.
    """

    data: str
    data_fingerprint: str
    val_fraction: float
    split_seed: int
    rows: int | None
    n_train: int
    n_val: int
    n_classes: int
    shape: tuple[int, int, int]
    base: Recipe
    design: ComparisonSpec | SearchSpec
    label: str = ""
    made_by: str = ""
    code: tuple[CodeRecord, ...] = ()
    hold_out: int = 1

    @property
    def kind(self) -> str:
        """`compare`, `sweep` or `search`."""
        return "search" if isinstance(self.design, SearchSpec) else self.design.kind

    @property
    def comparison(self) -> ComparisonSpec:
        """The design of a comparison, a sweep or a transfer.

        Raises:
            PocketlensError: the study is a search.
        """
        if isinstance(self.design, SearchSpec):
            raise PocketlensError("the study must be a comparison, and is a search.")
        return self.design

    @property
    def search(self) -> SearchSpec:
        """The design of a search.

        Raises:
            PocketlensError: the study is none.
        """
        if isinstance(self.design, ComparisonSpec):
            raise PocketlensError(f"the study must be a search, and is a {self.design.kind}.")
        return self.design


def make_spec(
    dataset: Dataset,
    split: Split,
    base: Recipe,
    design: ComparisonSpec | SearchSpec,
    *,
    label: str = "",
    made_by: str = "",
) -> StudySpec:
    """The spec of a study of these data.

    Raises:
        PocketlensError: there are no validation rows, which are the only source of scores.
    """
    require_validation(dataset, split)
    return StudySpec(
        data=dataset.text,
        data_fingerprint=dataset.fingerprint,
        val_fraction=split.val_fraction,
        split_seed=split.seed,
        rows=len(split.train) if len(split.train) < len(dataset) - len(split.val) else None,
        n_train=len(split.train),
        n_val=len(split.val),
        n_classes=len(dataset.classes),
        shape=dataset.shape,
        base=base,
        design=design,
        label=label,
        made_by=made_by,
        code=_code_of(dataset.text, base, design),
        hold_out=dataset.hold_out,
    )


def _code_of(data: str, base: Recipe, design: ComparisonSpec | SearchSpec) -> tuple[CodeRecord, ...]:
    """The files behind all components of one's own.

    Raises:
        PocketlensError: a function lives in no file, from which the processes of the trials could import it.
    """
    texts = [data, *base.component_texts]
    if isinstance(design, SearchSpec):
        texts.append(design.space)
    else:
        texts += [text for candidate in design.candidates for text in candidate.recipe.component_texts]
    records = records_in(*texts)
    for record in records:
        if record.file.startswith(IN_PYTHON):
            raise PocketlensError(
                f"{record.file} lives in no file, from which the processes of a study could import it; put it into one."
            )
    return records


def write_spec(path: Path, spec: StudySpec) -> None:
    """Writes study.json."""
    design = spec.design
    value = {
        "format": FORMAT if _has_relabelled(design) else 1,
        "data": spec.data,
        "data_fingerprint": spec.data_fingerprint,
        "val_fraction": spec.val_fraction,
        "split_seed": spec.split_seed,
        "rows": spec.rows,
        "n_train": spec.n_train,
        "n_val": spec.n_val,
        "n_classes": spec.n_classes,
        "shape": list(spec.shape),
        "base": spec.base.to_dict(),
        "kind": spec.kind,
        "repeats": design.repeats,
        "seed": design.seed,
        "label": spec.label,
        "made_by": spec.made_by,
        **({"hold_out": spec.hold_out} if spec.hold_out > 1 else {}),
        **({"code": [asdict(record) for record in spec.code]} if spec.code else {}),
        **(_search_to_dict(design) if isinstance(design, SearchSpec) else _comparison_to_dict(design)),
    }
    write_json(path, value)


def read_spec(path: Path) -> StudySpec:
    """The reverse of `write_spec`, for studies of this and of every earlier version.

    Raises:
        PocketlensError: the file cannot be read, a key is missing or of the wrong type, or it is of a newer pocketlens.
    """
    value = read_json(path)
    if not isinstance(value, dict) or not isinstance(value.get("format"), int):
        raise PocketlensError(f"{path} must be a JSON object with a format in it.")
    if value["format"] > FORMAT:
        raise PocketlensError(
            f"{path.parent} was written by a newer pocketlens (format {value['format']}, this one knows {FORMAT}); "
            "update pocketlens to continue it."
        )
    keys = JsonKeys(value, str(path))
    kind = keys.choice("kind", KINDS)
    shape = keys.items("shape")
    if len(shape) != 3 or not all(isinstance(side, int) for side in shape):
        raise PocketlensError(f"{path}: shape must be height, width and channels, got {shape}.")
    return StudySpec(
        data=keys.text("data"),
        data_fingerprint=keys.text("data_fingerprint"),
        val_fraction=keys.number("val_fraction"),
        split_seed=keys.whole("split_seed"),
        rows=None if keys.is_null("rows") else keys.whole("rows"),
        n_train=keys.whole("n_train"),
        n_val=keys.whole("n_val"),
        n_classes=keys.whole("n_classes"),
        shape=(shape[0], shape[1], shape[2]),
        base=from_dict(keys.value("base"), str(path)),
        design=_read_search(keys) if kind == "search" else _read_comparison(keys),
        label=str(value.get("label", "")),
        made_by=str(value.get("made_by", "")),
        code=records_from(value.get("code", []), str(path)),
        hold_out=keys.whole("hold_out") if "hold_out" in value else 1,
    )


def _has_relabelled(design: ComparisonSpec | SearchSpec) -> bool:
    return isinstance(design, ComparisonSpec) and any(candidate.relabel for candidate in design.candidates)


def _search_to_dict(search: SearchSpec) -> dict[str, Any]:
    return {
        "space": search.space,
        "trials": search.trials,
        "minutes": search.minutes,
        "method": search.method,
        "rounds": search.rounds,
        "rungs": list(search.rungs),
        "keep": search.keep_fraction,
        "jobs": search.jobs,
    }


def _read_search(keys: JsonKeys) -> SearchSpec:
    return SearchSpec(
        space=keys.text("space"),
        trials=keys.whole("trials"),
        repeats=keys.whole("repeats"),
        seed=keys.whole("seed"),
        minutes=None if keys.is_null("minutes") else keys.number("minutes"),
        method=keys.choice("method", METHODS),
        rounds=keys.whole("rounds"),
        rungs=keys.numbers("rungs"),
        keep_fraction=keys.number("keep"),
        jobs=keys.whole("jobs"),
    )


def _comparison_to_dict(comparison: ComparisonSpec) -> dict[str, Any]:
    value: dict[str, Any] = {
        "judge": comparison.pairs,
        "arms": [
            {
                "name": candidate.name,
                "recipe": candidate.recipe.to_dict(),
                "changes": dict(candidate.changes),
                **({"relabel": candidate.relabel} if candidate.relabel else {}),
            }
            for candidate in comparison.candidates
        ],
    }
    if comparison.transfer is not None:
        value["equal"] = comparison.transfer.equal
        value["ways"] = [
            {"name": each.name, "source": each.source, "multiply_adds": each.multiply_adds, "n_trained": each.n_trained}
            for each in comparison.transfer.strategies
        ]
    return value


def _read_comparison(keys: JsonKeys) -> ComparisonSpec:
    arms = [keys.of(arm, f"arms[{index}]") for index, arm in enumerate(keys.items("arms"))]
    candidates = tuple(
        Variant(
            arm.text("name"),
            from_dict(arm.value("recipe"), arm.source),
            tuple(arm.table("changes").items()),
            arm.text("relabel") if "relabel" in arm.values else "",
        )
        for arm in arms
    )
    return ComparisonSpec(
        candidates=candidates,
        repeats=keys.whole("repeats"),
        seed=keys.whole("seed"),
        pairs=cast(Pairs, keys.choice("judge", ("all pairs", "base"))),
        kind="sweep" if keys.text("kind") == "sweep" else "compare",
        transfer=_read_transfer(keys, candidates) if "ways" in keys.values else None,
    )


def _read_transfer(keys: JsonKeys, candidates: tuple[Variant, ...]) -> TransferSpec:
    ways = [keys.of(way, f"ways[{index}]") for index, way in enumerate(keys.items("ways"))]
    if len(ways) != len(candidates):
        raise PocketlensError(f"{keys.source}: ways must be as many as arms, got {len(ways)} and {len(candidates)}.")
    strategies = tuple(
        Strategy(
            way.text("name"), way.text("source"), candidate.recipe, way.whole("multiply_adds"), way.whole("n_trained")
        )
        for way, candidate in zip(ways, candidates, strict=True)
    )
    return TransferSpec(keys.text("equal"), strategies)
