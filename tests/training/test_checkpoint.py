"""Checkpoints: equal ones are equal bytes, damage is always noticed, and a hostile file does nothing but fail."""

from __future__ import annotations

import json
import os
import pickle
import resource
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from made_images import refused
from made_trainings import PLAIN, contents, finish, made_data, new_run

from pocketlens.errors import PocketlensError
from pocketlens.training.checkpoint import Checkpoint, read_checkpoint, write_checkpoint
from pocketlens.training.classifier import load_classifier
from pocketlens.training.run import Run
from pocketlens.training.train import train


def made(step: int = 3) -> Checkpoint:
    generator = torch.Generator().manual_seed(step)
    tensors = {
        "weights/a": torch.randn(16, 9, generator=generator),
        "best/a": torch.randn(16, 9, generator=generator),
        "weights/count": torch.tensor(7),
        "optimizer/a/momentum": torch.randn(4, 3, 2, 2, generator=generator).to(memory_format=torch.channels_last),
        "sums/loss": torch.tensor(1 / 3, dtype=torch.float64),
        "weights/none": torch.zeros(0, 3),
    }
    return Checkpoint(tensors, {"step": step, "history": [{"val_loss": 0.1 + 0.2}], "classifier": {"classes": ["é"]}})


def test_there_and_back_bit_for_bit(tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "a", made())
    back = read_checkpoint(tmp_path / "a")
    assert back.meta == made().meta
    assert back.tensors.keys() == made().tensors.keys()
    for name, value in made().tensors.items():
        assert back.tensors[name].dtype == value.dtype
        assert torch.equal(back.tensors[name], value)
    assert back.weights_hash() == made().weights_hash()


def test_equal_checkpoints_are_equal_bytes_whatever_the_order(tmp_path: Path) -> None:
    reverse = Checkpoint(dict(reversed(made().tensors.items())), made().meta)
    write_checkpoint(tmp_path / "a", made())
    write_checkpoint(tmp_path / "b", reverse)
    write_checkpoint(tmp_path / "c", made(4))
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes() != (tmp_path / "c").read_bytes()


def test_the_result_is_the_best_where_there_is_one() -> None:
    checkpoint = made()
    assert torch.equal(checkpoint.result()["a"], checkpoint.tensors["best/a"])
    last = Checkpoint({k: v for k, v in checkpoint.tensors.items() if not k.startswith("best/")}, checkpoint.meta)
    assert torch.equal(last.result()["a"], checkpoint.tensors["weights/a"])
    assert last.weights_hash() != checkpoint.weights_hash()


def test_every_truncation_is_noticed(tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "a", made())
    whole = (tmp_path / "a").read_bytes()
    lengths = np.random.default_rng(0).integers(0, len(whole), 47).tolist()
    for length in (0, 8, len(whole) - 1, *lengths):
        (tmp_path / "b").write_bytes(whole[:length])
        with pytest.raises(PocketlensError, match="damaged"):
            read_checkpoint(tmp_path / "b")
    (tmp_path / "b").write_bytes(whole + b"\0")
    with pytest.raises(PocketlensError, match="damaged"):
        read_checkpoint(tmp_path / "b")


def test_every_flipped_bit_is_noticed(tmp_path: Path) -> None:
    """200 places: 50 in the length and the header, the rest anywhere."""
    write_checkpoint(tmp_path / "a", made())
    whole = (tmp_path / "a").read_bytes()
    header = 8 + int.from_bytes(whole[:8], "little")
    generator = np.random.default_rng(1)
    places = [*generator.integers(0, 8 * header, 50), *generator.integers(0, 8 * len(whole), 150)]
    for place in map(int, places):
        flipped = bytearray(whole)
        flipped[place // 8] ^= 1 << place % 8
        (tmp_path / "b").write_bytes(flipped)
        with pytest.raises(PocketlensError, match=r"damaged|must be a"):
            read_checkpoint(tmp_path / "b")


def test_an_absent_file_and_one_of_another_kind_are_refused(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    with refused("absent"):
        read_checkpoint(tmp_path / "absent")
    save_file({"a": torch.zeros(2)}, tmp_path / "plain")
    with refused("not a checkpoint"):
        read_checkpoint(tmp_path / "plain")
    save_file({"a": torch.zeros(2)}, tmp_path / "later", {"pocketlens": json.dumps(signed({}, FORMAT_LATER))})
    with refused("must be a 'pocketlens checkpoint 1'", "pocketlens checkpoint 2"):
        read_checkpoint(tmp_path / "later")


FORMAT_LATER = "pocketlens checkpoint 2"


def signed(meta: Any, kind: str) -> dict[str, Any]:
    return {"format": kind, "meta": json.dumps(meta), "checksum": "0" * 64}


# ---- hostile files


class Canary:
    """Makes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.path),)


def raw(header: dict[str, Any], data: bytes = b"") -> bytes:
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def tensor(begin: int, end: int, shape: list[int], dtype: str = "F32") -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


def hostile_files(canary: Path) -> dict[str, bytes]:
    notes = {"pocketlens": json.dumps(signed({}, "pocketlens checkpoint 1"))}
    buffer = tmp_torch_save(Canary(canary))
    return {
        "pickle": pickle.dumps(Canary(canary)),
        "torch.save": buffer,
        "pickle behind a header": raw({"__metadata__": notes}, pickle.dumps(Canary(canary))),
        "a header of 7 TiB": struct.pack("<Q", 7 << 40) + b"{}",
        "a header that ends in the middle": struct.pack("<Q", 100) + b'{"a": {',
        "a tensor of 7 TiB": raw({"__metadata__": notes, "a": tensor(0, 7 << 40, [7 << 38])}, b"\0" * 16),
        "overlapping tensors": raw(
            {"__metadata__": notes, "a": tensor(0, 16, [4]), "b": tensor(8, 24, [4])}, b"\0" * 24
        ),
        "an offset before the data": raw({"__metadata__": notes, "a": tensor(-16, 0, [4])}),
        "a shape that does not fit": raw({"__metadata__": notes, "a": tensor(0, 16, [400])}, b"\0" * 16),
        "a type that is not one": raw({"__metadata__": notes, "a": tensor(0, 16, [4], "os.system")}, b"\0" * 16),
        "deep nesting": raw({"__metadata__": {"pocketlens": "[" * 100_000}}),
        "no text": b"\xff" * 64,
    }


def tmp_torch_save(thing: Any) -> bytes:
    import io

    buffer = io.BytesIO()
    torch.save(thing, buffer)
    return buffer.getvalue()


@pytest.mark.parametrize("name", hostile_files(Path("canary")))
def test_hostile_files_are_refused_and_do_nothing(name: str, tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    path = tmp_path / "checkpoint-00000001.safetensors"
    path.write_bytes(hostile_files(canary)[name])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with refused(path.name):
        read_checkpoint(path)
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < 50 * 1024  # KiB
    assert not canary.exists()


def test_the_canary_would_sing(tmp_path: Path) -> None:
    pickle.loads(pickle.dumps(Canary(tmp_path / "canary")))
    assert (tmp_path / "canary").exists()


@pytest.mark.parametrize(
    "change",
    [
        "weights of another shape",
        "a weight is missing",
        "optimizer of another shape",
        "no sums",
        "another number of steps",
        "no step",
        "history of numbers",
        "facts are a list",
    ],
)
def test_a_well_signed_checkpoint_that_does_not_fit_is_refused(change: str, tmp_path: Path) -> None:
    run = new_run(tmp_path, PLAIN.changed(optimizer="adam"))
    finish(run)
    checkpoint = run.checkpoint()
    tensors, meta = dict(checkpoint.tensors), dict(checkpoint.meta)
    name = next(name for name in tensors if name.startswith("weights/net") and tensors[name].ndim == 2)
    moment = next(name for name in tensors if name.endswith("exp_avg"))
    if change == "weights of another shape":
        tensors[name] = torch.zeros(3, 5)
    elif change == "a weight is missing":
        del tensors[name]
    elif change == "optimizer of another shape":
        tensors[moment] = torch.zeros(3, 5)
    elif change == "no sums":
        del tensors["sums/loss"]
    else:
        meta |= {"n_steps": 10**9} if change == "another number of steps" else {}
        meta |= {"history": [1, 2]} if change == "history of numbers" else {}
        meta = {key: value for key, value in meta.items() if change != "no step" or key != "step"}
    for path in run.checkpoint_files():
        path.unlink()
    broken = Checkpoint(tensors, [meta] if change == "facts are a list" else meta)  # type: ignore[arg-type]
    write_checkpoint(run.file("checkpoint-00000009.safetensors"), broken)
    before = contents(run)
    with refused("checkpoint"):
        list(train(run, made_data()))
    assert contents(run) == before


@pytest.mark.parametrize(
    "facts",
    [
        {},
        {"model": None},
        {"model": "os.system('touch canary')"},
        {"model": "mlp(hidden=__import__('os').mkdir('canary'))"},
        {"model": "../../evil"},
        {"model": "mlp(hidden=(-3,))"},
        {"classes": 7},
        {"shape": ["a", "b", "c"]},
        {"mean": "many"},
        {"prepare": "evil.evil(x=1)"},
    ],
)
def test_names_in_a_checkpoint_run_nothing(
    facts: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    run = new_run(tmp_path / "runs")
    finish(run)
    checkpoint = run.checkpoint()
    changed = {**checkpoint.meta["classifier"], **facts} if facts else {}
    for path in run.checkpoint_files():
        path.unlink()
    meta = {**checkpoint.meta, "classifier": changed}
    write_checkpoint(run.file("checkpoint-00000009.safetensors"), Checkpoint(checkpoint.tensors, meta))
    with pytest.raises(PocketlensError) as caught:
        predict_with(run)
    assert str(caught.value).isprintable()
    assert sorted(os.listdir(tmp_path)) == ["runs"]


def predict_with(run: Run) -> None:
    from pocketlens.training.classifier import predict_logits

    predict_logits(load_classifier(run), made_data().images)
