"""What the names of folders say: which part of a data set they hold (train, validation, test), or which fold.

Case, spaces, hyphens and underscores do not matter, nor do words such as `set` or `images` around the part's own word:
`Training`, `train-set`, `seg_train` and `trainImages` are all the training part.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal

Role = Literal["train", "val", "test", "predict"]  # predict: images without labels

_WORDS: dict[str, str] = {
    "train": "training|train|trn",
    "trainval": "trainval|trainvalid|trainvalidation|traindev",
    "val": "validation|validate|valid|val|development|dev",
    "test": "testing|test|tst|holdout|heldout",
    "eval": "evaluation|eval",
    "predict": "predictions|prediction|predict|pred|unlabelled|unlabeled|inference",
}
_AROUND = (  # words that say nothing beside the word of a part
    "datasets|dataset|data|subset|sets|set|seg|images|image|imgs|img|splits|split|partition|part|samples|sample|photos|"
    "photo|pictures|picture|pics|pic|files|file|folders|folder|directory|dir|classes|class"
)
_PATTERNS = {role: re.compile(f"(?:{_AROUND})*+(?:{words})(?:{_AROUND})*+") for role, words in _WORDS.items()}
_WORD = re.compile(r"[^\W\d_]+|\d+")
_HUMP = re.compile(r"(?<=[a-z])(?=[A-Z])")  # where the next word of trainImages begins
_NUMBERED = re.compile(r"(\D*?)(\d{1,9})(\D*)")
_FOLD = re.compile(r"(?:k?fold|cv|crossval|crossvalidation)s?")


def roles_of(names: Sequence[str]) -> dict[str, Role]:
    """The parts that some folders beside each other hold, by their names; those whose names say nothing are left out.

    `eval` is the test part, or the validation part where another one is the test part; `trainval` trains where no
    `train` does. A word that all of them share does not matter: `flowers_train`, `flowers_test`.
    """
    words = {name: word for name in names if (word := _word_of(name)) is not None}
    if not {"train", "trainval"} & set(words.values()):
        words |= _with_a_shared_word(names)
    found = set(words.values())
    meant: dict[str, Role | None] = {
        "train": "train",
        "trainval": None if "train" in found else "train",
        "val": "val",
        "test": "test",
        "eval": "val" if "test" in found else "test",
        "predict": "predict",
    }
    return {name: role for name, word in words.items() if (role := meant[word]) is not None}


def role_of(name: str) -> Role | None:
    """The part that one name stands for, such as a value in a column; None where it says nothing."""
    return roles_of([name]).get(name)


def fold_numbers(names: Sequence[str]) -> dict[str, int] | None:
    """The numbers of folds by their names (`fold1`, `fold2`; `1`, `2`), or None unless all differ in a number alone."""
    found = {name: _NUMBERED.fullmatch(name) for name in names}
    numbers = {name: int(match[2]) for name, match in found.items() if match is not None}
    around = {(_letters(match[1]), _letters(match[3])) for match in found.values() if match is not None}
    distinct = len(numbers) == len(names) == len(set(numbers.values()))
    return numbers if distinct and len(names) > 1 and len(around) == 1 else None


def are_folds(names: Sequence[str]) -> bool:
    """Whether the names say that these are folds: `fold1`, `fold2`, …"""
    stem = {_letters(name) for name in names}
    return fold_numbers(names) is not None and len(stem) == 1 and _FOLD.fullmatch(stem.pop()) is not None


def is_same_name(typed: str, name: str) -> bool:
    """Whether a person who typed `typed` means `name`: case and separators aside, or a fold by its number."""
    if "".join(_WORD.findall(typed.casefold())) == "".join(_WORD.findall(name.casefold())) != "":
        return True
    numbered = [_NUMBERED.fullmatch(text) for text in (typed, name)]
    if None in numbered:
        return False
    stems = [_letters((match[1] + match[3]) if match else "") for match in numbered]
    same = {int(match[2]) for match in numbered if match}
    return len(same) == 1 and all(not stem or _FOLD.fullmatch(stem) for stem in stems)


def _word_of(name: str) -> str | None:
    letters = _letters(name)
    return next((word for word, pattern in _PATTERNS.items() if pattern.fullmatch(letters)), None)


def _with_a_shared_word(names: Sequence[str]) -> dict[str, str]:
    """`flowers_train`, `flowers_test`: the words of parts, where one and the same text stands around all of them."""
    found: dict[tuple[str, ...], dict[str, str]] = {}
    for name in names:
        tokens = _WORD.findall(_HUMP.sub("_", name).casefold())
        parts = [token for token in tokens if _word_of(token) is not None]
        if len(parts) == 1 and (word := _word_of(parts[0])) is not None:
            found.setdefault(tuple(token for token in tokens if token != parts[0]), {})[name] = word
    several = [words for words in found.values() if len(set(words.values())) > 1 and "train" in words.values()]
    return several[0] if len(several) == 1 else {}


def _letters(name: str) -> str:
    return "".join(character for character in name.casefold() if character.isalpha())
