"""The list of duplicates: which test rows it contaminates, how it is kept, and what equal pixels give alone."""

from __future__ import annotations

import csv
import io
from dataclasses import replace

import numpy as np
import pytest
from made_images import parts, random_images

from pocketlens.data import duplicates as contamination
from pocketlens.data.duplicates import Duplicates, exact_pairs, known_duplicates, read_duplicates, write_duplicates
from pocketlens.files import to_json


def listed(pairs: list[tuple[str, int, str, int, str]], sizes: tuple[int, int]) -> Duplicates:
    """A list with these (part, row, part, row, judgement)."""
    columns = list(zip(*pairs, strict=True))
    part_a, part_b, judgement = (np.array(columns[place]) for place in (0, 2, 4))
    row_a, row_b = (np.array(columns[place], np.int64) for place in (1, 3))
    distance = np.zeros(len(pairs), np.float32)
    how = np.full(len(pairs), "copied")
    return Duplicates(part_a, row_a, part_b, row_b, distance, judgement, how, *sizes, complete=True)


def test_seven_planted_copies_are_found_and_nothing_else() -> None:
    development, test = random_images(300, seed=1), random_images(200, seed=2)
    places = [3, 50, 51, 99, 120, 198, 199]
    test[places] = development[[7, 20, 21, 299, 0, 150, 151]]
    found = exact_pairs(*parts(development, test))
    assert found.contaminated().tolist() == places
    assert len(found) == 7
    assert set(found.part_a) == {"development"}
    assert found.row_a[found.row_b == 99].tolist() == [299]
    assert found.counts()["development and test"] == {"exact": 7, "near": 0, "similar": 0}
    assert len(exact_pairs(*parts(random_images(300, seed=3), random_images(200, seed=4)))) == 0


def test_many_copies_of_one_image_do_not_make_millions_of_pairs() -> None:
    development, test = np.zeros((9000, 4, 4, 1), np.uint8), np.zeros((1000, 4, 4, 1), np.uint8)
    found = exact_pairs(*parts(development, test))
    assert len(found) == 9999
    assert len(found.contaminated()) == 1000
    assert "the most: 10,000" in found.notes[0]
    few = exact_pairs(*parts(development[:3], test[:2]))
    assert len(few) == 10  # every pair of five
    assert few.notes == ()


def test_contamination_goes_through_copies_and_not_through_similar_pairs() -> None:
    pairs = [
        ("development", 4, "test", 0, "near"),
        ("test", 0, "test", 1, "exact"),  # a copy of a contaminated one
        ("test", 1, "test", 2, "near"),  # near to it: two steps from the development rows
        ("development", 5, "test", 3, "similar"),
        ("test", 5, "test", 6, "exact"),
        ("development", 8, "test", 7, "exact"),
    ]
    assert listed(pairs, (10, 8)).contaminated().tolist() == [0, 1, 7]


def test_a_nearly_equal_copy_of_a_contaminated_row_is_contaminated_and_lists_of_before_called_it_exact() -> None:
    dataset, sealed = parts(random_images(12, seed=1), random_images(5, seed=2))
    sealed.hashes[3] = dataset.hashes[5]
    found = listed(
        [
            ("development", 3, "test", 0, "near"),
            ("test", 0, "test", 1, "exact"),  # their pixels differ
            ("development", 5, "test", 3, "exact"),
        ],
        (12, 5),
    )
    write_duplicates(dataset, sealed, found)
    again = read_duplicates(dataset, sealed)
    assert again is not None
    assert again.judgement.tolist() == ["near", "near", "exact"]
    assert again.how.tolist() == ["copied", "nearly equal", "copied"]
    assert again.contaminated().tolist() == found.contaminated().tolist() == [0, 1, 3]


def test_a_list_is_kept_with_the_images_whatever_their_labels(monkeypatch: pytest.MonkeyPatch) -> None:
    dataset, sealed = parts(random_images(12, seed=1), random_images(5, seed=2))
    found = listed([("development", 3, "test", 4, "near")], (12, 5))
    assert read_duplicates(dataset, sealed) is None
    assert not known_duplicates(dataset, sealed).complete
    path = write_duplicates(dataset, sealed, found)
    other_labels = replace(dataset, labels=1 - dataset.labels)
    for given in (dataset, other_labels):
        assert known_duplicates(given, sealed).to_dict() == found.to_dict()
    assert read_duplicates(dataset.take(np.arange(11)), sealed) is None
    whole = path.read_bytes()
    for damaged in (b"", b"PK\x03\x04 no", whole[:-40], whole[: len(whole) // 2]):
        path.write_bytes(damaged)
        assert read_duplicates(dataset, sealed) is None
    path.write_bytes(whole)
    monkeypatch.setattr(contamination, "_VERSION", -1)
    assert read_duplicates(dataset, sealed) is None


def test_lines_json_and_csv_say_the_same() -> None:
    found = listed([("development", 3, "test", 4, "near"), ("test", 1, "test", 2, "similar")], (12, 5))
    assert "duplicate in the development rows: 1" in "\n".join(found.lines())
    value = found.to_dict()
    assert value["contaminated_test_rows"] == [4]
    assert len(value["pairs"]) == 2
    assert "NaN" not in to_json(value)
    rows = list(csv.DictReader(io.StringIO(found.csv())))
    assert [(row["part_a"], row["row_a"], row["part_b"], row["row_b"]) for row in rows] == [
        ("development", "3", "test", "4"),
        ("test", "1", "test", "2"),
    ]
