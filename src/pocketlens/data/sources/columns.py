"""The columns of tables by the names that people give them, and what the values of a split column say.

Names match without case, spaces, underscores and hyphens: "Image ID", `image_id` and `imageId` are one name.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from pocketlens.data.sources.part_names import roles_of
from pocketlens.errors import PocketlensError, closest
from pocketlens.text import class_order, counted, listed, printable

FILE = (
    *("file", "filename", "image", "path", "name", "id"),  # the order decides where several fit equally well
    *("filepath", "imagepath", "imgpath", "imagename", "imgname", "img", "imageid", "imgid", "idcode", "imagefile"),
    *("imagefilename", "images", "files", "filenames", "filepaths", "picture", "photo", "relativepath", "fname", "uri"),
)
LABEL = (
    *("label", "class", "category", "target", "y"),
    *("labels", "classname", "classlabel", "labelname", "classid", "labelid", "categoryname", "classes", "diagnosis"),
    *("breed", "species", "dx", "disease", "finding", "type", "level", "grade", "tag", "groundtruth", "emotion"),
)
GROUP = (  # what several images may be of
    *("patient", "patientid", "subject", "subjectid", "lesion", "lesionid", "person", "personid", "participant"),
    *(
        "participantid",
        "individual",
        "individualid",
        "animalid",
        "specimen",
        "specimenid",
        "slide",
        "slideid",
        "caseid",
    ),
    *(
        "studyid",
        "video",
        "videoid",
        "sequence",
        "sequenceid",
        "seqid",
        "scene",
        "sceneid",
        "track",
        "trackid",
        "burstid",
    ),
)
IMAGE = ("image", "img", "png", "jpg", "bytes", "picture", "photo", "imagebytes", "images", "pixels")
_SPLIT = ("split", "fold", "partition", "subset", "kfold", "cvfold", "datasplit", "traintestsplit", "splitname")
_PERHAPS_SPLIT = (
    "set",
    "dataset",
    "datasets",
    "phase",
    "usage",
    "part",
    "traintest",
    "settype",
)  # if the values say so
_FLAGS = {"istest": "test", "istesting": "test", "isholdout": "test", "isval": "val", "isvalid": "val",
          "isvalidation": "val", "isdev": "val", "istrain": "train", "istraining": "train",
          "istrainingimage": "train"}  # fmt: skip
_YES, _NO = frozenset({"1", "1.0", "true", "yes", "t", "y"}), frozenset({"0", "0.0", "false", "no", "f", "n"})
BY_FOLDERS = "folders"  # of labels and label_column: the class folders give the labels
BY_NAMES = "names"  # of labels: the names of the files begin with their class
NO_COLUMN = "none"  # of split_column: no column is used


@dataclass(frozen=True)
class Columns:
    """The columns that a person names, by name or by number from 1; None is found by the names that people use."""

    file: str | int | None = None
    label: str | int | None = None  # "folders": the class folders give the labels
    group: str | None = None
    split: str | int | None = None  # "none": no column is used


@dataclass(frozen=True)
class SplitColumn:
    """What a split column says: for each row `train`, `val` or `test`, or the name of its fold, such as `fold3`."""

    parts: tuple[str, ...]
    note: str


def folded(name: str) -> str:
    """A name without case, spaces, underscores, hyphens and other signs."""
    return "".join(character for character in name.casefold() if character.isalnum())


def known_columns(header: Sequence[str], known: Sequence[str]) -> list[int]:
    """The columns whose names are known, in the order of `known`."""
    names = [folded(name) for name in header]
    return [column for word in known for column, name in enumerate(names) if name == word]


def split_columns(header: Sequence[str]) -> list[int]:
    """The columns that may say to which part a row belongs."""
    return known_columns(header, (*_SPLIT, *_PERHAPS_SPLIT, *_FLAGS))


def is_flag(name: str) -> bool:
    """Whether a column says of one part alone which rows are in it, such as `is_test`."""
    return folded(name) in _FLAGS


def named_column(header: Sequence[str], wanted: str | int, option: str, where: str, typed: str = "") -> int:
    """The column that an option names: as it is written, or by the same letters and digits, or by its number from 1.

    Args:
        header: the names of the columns.
        wanted: what was typed.
        option: for messages.
        where: the table, for messages.
        typed: the data set with the name in the header that `nearest` gives, as it is to be typed; "" names that alone.

    Raises:
        PocketlensError: there is none, or there are several.
    """
    if isinstance(wanted, int):
        if not 1 <= wanted <= len(header):
            raise PocketlensError(f"{where}: {option} must be 1 to {len(header)}, the number of columns, got {wanted}.")
        return wanted - 1
    found = [column for column, name in enumerate(header) if name == wanted] or [
        column for column, name in enumerate(header) if folded(name) == folded(wanted)
    ]
    if not found:
        hint = f" Did you mean {typed}?" if typed else closest(wanted, [printable(name) for name in header])
        raise PocketlensError(f"{where} has no column {printable(wanted)!r} for {option}.{hint}")
    if len(found) > 1:
        numbers = " or ".join(f"{option}={column + 1}" for column in found)
        raise PocketlensError(
            f"{where} has {counted(len(found), 'column')} named {printable(wanted)!r}; say which: {numbers}."
        )
    return found[0]


@cache
def part_of(name: str) -> str | None:
    """`train`, `val` or `test` for the name of a part in any of its usual forms, such as "Training Set"; else None."""
    return _parts_of([name]).get(name)


def _parts_of(names: Sequence[str]) -> dict[str, str]:
    """The parts that names stand for; those that say nothing are left out. `PublicTest` is what its last word says."""
    found: dict[str, str] = {name: role for name, role in roles_of(names).items() if role != "predict"}
    words = {name: re.split(r"[\W_\d]+|(?<=[a-z])(?=[A-Z])", name) for name in names if name not in found}
    last = {name: roles_of([word[-1]]).get(word[-1]) for name, word in words.items() if len(word) > 1}
    return {**found, **{name: role for name, role in last.items() if role is not None and role != "predict"}}


def names_parts(values: Sequence[str]) -> bool:
    """Whether cells say nothing but parts, of which one is `train`, whatever their column is called."""
    distinct = set(values)
    if not 2 <= len(distinct) <= 8 or any(_fold_number(value) is not None for value in distinct):
        return False
    meaning = _parts_of(sorted(distinct))
    return meaning.keys() == distinct and {"train"} < set(meaning.values())


def read_split(name: str, values: Sequence[str], where: str, asked: bool = False) -> SplitColumn | None:
    """What a column says about parts; None where it is no split column after all, or where all rows are in one part.

    Args:
        name: the column's name.
        values: its cells.
        where: the file, for messages.
        asked: whether a person named the column as the one of the split.

    Raises:
        PocketlensError: cells are empty, or some values name parts and others do not.
    """
    counts = Counter(values)
    meaning = _meaning(folded(name), {value for value in counts if value})
    unknown = [value for value in class_order(counts) if value not in meaning]
    sure = asked or folded(name) in (*_SPLIT, *_FLAGS)
    if not sure and not meaning:
        return None
    remedy = f"write train, val or test, or leave the column unused with split_column={NO_COLUMN!r}"
    column = f"{where}: the column {printable(name)!r} gives the parts, and"
    if counts[""]:
        rows = [f"row {row}" for row, value in enumerate(values, start=1) if not value]
        raise PocketlensError(
            f"{column} {counted(len(rows), 'row has', 'rows have')} no value in it: {listed(rows, 5)}; {remedy}."
        )
    if unknown:
        shown = listed([f"{printable(value)!r} ({counted(counts[value], 'row')})" for value in unknown], 5)
        raise PocketlensError(f"{column} {len(unknown)} of its values name no part: {shown}; {remedy}.")
    parts = tuple(meaning[value] for value in values)
    if len(set(parts)) < 2:
        return None
    said = [f"{printable(value)} is {meaning[value]}" for value in class_order(counts) if value != meaning[value]]
    note = f"the column {printable(name)!r} of {where} gives the parts" + (f": {listed(said, 12)}" if said else "")
    return SplitColumn(parts, note)


def _meaning(column: str, values: set[str]) -> dict[str, str]:
    """The part of each value that names one."""
    lower = {value: value.casefold() for value in values}
    if column in _FLAGS and all(value in _YES | _NO for value in lower.values()):
        part = _FLAGS[column]
        other = "test" if part == "train" else "train"
        return {value: part if lower[value] in _YES else other for value in values}
    numbers = {value: number for value in values if (number := _fold_number(value)) is not None}
    if values and len(numbers) == len(values):
        distinct = set(numbers.values())
        order = {0: "train", 1: "test"} if distinct == {0, 1} else {0: "train", 1: "val", 2: "test"}
        in_order = "fold" not in column and all(value.isdigit() for value in values) and distinct <= set(order)
        return {value: order[number] if in_order else f"fold{number}" for value, number in numbers.items()}
    return _parts_of(sorted(values))


def _fold_number(value: str) -> int | None:
    found = re.fullmatch(r"(?:cv|k)?[\s_-]*(?:fold)?[\s_-]*(\d{1,3})(?:\.0)?", value.casefold())
    return None if found is None else int(found[1])
