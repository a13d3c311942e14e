"""Runs everywhere Python does: what only POSIX has is never needed.

The simulation hides modules and functions that Windows lacks, in every process, and lets the command line train, run a
study, and predict. Without fcntl, filelock marks owners by files. What it cannot show are Windows' own locks, and its
refusal to replace files that are open or mapped: below, that refusal is played, and nothing may be mapped that is
replaced or removed.
"""

from __future__ import annotations

import ast
import errno
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from children import child, receive
from made_images import class_folder, random_images
from made_trainings import made_data, new_run
from PIL import Image

import pocketlens
from pocketlens import files
from pocketlens.data.images import SUFFIXES
from pocketlens.data.sources.cache import Key, Table, find, store
from pocketlens.data.sources.tree import scan
from pocketlens.studies import process
from pocketlens.training.checkpoint import Checkpoint, read_checkpoint, write_checkpoint

SOURCE = Path(pocketlens.__file__ or "").parent
POSIX = set("crypt curses fcntl grp nis posix pty pwd readline resource spwd syslog termios tty".split())
WINDOWS = {"msvcrt", "winreg", "_winapi", "winsound"}
# The two come first because their own files for Linux, which are not those for Windows, need what is hidden.
HIDDEN = f"""
import os, sys, platformdirs, psutil
for name in {sorted(POSIX - {"posix"})}:
    sys.modules[name] = None
for name in (
    "fork", "forkpty", "setsid", "getsid", "killpg", "getpgid", "setpgid", "set_blocking", "getuid",
    "geteuid", "getgid", "getegid", "getgroups", "sysconf", "sched_getaffinity", "sched_setaffinity", "fchmod",
    "fchown", "chown", "lchown", "getloadavg", "mkfifo", "mknod", "nice", "wait", "wait3", "wait4",
):
    if hasattr(os, name):
        delattr(os, name)
"""
STEPS = """
import importlib, json, pkgutil, sys
import pocketlens
from pocketlens.cli import main

assert sys.modules["fcntl"] is None and not hasattr(__import__("os"), "fork")
for module in pkgutil.walk_packages(pocketlens.__path__, "pocketlens."):
    if module.name != "pocketlens.__main__":
        importlib.import_module(module.name)
for argv in json.loads(sys.argv[1]):
    code = main(argv)
    assert code == 0, (argv, code)
"""
RECIPE = ["--recipe", "small", "--model", "mlp(hidden=(8,))", "--augment", "none", "--optimizer", "sgd", "--lr", "0.05"]
FORBIDDEN = re.compile(r'[<>:"\\|?*\x00-\x1f]|[. ]$')  # in names of files on Windows


def test_no_file_imports_a_module_of_one_system_at_its_top() -> None:
    for path in SOURCE.rglob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        inside = {id(node) for part in ast.walk(tree) if isinstance(part, ast.FunctionDef) for node in ast.walk(part)}
        for node in ast.walk(tree):
            names: list[str] = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            found = {name.split(".")[0] for name in names} & (POSIX | WINDOWS)
            assert not found or id(node) in inside, f"{path} imports {found} at its top"


@pytest.mark.slow
def test_trains_studies_and_predicts_without_what_only_posix_has(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(HIDDEN)
    data, picture = made_data(96), tmp_path / "picture.png"
    np.savez(tmp_path / "made.npz", images=data.images, labels=data.labels)
    Image.fromarray(data.images[0].squeeze()).save(picture)
    recipe = [*RECIPE, "--sizes", "100%", "--epochs", "1"]
    steps = [
        ["train", "made.npz", *recipe, "--device", "cpu"],
        ["compare", "made.npz", "base", "lr=0.1", "--repeat", "1", "--jobs", "2", "--trial-memory", "4", *recipe],
        ["predict", "last", str(picture)],
        ["list", "runs"],
    ]
    path = os.pathsep.join([str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = {**os.environ, "PYTHONPATH": path, "POCKETLENS_HOME": str(tmp_path / "home")}
    done = subprocess.run(
        [sys.executable, "-W", "ignore:only soft file lock", "-c", STEPS, json.dumps(steps)],
        cwd=tmp_path, env=environment, capture_output=True, text=True, check=False, timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    runs = tmp_path / "pocketlens-runs"
    ended = [json.loads(line) for line in next(runs.glob("studies/*/journal.jsonl")).read_text().splitlines()]
    assert [line["status"] for line in ended if line["event"] == "ended"] == ["complete"] * 2
    for log in runs.glob("studies/*/trials/*/trial.log"):
        assert "memory limit: 4000 MB" in log.read_text(), "a thread watches what no system limits"
    bad = [str(made) for made in (tmp_path / "home").rglob("*") if FORBIDDEN.search(made.name)]
    bad += [str(made) for made in runs.rglob("*") if FORBIDDEN.search(made.name)]
    assert not bad, "these names cannot stand on every system"
    assert not list(runs.rglob("*.held")), "what marked an owner goes with it"


# ---- what Windows does with files


def refuse_n_times(monkeypatch: pytest.MonkeyPatch, name: str, n: int) -> list[str]:
    """Lets a function of `os` refuse, because somebody else has the file open; gives what was tried."""
    real, tried = getattr(os, name), []

    def refuse(path: Any, *more: Any, **options: Any) -> Any:
        tried.append(str(path))
        if len(tried) <= n:
            raise PermissionError(errno.EACCES, "in use by another process")
        return real(path, *more, **options)

    monkeypatch.setattr(os, name, refuse)
    return tried


def test_a_file_that_somebody_reads_is_replaced_as_soon_as_it_is_free(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "status.json"
    files.write_json(path, 1)
    tried = refuse_n_times(monkeypatch, "replace", 3)
    with pytest.raises(PermissionError):
        files.write_json(path, 2)
    assert len(tried) == 1, "on POSIX a refusal is final"
    monkeypatch.setattr(files, "_SHARES_FILES", False)
    files.write_json(path, 3)
    assert (files.read_json(path), len(tried)) == (3, 4)
    assert os.listdir(tmp_path) == ["status.json"]


def test_a_file_that_stays_open_is_removed_another_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "checkpoint-00000001.safetensors"
    path.write_text("old")
    monkeypatch.setattr(files, "_SHARES_FILES", False)
    monkeypatch.setattr(files, "_PATIENCE", 0.05)
    refuse_n_times(monkeypatch, "unlink", 10**6)
    files.remove_file(path)
    assert path.exists()
    monkeypatch.undo()
    files.remove_file(path)
    assert not path.exists()
    files.remove_file(path)


def mapped(folder: Path) -> list[str]:
    """The files below a folder that this process has mapped."""
    lines = Path("/proc/self/maps").read_text().splitlines()
    return [Path(line.split(maxsplit=5)[5]).name for line in lines if f" {folder}{os.sep}" in line]


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="only Linux tells what is mapped")
def test_nothing_is_mapped_that_is_replaced_or_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POCKETLENS_HOME", str(tmp_path))
    checkpoint = Checkpoint({"weights/a": torch.ones(5000)}, {"step": 1})
    write_checkpoint(tmp_path / "a.safetensors", checkpoint)
    read = read_checkpoint(tmp_path / "a.safetensors")
    assert (read.tensors["weights/a"] == 1).all()
    assert mapped(tmp_path) == []
    (tmp_path / "source").write_bytes(b"x")
    seen: list[list[str]] = []
    for name in ("replace", "rename", "rmdir"):
        real = getattr(os, name)
        monkeypatch.setattr(os, name, lambda *a, real=real, **o: (seen.append(mapped(tmp_path)), real(*a, **o))[1])
    key = Key((tmp_path / "source",), "test")
    table = Table(
        {"labels": np.arange(40, dtype=np.int64) % 2}, ("a", "b")
    )  # its test rows are put last: a second file
    entry = store(key, iter([random_images(40)]), table)
    assert seen, "files were replaced and the folder renamed"
    assert not any(seen)
    assert mapped(tmp_path) == ["images.npy"], "the entry that is there is mapped, which this test can see"
    del entry
    meta = next((tmp_path / "cache" / "decoded").glob("*/meta.json"))
    meta.write_text(meta.read_text().replace('"n": 40', '"n": 41'))
    assert find(key) is None
    assert not any(seen), "a broken entry is closed before it is removed"
    assert not meta.parent.exists()


def test_files_are_told_apart_where_a_listing_knows_no_numbers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Entry:
        """Of Windows: `stat` of an entry has neither device nor number."""

        def __init__(self, entry: os.DirEntry[str]) -> None:
            self.name, self.path = entry.name, entry.path
            self.is_symlink, self.is_dir, self.is_file = entry.is_symlink, entry.is_dir, entry.is_file

        def stat(self) -> os.stat_result:
            return os.stat_result([0] * 10)

    class_folder(tmp_path / "images", {"a": 3, "b": 2})
    real = os.scandir
    with monkeypatch.context() as patched:
        patched.setattr(os, "scandir", lambda path: [Entry(entry) for entry in real(path)])
        found = scan(tmp_path / "images", suffixes=SUFFIXES)
    assert len(found.paths) == 5


def test_files_on_several_drives_have_a_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a", "b"):
        (tmp_path / name).write_text(name)

    def refuse(paths: list[str]) -> str:
        raise ValueError("Paths don't have the same drive")

    monkeypatch.setattr(os.path, "commonpath", refuse)
    keys = [Key((tmp_path / "a", tmp_path / "b"), how).content for how in ("x", "x", "y")]
    assert (keys[0] == keys[1], keys[0] == keys[2]) == (True, False)


def test_folders_need_no_sync_on_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "win32")
    files.sync_folder(Path("/nowhere"))


# ---- trials


def take_memory(pipe: Any, folder: Path) -> None:
    sys.stdout = open(folder / "trial.log", "w", encoding="utf-8")  # noqa: SIM115
    process.find_spec = lambda name: None  # type: ignore[assignment, attr-defined]
    process._limit_memory(50_000_000)
    pipe.send("watched")
    taken = [np.ones(10_000_000, np.uint8) for _ in range(10)]
    pipe.poll(600)
    del taken


def test_a_trial_ends_itself_where_the_system_limits_no_memory(tmp_path: Path) -> None:
    run = new_run(tmp_path)
    with child(take_memory, run.path) as (taking, pipe):
        assert receive(pipe) == "watched"
        taking.join(60)
        assert taking.exitcode == 1
    ending = process.read_outcome(run, 1)
    assert ending.status == "out of memory"
    assert "above its limit" in ending.reason


def test_only_linux_forks_a_server(monkeypatch: pytest.MonkeyPatch) -> None:
    assert process._has_forkserver()
    for platform in ("darwin", "win32"):
        monkeypatch.setattr(sys, "platform", platform)
        assert not process._has_forkserver()
    monkeypatch.undo()
    monkeypatch.delattr(os, "fork")
    assert not process._has_forkserver()
