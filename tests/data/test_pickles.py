"""Pickled batches: nothing that stands in one is run."""

from __future__ import annotations

import os
import pickle
import struct
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_images import random_images, refused

from pocketlens.data.sources.pickles import as_array, read_pickle
from pocketlens.errors import PocketlensError


class Call:
    """Pickles as a call."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> Any:
        return self.call


def by_name(module: str, name: str, argument: str) -> bytes:
    """A pickle that calls module.name(argument), whether or not it exists here."""
    return f"c{module}\n{name}\n(S'{argument}'\ntR.".encode()


def nested_lists(n: int) -> bytes:
    return b"]" * n + b"a" * (n - 1) + b"."


def stack_global(module: str, name: str, argument: str) -> bytes:
    def text(value: str) -> bytes:
        return b"\x8c" + bytes([len(value)]) + value.encode()

    return b"\x80\x04" + text(module) + text(name) + b"\x93" + text(argument) + b"\x85R."


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4])
def test_arrays_numbers_and_texts_come_back(tmp_path: Path, protocol: int) -> None:
    images = random_images(7, (3072,))
    content = {"data": images, "fine_labels": [3, 4], "many": np.arange(5), "filenames": [b"a", "b"]}
    (tmp_path / "batch").write_bytes(pickle.dumps(content, protocol=protocol))
    read = read_pickle(tmp_path / "batch")
    assert np.array_equal(as_array(read["data"], tmp_path, "data"), images)
    assert as_array(read["fine_labels"], tmp_path, "labels").tolist() == [3, 4]
    assert as_array(read["many"], tmp_path, "many").tolist() == [0, 1, 2, 3, 4]
    assert read["filenames"] == [b"a", "b"]


def test_fortran_order_comes_back(tmp_path: Path) -> None:
    images = np.asfortranarray(random_images(5, (6,)))
    (tmp_path / "batch").write_bytes(pickle.dumps(images, protocol=2))
    assert np.array_equal(as_array(read_pickle(tmp_path / "batch"), tmp_path, "data"), images)


def payloads(canary: Path) -> dict[str, bytes]:
    touch = f"touch {canary}"
    python = f"open({str(canary)!r}, 'w')"
    return {
        "os.system": pickle.dumps(Call(os.system, touch)),
        "posix.system": by_name("posix", "system", touch),
        "eval": pickle.dumps(Call(eval, python)),
        "getlincoef": by_name("numpy.f2py.crackfortran", "getlincoef", python.replace("'", '"')),
        "getattr": by_name("builtins", "getattr", "x"),
        "reduce_ex": stack_global("numpy", "ndarray.__reduce_ex__", touch),
        "stack global": stack_global("os", "system", touch),
        "instance": f"(S'{touch}'\nios\nsystem\n.".encode(),
        "new object": b"\x80\x02cnumpy\nndarray\n)\x81.",
        "persistent": b"Pevil\n.",
        "extension": b"\x80\x02\x82\x01.",
        "memo bomb": b"]r" + struct.pack("<I", 2**31) + b".",
        "long claim": b"\x80\x04\x8e" + struct.pack("<Q", 2**40) + b".",
        "build on a name": b"cnumpy\nndarray\n}S'x'\nI1\nsb.",
        "numpy scalar": pickle.dumps(np.float64(1), protocol=2),
        "object array": pickle.dumps(Call(np.array, 3)),
        "garbage": b"\xff" * 100,
        "empty": b"",
    }


@pytest.mark.parametrize("name", sorted(payloads(Path("x"))))
def test_hostile_pickles_are_refused(tmp_path: Path, name: str) -> None:
    canary = tmp_path / "canary"
    path = tmp_path / "batch"
    path.write_bytes(payloads(canary)[name])
    start = time.process_time()
    with refused(str(path)):
        read_pickle(path)
    assert time.process_time() - start < 0.2
    assert not canary.exists()


def test_the_payloads_do_run_elsewhere(tmp_path: Path) -> None:
    """A test that cannot fail is a defect: the canary does sing in an unguarded unpickler."""
    canary = tmp_path / "canary"
    pickle.loads(payloads(canary)["os.system"])
    assert canary.exists()


def test_a_bomb_of_nested_lists_is_harmless(tmp_path: Path) -> None:
    (tmp_path / "batch").write_bytes(nested_lists(100_000))
    start = time.process_time()
    content = read_pickle(tmp_path / "batch")
    with refused("must be an array"):
        as_array(content, tmp_path, "data")
    assert time.process_time() - start < 2


@pytest.mark.parametrize(
    "value",
    [
        np.zeros(3, ">i8"),
        np.zeros(3, "f4"),
        np.array([None, "x"], object),
        np.zeros(3, "U2"),
        "text",
        [1, "2"],
        [2**70],
        None,
    ],
    ids=str,
)
def test_other_values_are_no_arrays(tmp_path: Path, value: Any) -> None:
    path = tmp_path / "batch"
    path.write_bytes(pickle.dumps({"data": value}, protocol=2))
    with refused(str(path)):
        as_array(read_pickle(path)["data"], path, "data")


def test_mutations_never_raise_anything_else(tmp_path: Path) -> None:
    good = pickle.dumps({b"data": random_images(2, (12,)), b"fine_labels": [1, 2]}, protocol=2)
    rng = np.random.default_rng(0)
    path = tmp_path / "batch"
    messages: list[str] = []
    for _ in range(500):
        data = bytearray(good)
        for _ in range(rng.integers(1, 4)):
            data[rng.integers(len(data))] = rng.integers(256)
        path.write_bytes(bytes(data[: rng.integers(1, len(data) + 1)]))
        try:
            content = read_pickle(path)
            if isinstance(content, dict):
                for name, value in content.items():
                    as_array(value, path, str(name))
        except PocketlensError as error:
            messages.append(str(error))
    assert len(messages) > 100
    assert all(message.isprintable() for message in messages)
