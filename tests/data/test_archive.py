"""Archives: nothing is written outside the folder, and what is refused leaves nothing inside it."""

from __future__ import annotations

import gzip
import io
import os
import subprocess
import sys
import tarfile
import time
import zipfile
from pathlib import Path

import pytest
from made_images import refused

from pocketlens.data.sources.archive import Limits, unpack


def tar(path: Path, *members: tuple[str, bytes, str], mode: str = "w:gz") -> Path:
    """A tar of (name, type, content or link target)."""
    with tarfile.open(path, mode) as bundle:
        for name, kind, content in members:
            info = tarfile.TarInfo(name)
            info.type = kind
            if kind in (tarfile.SYMTYPE, tarfile.LNKTYPE):
                info.linkname = content
                bundle.addfile(info)
            else:
                data = content.encode()
                info.size = len(data) if kind == tarfile.REGTYPE else 0
                bundle.addfile(info, io.BytesIO(data))
    return path


def zipped(path: Path, *members: tuple[str, str]) -> Path:
    with zipfile.ZipFile(path, "w") as bundle:
        for name, content in members:
            info = zipfile.ZipInfo("x")
            info.filename = name
            bundle.writestr(info, content)
    return path


def everything(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
def test_a_good_tar_is_unpacked(tmp_path: Path, mode: str) -> None:
    archive = tar(
        tmp_path / "good.tar.gz", ("./a/", tarfile.DIRTYPE, ""), ("a/b.txt", tarfile.REGTYPE, "hello"), mode=mode
    )
    unpack(archive, tmp_path / "out")
    assert (tmp_path / "out" / "a" / "b.txt").read_text() == "hello"
    assert everything(tmp_path) == {"good.tar.gz", "out", "out/a", "out/a/b.txt"}


def test_many_members_of_odd_sizes_are_whole(tmp_path: Path) -> None:
    sizes = [0, 1, 511, 512, 513, 1024, 70_000, 3_000_000]
    members = [(f"f{size}", tarfile.REGTYPE, "x" * size) for size in sizes]
    unpack(tar(tmp_path / "a.tar.gz", *members), tmp_path / "out")
    assert [(tmp_path / "out" / f"f{size}").stat().st_size for size in sizes] == sizes
    unpack(tmp_path / "a.tar.gz", tmp_path / "some", only=("f513", "f70000"))
    assert everything(tmp_path / "some") == {"f513", "f70000"}


def test_zip_and_gz_are_unpacked(tmp_path: Path) -> None:
    unpack(zipped(tmp_path / "a.zip", ("x/", ""), ("x/y.txt", "hi")), tmp_path / "z")
    assert (tmp_path / "z" / "x" / "y.txt").read_text() == "hi"
    (tmp_path / "t.txt.gz").write_bytes(gzip.compress(b"plain"))
    unpack(tmp_path / "t.txt.gz", tmp_path / "g")
    assert (tmp_path / "g" / "t.txt").read_bytes() == b"plain"


GOOD = ("good.txt", tarfile.REGTYPE, "good")
HOSTILE_TARS = {
    "dotdot": [("../evil", tarfile.REGTYPE, "x")],
    "deep dotdot": [("a/../../evil", tarfile.REGTYPE, "x")],
    "absolute": [("/tmp/evil", tarfile.REGTYPE, "x")],
    "link then write": [("link", tarfile.SYMTYPE, ".."), ("link/evil", tarfile.REGTYPE, "x")],
    "hard link out": [("hard", tarfile.LNKTYPE, "../outside.txt")],
    "fifo": [("pipe", tarfile.FIFOTYPE, "")],
    "device": [("null", tarfile.CHRTYPE, "")],
    "twice": [("a", tarfile.REGTYPE, "1"), ("a", tarfile.REGTYPE, "2")],
    "case": [("A/x", tarfile.REGTYPE, "1"), ("a/y", tarfile.REGTYPE, "2")],
    "file and folder": [("a", tarfile.REGTYPE, "1"), ("a/b", tarfile.REGTYPE, "2")],
    "long name": [("n" * 300, tarfile.REGTYPE, "1")],
    "control bytes": [("../\x1b[2Jevil\n", tarfile.REGTYPE, "1")],
}


@pytest.mark.parametrize("case", sorted(HOSTILE_TARS))
def test_hostile_tars_leave_nothing(tmp_path: Path, case: str) -> None:
    (tmp_path / "outside.txt").write_text("safe")
    archive = tar(tmp_path / "evil.tar.gz", GOOD, *HOSTILE_TARS[case])
    with refused("evil.tar.gz", "refused"):
        unpack(archive, tmp_path / "out" / "here")
    assert everything(tmp_path) == {"evil.tar.gz", "outside.txt", "out"}
    assert (tmp_path / "outside.txt").read_text() == "safe"
    assert not Path("/tmp/evil").exists()


HOSTILE_ZIPS = {
    "dotdot": [("../evil", "x")],
    "absolute": [("/tmp/evil", "x")],
    "backslash": [("..\\evil", "x")],
    "drive": [("C:evil", "x")],
    "twice": [("a.txt", "1"), ("a.txt", "2")],
    "case": [("a.txt", "1"), ("A.TXT", "2")],
}


@pytest.mark.parametrize("case", sorted(HOSTILE_ZIPS))
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_hostile_zips_leave_nothing(tmp_path: Path, case: str) -> None:
    archive = zipped(tmp_path / "evil.zip", ("good.txt", "good"), *HOSTILE_ZIPS[case])
    with refused("evil.zip", "refused"):
        unpack(archive, tmp_path / "out")
    assert everything(tmp_path) == {"evil.zip"}


def test_a_link_in_a_zip_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "l.zip", "w") as bundle:
        info = zipfile.ZipInfo("link")
        info.external_attr = 0o120777 << 16
        bundle.writestr(info, "/etc/passwd")
    with refused("neither a file nor a folder"):
        unpack(tmp_path / "l.zip", tmp_path / "out")


@pytest.mark.parametrize("kind", ["gz", "tar.gz", "zip", "header.tar.gz"])
def test_bombs_stop_at_the_limit(tmp_path: Path, kind: str) -> None:
    n, limit = 64 * 2**20, Limits(total=2**30, ratio=10, ratio_above=2**20)
    archive = tmp_path / f"bomb.{kind}"
    if kind == "gz":
        archive.write_bytes(gzip.compress(bytes(n), 1))
    elif kind == "zip":
        with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as bundle:
            bundle.writestr("zeros", bytes(n))
    else:
        with tarfile.open(archive, "w:gz", compresslevel=1, format=tarfile.PAX_FORMAT) as bundle:
            info = tarfile.TarInfo("zeros")
            info.size = n
            if kind == "header.tar.gz":
                info.type = tarfile.XHDTYPE
            bundle.addfile(info, io.BytesIO(bytes(n)))
    start = time.process_time()
    with refused("bomb"):
        unpack(archive, tmp_path / "out", limits=limit)
    assert time.process_time() - start < 2
    assert everything(tmp_path) == {archive.name}


def test_too_many_members_and_too_many_bytes_are_refused(tmp_path: Path) -> None:
    archive = tar(tmp_path / "many.tar", *[(f"f{i}", tarfile.REGTYPE, "x" * 1000) for i in range(50)], mode="w")
    with refused("more than 20 members"):
        unpack(archive, tmp_path / "out", limits=Limits(members=20))
    with refused("more than 9999 bytes"):
        unpack(archive, tmp_path / "out", limits=Limits(total=9999))
    assert everything(tmp_path) == {"many.tar"}


def test_an_archive_inside_stays_a_file(tmp_path: Path) -> None:
    zipped(tmp_path / "inner.zip", ("a", "b"))
    with zipfile.ZipFile(tmp_path / "outer.zip", "w") as bundle:
        bundle.write(tmp_path / "inner.zip", "inner.zip")
    unpack(tmp_path / "outer.zip", tmp_path / "out")
    assert everything(tmp_path / "out") == {"inner.zip"}


@pytest.mark.parametrize("share", [0.3, 0.6, 0.95])
@pytest.mark.parametrize("name", ["a.tar.gz", "a.zip", "a.tar"])
def test_cut_archives_leave_nothing(tmp_path: Path, name: str, share: float) -> None:
    content = os.urandom(3000).hex()
    if name == "a.zip":
        zipped(tmp_path / name, ("x", content), ("y", content))
    else:
        members = (("x", tarfile.REGTYPE, content), ("y", tarfile.REGTYPE, content))
        tar(tmp_path / name, *members, mode="w:gz" if name.endswith("gz") else "w")
    data = (tmp_path / name).read_bytes()
    end = len(data) if name.endswith(("gz", "zip")) else 2 * 6656  # without the padding at the end of a plain tar
    (tmp_path / name).write_bytes(data[: int(end * share)])
    with refused(name):
        unpack(tmp_path / name, tmp_path / "out")
    assert everything(tmp_path) == {name}


def test_killed_while_unpacking_the_next_start_unpacks_anew(tmp_path: Path) -> None:
    tar(tmp_path / "a.tar.gz", *[(f"f{i}", tarfile.REGTYPE, "x" * 1000) for i in range(40)])
    program = (
        "import os, signal, sys\nfrom pathlib import Path\nfrom pocketlens.data.sources import archive\n"
        "add, calls = archive._Writer.add, []\n"
        "def killing(self, *rest):\n"
        "    calls.append(1)\n"
        "    if len(calls) == 20: os.kill(os.getpid(), signal.SIGKILL)\n"
        "    return add(self, *rest)\n"
        "archive._Writer.add = killing\n"
        "archive.unpack(Path(sys.argv[1]), Path(sys.argv[2]))\n"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "a.tar.gz"), str(tmp_path / "out")]
    assert subprocess.run(command, check=False).returncode == -9
    assert not (tmp_path / "out").exists()
    unpack(tmp_path / "a.tar.gz", tmp_path / "out")
    assert len(everything(tmp_path / "out")) == 40
