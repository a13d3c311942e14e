"""Components of one's own: they work like those of the rooms, their mistakes are one line, and no stored text runs."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from made_images import refused
from torch import nn

import pocketlens as pl
from pocketlens import own_code
from pocketlens.cli import main
from pocketlens.components import Component, parse_one, parse_pipe, signature_of
from pocketlens.errors import PocketlensError
from pocketlens.files import read_json, write_json
from pocketlens.literals import references
from pocketlens.own_code import CodeFile, CodeRecord, from_function, name_code, name_typed
from pocketlens.recipe import Recipe, parse_optimizer
from pocketlens.studies.overrides import read_variant
from pocketlens.training.checkpoint import Checkpoint, write_checkpoint

NET = '''
"""Nets of my own."""
from torch import nn

def net(shape, n_classes, *, depth: int = 1, name: str = "x"):
    """So many hidden layers."""
    height, width, channels = shape
    sizes = [height * width * channels, *([8] * depth)]
    layers = [part for a, b in zip(sizes, sizes[1:]) for part in (nn.Linear(a, b), nn.ReLU())]
    return nn.Sequential(nn.Flatten(), *layers, nn.Linear(sizes[-1], n_classes))

class Net(nn.Module):
    """One layer."""
    def __init__(self, shape, n_classes, width=4):
        super().__init__()
        height, columns, channels = shape
        self.flat, self.head = nn.Flatten(), nn.Linear(height * columns * channels, n_classes)

    def forward(self, x):
        return self.head(self.flat(x))

def fog(images, targets, draws, *, p: float = 0.5):
    mixed = (draws.uniform("fog") < p).float()[:, :, None, None]
    return images + mixed * (1 - images) * 0.5, targets
'''
MINE = NET + "# mine\n"
FAST = ["--recipe", "small", "--optimizer", "sgd", "--lr", "0.05", "--sizes", "100%", "--epochs", "1", "--threads", "1"]
FAST += ["--device", "cpu"]


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("POCKETLENS_HOME", str(tmp_path / "home"))
    Path("mynet.py").write_text(NET)
    own_code.forget_code()
    yield
    own_code.forget_code()
    for name in [name for name in sys.modules if name.startswith("pocketlens_own_")]:
        del sys.modules[name]


def train(*words: str) -> int:
    return main(["train", "digits", "--augment", "none", *FAST, *words])


def complaint(capsys: pytest.CaptureFixture[str], *argv: str) -> str:
    """The one line with which a command fails."""
    capsys.readouterr()
    assert main([*argv]) == 2
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1, said
    return said[0]


# ---- texts


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("mynet.py:net", [("mynet.py", "net")]),
        ("flip | mine.py:fog(p=0.3)", [("mine.py", "fog")]),
        ("a.py:f|b.py:g", [("a.py", "f"), ("b.py", "g")]),
        ("some/folder/mynet.py:net(depth=3)", [("some/folder/mynet.py", "net")]),
        (r"C:\some\new\mynet.py:net", [(r"C:\some\new\mynet.py", "net")]),
        ("'my folder/mynet.py':net(depth=3)", [("my folder/mynet.py", "net")]),
        (r"'C:\my folder\new.py' : net", [(r"C:\my folder\new.py", "net")]),
        ("<function>:net", [("<function>", "net")]),
        ("model=mynet.py:net; lr=0.1", [("mynet.py", "net")]),
        ("resnet(depth=18)", []),
        ("folder('a.py:b')", []),
        ("folder(path='mynet.py':net)", []),
        ("mynet.py", []),
        ("'mynet.py':net(", []),
    ],
)
def test_references_in_texts(text: str, found: list[tuple[str, str]]) -> None:
    assert [(each.file, each.name) for each in references(text)] == found


@pytest.mark.parametrize("file", ["mynet.py", "a/b.py", r"C:\x\n.py", "my folder/mynet.py", "it's.py", "a=b.py"])
def test_components_of_ones_own_are_written_as_they_are_read(file: str) -> None:
    written = Component("net", (("depth", 3),), file)
    assert parse_one(str(written), "models") == written
    assert parse_pipe(f"flip | {Component('fog', (), file)}", "augment")[1] == Component("fog", (), file)


def test_options_are_checked_without_running_the_file() -> None:
    Path("mynet.py").write_text(NET + "\nraise SystemExit('it ran')\n")
    name_typed("mynet.py:net")
    known = signature_of(parse_one("mynet.py:net(2)", "models"), "models")
    assert known is not None
    assert (known.inputs, dict(known.options)) == (("shape", "n_classes"), {"depth": 1, "name": "x"})
    assert known.about == "So many hidden layers."
    assert parse_one("mynet.py:net(2)", "models").options == (("depth", 2),)
    assert parse_one("mynet.py:Net(width=8)", "models").options == (("width", 8),)
    for text, room, part in [
        ("mynet.py:net(dept=2)", "models", "Did you mean 'depth'?"),
        ("mynet.py:net(depth='two')", "models", "depth must be a whole number"),
        ("mynet.py:nett", "models", "Did you mean 'net'?"),
        ("mynet.py:fog", "models", "fog must take (shape, n_classes, *, options), it takes (images, targets, draws)"),
        ("mynet.py:net", "augment", "must take (images, targets, draws, *, options)"),
        ("mynet.py:fog", "schedules", "must take (history, *, options), it takes (images, targets, draws)"),
    ][:-1]:
        with refused(part):
            parse_one(text, room)
    with refused("could not be imported: SystemExit in line"):
        own_code.load("mynet.py", "net")


def test_a_file_that_nobody_named_is_not_read() -> None:
    part = parse_one("mynet.py:nonsense(x=1)", "models")
    assert part == Component("nonsense", (("x", 1),), "mynet.py")
    assert signature_of(part, "models") is None
    assert parse_optimizer("sgd | mynet.py:damp")[1].name == "damp"
    assert Recipe(schedule="mynet.py:slope", loss="mynet.py:l").changed(model="mynet.py:net").id
    with refused("runs only when its file is named; add --code mynet.py"):
        own_code.load("mynet.py", "net")
    with refused("add --code mynet.py"):
        read_variant("model.depth=3", Recipe(model="mynet.py:net"))


def test_options_by_address() -> None:
    name_typed("mynet.py:net")
    base = Recipe(model="mynet.py:net", augment="flip | mynet.py:fog")
    assert read_variant("model.depth=3", base).recipe.model == "mynet.py:net(depth=3)"
    assert read_variant("augment.fog.p=0.1", base).recipe.augment == "flip | mynet.py:fog(p=0.1)"
    assert read_variant("model='mynet.py:Net'; lr=1", base).recipe.model == "mynet.py:Net"


def test_line_ends_change_no_hash() -> None:
    assert CodeFile("a.py", "a.py", "a\r\nb\r\n").hash == CodeFile("b.py", "b.py", "a\nb\n").hash
    assert CodeFile("x", "/a/my net (2).py", "").stored_name.startswith("my_net__2_-")


# ---- commands


@pytest.mark.slow
def test_a_model_and_an_augmentation_of_ones_own_from_training_to_prediction(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("my folder").mkdir()
    Path("my folder", "mine.py").write_text(MINE)
    augment = "crop(pad=1) | 'my folder/mine.py':fog(p=0.3)"
    assert train("--model", "mynet.py:net(depth=2)", "--augment", augment, "--label", "own") == 0
    said = capsys.readouterr().out
    assert "mynet.py:net(depth=2) with" in said
    assert "next: pocketlens test" in said
    assert '--code mynet.py --code "my folder/mine.py"' in said
    run = pl.Run.open("own", Path("pocketlens-runs"))
    files = [CodeFile("mynet.py", "mynet.py", NET), CodeFile("my folder/mine.py", "my folder/mine.py", MINE)]
    assert run.experiment.code == tuple(CodeRecord(file.key, file.hash) for file in files)
    kept = {path.name: path.read_text() for path in run.file("code").iterdir()}
    assert kept == {f"{name}-{file.hash}.py": file.text for name, file in zip(("mynet", "mine"), files, strict=True)}

    Path("picture.png").write_bytes(png())
    needs = {
        "test": ["test", "own"],
        "predict": ["predict", "own", "picture.png"],
        "export": ["export", "own", "--format", "safetensors", "--out", "model.safetensors"],
        "refit": ["refit", "own"],
        "explain": ["explain", "own"],
        "robustness": ["robustness", "own", "--rows", "5"],
    }
    for argv in needs.values():
        assert "mynet.py:net is your own code: it runs only when" in complaint(capsys, *argv)
    assert main(["report", "own"]) == main(["show", "own"]) == main(["list", "runs"]) == 0

    Path("elsewhere").mkdir()
    Path("elsewhere/mynet.py").write_text(NET.replace("\n", "\r\n"), newline="")
    code = ["--code", "elsewhere/mynet.py", "--code", "my folder/mine.py"]
    Path("mynet.py").unlink()
    for argv in (needs["predict"], needs["export"], needs["test"], ["report", "own"], ["resume", "own"]):
        assert main([*argv, *code]) == 0, argv
    assert "mynet.py:net is your own code" in complaint(capsys, "predict", "model.safetensors", "picture.png")
    assert main(["predict", "model.safetensors", "picture.png", *code]) == 0

    Path("elsewhere/mynet.py").write_text(NET + "# changed\n")
    before, after = (CodeFile("", "", text).hash for text in (NET, NET + "# changed\n"))
    others = ["resume", "own"], ["report", "own"], ["predict", "model.safetensors", "picture.png"]
    for argv in (*needs.values(), *others):
        said = complaint(capsys, *argv, *code)
        assert "has changed since" in said
        assert f"(hash {before} -> {after})" in said


def png() -> bytes:
    import io

    from PIL import Image

    file = io.BytesIO()
    Image.new("L", (8, 8)).save(file, "PNG")
    return file.getvalue()


def test_a_stopped_training_resumes_to_the_same_bytes_with_its_code() -> None:
    words = {"model": "mynet.py:net", "augment": "mynet.py:fog", "sizes": "100%", "optimizer": "sgd", "lr": 0.05}
    whole = pl.train("digits", recipe="small", epochs=2, threads=1, verbose=False, runs="whole", **words)
    from pocketlens.training.run_data import load_of
    from pocketlens.training.train import train as train_run

    run = pl.Run.create(whole.run.experiment, whole.run.split, Path("broken"))
    events = train_run(run, load_of(run)[0])
    next(event for event in events if isinstance(event, pl.Epoch))
    events.close()  # type: ignore[attr-defined]
    own_code.forget_code()
    with refused("add --code mynet.py"):
        pl.resume(run, verbose=False)
    pl.resume(pl.Run(run.path), code="mynet.py", threads=1, verbose=False)
    assert run.weights_hash() == whole.run.weights_hash()


MODELS = {
    "absent": ("absent.py:net", None, "absent.py must be a Python file that exists"),
    "no Python": ("bad.py:net", "def net(:", "bad.py must be Python, and is not: line 1"),
    "raises at import": (
        "bad.py:net",
        "import os\nos.no_such\ndef net(shape, n): ...",
        "bad.py could not be imported: AttributeError in line 2",
    ),
    "no such function": ("bad.py:net", "def ned(shape, n): ...", "has no function 'net' at its top. Did you mean"),
    "other inputs": ("bad.py:net", "def net(x, *, a=1): ...", "must take (shape, n_classes, *, options), it takes (x)"),
    "no literal": ("bad.py:net", "def net(shape, n, *, act=print): ...", "defaults of its options must be literals"),
    "no module": ("bad.py:net", "def net(shape, n): return 3", "must return an nn.Module, it returns int"),
    "raises": ("bad.py:net", "def net(shape, n): return {}['x']", "KeyError: 'x'"),
    "raises in forward": (
        "bad.py:net",
        "from torch import nn\nclass net(nn.Module):\n def __init__(self, shape, n):\n  super().__init__()\n"
        "  self.a = nn.Linear(1, 1)\n def forward(self, x):\n  raise NotImplementedError('later')",
        "NotImplementedError: later",
    ),
    "wrong shape": (
        "bad.py:net",
        "from torch import nn\ndef net(shape, n): return nn.Sequential(nn.Flatten(), nn.Linear(64, n + 1))",
        "must return logits (B, 10) for images (2, 1, 8, 8), it returns (2, 11) float32",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", MODELS)
def test_a_bad_model_is_one_line_before_the_first_step(case: str, capsys: pytest.CaptureFixture[str]) -> None:
    text, content, part = MODELS[case]
    if content is not None:
        Path("bad.py").write_text(content)
    assert part in complaint(capsys, "train", "digits", *FAST, "--augment", "none", "--model", text)
    assert not list(Path().glob("pocketlens-runs/*/status.json")), "nothing was begun"


OTHERS = {
    "augment": ("def x(images, targets, draws): return images", "must return images (2, 3, 128, 128)"),
    "augment, other size": (
        "def x(images, targets, draws): return images[:1], targets",
        "it returns ((1, 3, 128, 128)",
    ),
    "loss": ("def x(logits, targets): return logits.sum()", "must return a loss for each image, (B,) float32"),
    "schedule": ("def x(step, n_steps, steps_per_epoch): return 'fast'", "ValueError: could not convert"),
    "optimizer": ("def x(groups, lr): return groups", "must return a torch.optim.Optimizer, it returns (dict)"),
    "optimizer, behind": ("def x(classifier): return classifier", "must return a Modifier"),
    "prepare": ("def x(images): return images.sum()", "bad.py:x cannot work with these options and images"),
    "prepare, fewer": ("def x(images): return images[:1]", "must return images (N, C, H, W) float32"),
}


@pytest.mark.parametrize("case", OTHERS)
def test_other_components_that_return_something_else(case: str, capsys: pytest.CaptureFixture[str]) -> None:
    content, part = OTHERS[case]
    Path("bad.py").write_text(content)
    text = "sgd | bad.py:x" if case.endswith("behind") else "bad.py:x"
    words = [*FAST, "--augment", "none", "--model", "mlp", f"--{case.split(',')[0]}", text]
    assert part in complaint(capsys, "train", "digits", *words)


def test_all_kinds_of_components_can_be_ones_own() -> None:
    Path("all.py").write_text(
        "import torch\nfrom torch import nn\nfrom pocketlens.optimizers._modifier import Modifier\n"
        "def soft(logits, targets, *, scale=1.0):\n"
        "    return scale * -(targets * logits.log_softmax(1)).sum(1)\n"
        "def half(images): return images / 2\n"
        "def slope(step, n_steps, steps_per_epoch): return 1 - step / n_steps\n"
        "def back(history): return 1.0\n"
        "def plain(groups, lr, *, momentum=0.0):\n"
        "    return torch.optim.SGD(groups, lr, momentum=momentum)\n"
        "class nothing(Modifier):\n    def __init__(self, classifier):\n        super().__init__(classifier)\n"
    )
    words = ["--model", "mlp", "--loss", "all.py:soft(scale=2)", "--prepare", "all.py:half"]
    words += ["--optimizer", "all.py:plain(momentum=0.5) | all.py:nothing"]
    for schedule in ("all.py:slope", "all.py:back"):
        assert train(*words, "--schedule", schedule) == 0
    record = pl.Run.open("last", Path("pocketlens-runs")).experiment.code
    assert [each.file for each in record] == ["all.py"]


DATA = """
import numpy as np
from pocketlens.data.dataset import Dataset, hash_images
from pocketlens.datasets import Parts

def stripes(folders, *, n: int = 60):
    random = np.random.default_rng(0)
    labels = np.arange(n, dtype=np.int64) % 2
    images = random.integers(0, 100, (n, 8, 8, 1)).astype(np.uint8)
    images[labels == 1, :4] += 100
    return Parts(Dataset("stripes", images, labels, ("a", "b"), hash_images(images)), None)

def nothing(folders): return None
def broken(folders): raise OSError("no disk")
"""


def test_a_data_set_of_ones_own(capsys: pytest.CaptureFixture[str]) -> None:
    Path("mine.py").write_text(DATA)
    words = ["--model", "mlp", "--augment", "none", *FAST]
    assert main(["train", "mine.py:stripes(n=80)", *words]) == 0
    run = pl.Run.open("last", Path("pocketlens-runs"))
    assert run.experiment.data == "mine.py:stripes(n=80)"
    assert "mine.py:stripes is your own code" in complaint(capsys, "test", run.id)
    assert main(["test", run.id, "--code", "mine.py"]) == 0
    for text, part in {
        "mine.py:nothing": "must return Parts(development, test), got NoneType",
        "mine.py:broken": "mine.py:broken raised OSError: no disk",
        "mine.py:stripe": "Did you mean 'stripes'?",
        "absent.py:stripes": "absent.py must be a Python file that exists",
    }.items():
        assert part in complaint(capsys, "train", text, *words)


def test_show_and_the_range_of_rates(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", "mynet.py:net(depth=2)", "--size", "8", "--channels", "1", "--classes", "10"]) == 0
    assert "mynet.py:net(depth=2) for 8 x 8 x 1" in capsys.readouterr().out
    assert "Did you mean" in complaint(capsys, "show", "mynet.py:nett")
    words = ["--recipe", "small", "--optimizer", "sgd", "--sizes", "100%", "--threads", "1", "--device", "cpu"]
    assert main(["lr-range", "digits", "--model", "mynet.py:net", "--augment", "none", "--steps", "20", *words]) == 0


# ---- studies


@pytest.mark.slow
def test_a_study_passes_code_on_to_its_trials_and_needs_it_again(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--augment", "none", *FAST, "--repeat", "1"]
    assert main(["compare", "digits", "base", "model='mynet.py:net(depth=2)'", "--model", "mynet.py:Net", *words]) == 0
    folder = next(Path("pocketlens-runs/studies").iterdir())
    spec = read_json(folder / "study.json")
    assert spec["code"] == [{"file": "mynet.py", "hash": CodeFile("", "", NET).hash}]
    for trial in (folder / "trials").iterdir():
        assert list(trial.glob("code/mynet-*.py"))
    assert main(["study", "list"]) == 0
    assert "mynet.py is your own code" in complaint(capsys, "study", "last")
    assert main(["study", "last", "--code", "mynet.py"]) == 0
    Path("mynet.py").write_text(NET + "\n")
    assert f"the code of study {folder.name} has changed since" in complaint(
        capsys, "study", "last", "--code", "mynet.py"
    )


# ---- what is stored runs nothing


EVIL = "import pathlib\npathlib.Path({canary!r}).touch()\n" + NET


@pytest.fixture
def canary() -> Path:
    """A file that is there once the code of evil.py has run."""
    path = Path("canary").absolute()
    Path("evil.py").write_text(EVIL.format(canary=str(path)))
    return path


def stored_evil(capsys: pytest.CaptureFixture[str]) -> pl.Run:
    """A run whose folder names the path of a file that is there."""
    assert train("--model", "mynet.py:net") == 0
    run = pl.Run.open("last", Path("pocketlens-runs"))
    capsys.readouterr()
    evil = str(Path("evil.py").absolute())
    experiment = json.loads(run.file("experiment.json").read_text())
    experiment["recipe"]["model"] = experiment["recipe"]["loss"] = f"{evil}:net"
    experiment["code"] = [{"file": evil, "hash": CodeFile("", "", Path("evil.py").read_text()).hash}]
    write_json(run.file("experiment.json"), experiment)
    (run.file("code") / "evil.py").write_text(Path("evil.py").read_text())
    checkpoint = run.checkpoint()
    facts = {**checkpoint.meta["classifier"], "model": f"{evil}:net", "code": experiment["code"]}
    meta = {**checkpoint.meta, "classifier": facts}
    write_checkpoint(run.checkpoint_files()[-1], Checkpoint(checkpoint.tensors, meta))
    return pl.Run(run.path)


def test_no_stored_text_runs_a_file(canary: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = stored_evil(capsys)
    Path("picture.png").write_bytes(png())
    evil = str(Path("evil.py").absolute())
    write_json(Path("recipe.json"), {"model": f"{evil}:net", "sizes": "100%"})
    for argv in (
        ["predict", run.id, "picture.png"],
        ["test", run.id],
        ["refit", run.id],
        ["reproduce", run.id],
        ["export", run.id, "--format", "safetensors"],
        ["train", "digits", "--recipe", "recipe.json"],
        ["train", "digits", "--start", run.id, "--threads", "1"],
        ["train", "digits", "--recipe", str(run.file("experiment.json"))],
        ["compare", "digits", "recipe.json", "base", *FAST],
        ["search", "digits", "--space", "lr=choice(0.1,0.2)", "--recipe", "recipe.json"],
        ["transfer", run.id, "digits"],
        ["predict", run.id, "picture.png", "--code", "mynet.py"],
    ):
        said = complaint(capsys, *argv)
        assert "code" in said, said
    for argv in (["report", run.id], ["show", run.id], ["list", "runs"], ["report", run.id, "--code", "mynet.py"]):
        main(argv)
    assert not canary.exists()
    assert main(["train", "digits", "--model", f"{evil}:net", *FAST, "--augment", "none"]) == 0
    assert canary.exists(), "the canary sings where a person names the file"


def test_a_run_without_a_hash_is_refused_whatever_is_named(canary: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = stored_evil(capsys)
    experiment = json.loads(run.file("experiment.json").read_text())
    del experiment["code"]
    write_json(run.file("experiment.json"), experiment)
    assert "evil.py:net is your own code" in complaint(capsys, "refit", run.id, "--code", "evil.py")
    assert not canary.exists()


@pytest.mark.slow
def test_no_stored_study_runs_a_file(canary: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--augment", "none", *FAST, "--repeat", "1"]
    assert main(["compare", "digits", "base", "lr=0.1", "--model", "mynet.py:Net", *words]) == 0
    folder = next(Path("pocketlens-runs/studies").iterdir())
    shutil.rmtree(folder / "trials")
    (folder / "trials").mkdir()
    for path in (folder / "study.json", folder / "journal.jsonl"):
        lines = [line for line in path.read_text().splitlines(keepends=True) if '"ended"' not in line]
        path.write_text("".join(lines).replace("mynet.py", str(Path("evil.py").absolute())))
    spec = read_json(folder / "study.json")
    spec["code"][0]["hash"] = CodeFile("", "", Path("evil.py").read_text()).hash
    write_json(folder / "study.json", spec)
    assert "evil.py is your own code" in complaint(capsys, "study", "last", "--code", "mynet.py")
    write_json(folder / "study.json", {**spec, "code": []})
    assert main(["study", "last", "--code", "mynet.py"]) == 3
    assert "evil.py:Net is your own code" in capsys.readouterr().out
    assert not canary.exists()


@pytest.mark.parametrize("code", ["x", [1], [{"file": "a"}], [{"file": "a", "hash": 3}]])
def test_a_damaged_record_is_refused(code: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert train("--model", "mlp") == 0
    run = pl.Run.open("last", Path("pocketlens-runs"))
    write_json(run.file("experiment.json"), {**read_json(run.file("experiment.json")), "code": code})
    assert "code must be a list" in complaint(capsys, "test", run.id)


# ---- from Python


def in_a_notebook(source: str) -> ModuleType:
    """What a notebook defines: functions of a module without a file."""
    module = ModuleType("__notebook__")
    sys.modules["__notebook__"] = module
    exec(compile(source, "<cell 1>", "exec"), module.__dict__)
    return module


def of_a_test(shape: tuple[int, int, int], n_classes: int, *, width: int = 4) -> nn.Module:
    """A module of this file."""
    height, columns, channels = shape
    return nn.Sequential(nn.Flatten(), nn.Linear(height * columns * channels, width), nn.Linear(width, n_classes))


def test_the_texts_of_functions() -> None:
    from pocketlens.models.lens import lens

    assert from_function(lens) == "lens"
    text = from_function(of_a_test)
    (found,) = references(text)
    assert (Path(found.file).name, found.name) == ("test_own_code.py", "of_a_test")
    assert own_code.load(found.file, found.name) is of_a_test, "the file is not imported again"

    def inner(shape: Any, n_classes: Any, *, depth: int = 2) -> nn.Module:
        return nn.Identity()

    assert from_function(inner) == "<function>:inner"
    known = signature_of(parse_one("<function>:inner(depth=3)", "models"), "models")
    assert known is not None
    assert dict(known.options) == {"depth": 2}
    for wrong in (lambda shape, n: None, print, of_a_test.__call__):
        with refused("must be a function or a class with a name"):
            from_function(wrong)


def test_a_function_of_a_notebook_trains_and_must_be_given_again(capsys: pytest.CaptureFixture[str]) -> None:
    net = in_a_notebook(NET).net
    words = {"augment": "none", "sizes": "100%", "optimizer": "sgd", "lr": 0.05, "epochs": 1, "threads": 1}
    result = pl.train("digits", recipe="small", model=net, verbose=False, **words)
    assert result.run.experiment.recipe.model == "<function>:net"
    assert "--code" not in str(result), "no command can name it"
    Path("picture.png").write_bytes(png())
    assert len(pl.predict(result, "picture.png")) == 1
    assert pl.train("digits", recipe="small", model=of_a_test, verbose=False, **words).run.experiment.code
    with refused("<function>:net lives in no file"):
        pl.compare("digits", ["base", "lr=0.1"], model=net, repeat=1, verbose=False, recipe="small")
    own_code.forget_code()
    with refused("a function that lives in no file must be given again, code=net"):
        pl.predict(result, "picture.png")
    assert len(pl.predict(result, "picture.png", code=net)) == 1
    assert "code=net" in complaint(capsys, "test", result.run.id)


def test_a_file_that_is_edited_between_two_calls() -> None:
    words = {"recipe": "small", "augment": "none", "sizes": "100%", "epochs": 1, "threads": 1, "verbose": False}
    first = pl.train("digits", model="mynet.py:net", **words)
    Path("mynet.py").write_text(NET.replace("[8] * depth", "[6] * depth"))
    second = pl.train("digits", model="mynet.py:net", **words)
    sizes = [sum(p.numel() for p in pl.load_classifier(each.run).parameters()) for each in (first, second, first)]
    assert sizes[0] == sizes[2] != sizes[1], "each run has its own version of the file"
    own_code.forget_code()
    name_code("mynet.py")
    assert pl.load_classifier(second.run)
    with pytest.raises(PocketlensError, match="has changed since"):
        pl.load_classifier(first.run)


def test_two_files_of_one_name(tmp_path: Path) -> None:
    for folder, text in (("a", NET), ("b", NET + "\n")):
        Path(folder).mkdir()
        Path(folder, "mynet.py").write_text(text)
    name_code([Path("a/mynet.py"), "b/mynet.py"])
    with refused("--code must name one file called mynet.py, got 2 different ones"):
        own_code.load("mynet.py", "net")
