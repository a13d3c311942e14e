"""The command line: mistakes end in one line and exit code 2; each command works, plainly and as JSON."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pocketlens.cli import COMMANDS, main
from pocketlens.display.screen import Screen, table

FAST = [
    "--model",
    "mlp",
    "--sizes",
    "100%",
    "--epochs",
    "2",
    "--batch-size",
    "256",
    "--optimizer",
    "sgd",
    "--lr",
    "0.1",
]
FAST += ["--augment", "none", "--threads", "1", "--device", "cpu"]

# Each mistake, and a word that the one line must hold. {tmp} is an empty folder with the files of `mistake_folder`.
MISTAKES: list[tuple[list[str], str]] = [
    (["trian", "digits"], "Did you mean 'train'"),
    (["--verbose", "train", "digits"], "--verbose"),
    (["train"], "DATASET must be given"),
    (["train", "digits", "extra"], "extra"),
    (["train", "digits", "--learning-rat", "1"], "--learning-rat"),
    (["train", "digits", "--batchsize", "64"], "did you mean '--batch-size'"),
    (["train", "digits", "--learning-rate", "1"], "did you mean '--lr'?"),
    (["train", "digits", "--momentum=0.9"], '--optimizer "sgd(momentum=0.9)"'),
    (["open", "{tmp}/absent"], "FOLDER must be a folder of runs"),
    (["open", "{tmp}/text.txt"], "is a file"),
    (["serve", "last", "--threshold", "1"], "--threshold must be"),
    (["train", "digitz"], "Did you mean 'digits'"),
    (["train", "digits(size=3)"], "no option 'size'"),
    (["train", "cifar100(labels=coarse)"], "literals"),
    (["train", "cifar100(labels="], "path that exists"),
    (["train", "{tmp}/absent"], "path that exists"),
    (["train", "{tmp}/text.txt"], ".npz"),
    (["train", "{tmp}/empty"], "empty"),
    (["train", "digits", "--data", "{tmp}/absent"], "--data"),
    (["train", "digits", "--runs", "{tmp}/text.txt"], "--runs"),
    (["train", "digits", "--runs", "{tmp}/text.txt/below"], "--runs"),
    (["train", "digits", "--lr", "fast"], "--lr must be a number"),
    (["train", "digits", "--lr", "nan"], "lr must be"),
    (["train", "digits", "--lr", "0"], "lr must be"),
    (["train", "digits", "--lr", "-1"], "lr must be"),
    (["train", "digits", "--epochs", "inf"], "epochs must be"),
    (["train", "digits", "--batch-size", "1.5"], "--batch-size must be a whole number"),
    (["train", "digits", "--batch-size", "0"], "batch_size must be"),
    (["train", "digits", "--batch-size", "9" * 400], "--batch-size must be a whole number"),
    (["train", "digits", "--weight-decay", "-0.1"], "weight_decay must be"),
    (["train", "digits", "--patience", "0"], "patience must be"),
    (["train", "digits", "--keep", "worst"], "last or best"),
    (["train", "digits", "--precision", "fp8"], "fp32 or bf16"),
    (["train", "digits", "--seed", "-1"], "--seed must be a whole number, 0 or more"),
    (["train", "digits", "--repeat", "0"], "--repeat must be a whole number, 1 or more"),
    (["train", "digits", "--val-fraction", "1"], "--val-fraction must be at least 0 and below 1"),
    (["train", "digits", "--val-fraction", "0", "--keep", "best"], "--val-fraction must be above 0"),
    (["train", "digits", "--minutes", "0"], "--minutes must be a number above 0"),
    (["train", "digits", "--minutes", "soon"], "--minutes must be a number"),
    (["train", "digits", "--threads", "0"], "--threads must be a whole number"),
    (["train", "digits", "--device", "tpu"], "auto, cpu, cuda, mps"),
    (["train", "digits", "--model", "lenz"], "Did you mean 'lens'"),
    (["train", "digits", "--model", "resnet(dept=18)"], "Did you mean 'depth'"),
    (["train", "digits", "--model", "resnet(depth=17)"], "17"),
    (["train", "digits", "--model", "__import__('os')"], "no '__import__'"),
    (["train", "digits", "--model", "mlp(print(1))"], "literals"),
    (["train", "digits", "--augment", "flip | crpo"], "Did you mean 'crop'"),
    (["train", "digits", "--augment", "flip crop"], "component text"),
    (["train", "digits", "--augment", "crop(pad=1, pad=2)"], "crop(pad=1, pad=2)"),
    (["train", "digits", "--augment", "crop(pad='wide')"], "crop: pad must be a whole number, got 'wide'"),
    (["train", "digits", "--augment", "crop(mode='wrap')"], "mode must be"),
    (["train", "digits", "--augment", "crop(pad=9)"], "pad must be below"),
    (["train", "digits", "--model", "mlp(hidden='wide')"], "mlp: hidden must be a whole number"),
    (["train", "digits", "--prepare", "resize(size=4)", "--model", "lens"], "at least 8 px"),
    (["train", "digits", "--optimizer", "sgd(momentum='much')"], "sgd: momentum must be a number, got 'much'"),
    (["train", "digits", "--optimizer", "adamm"], "Did you mean 'adam"),
    (["train", "digits", "--schedule", "cosin"], "Did you mean 'cosine'"),
    (["train", "digits", "--loss", "hinge"], "cross_entropy"),
    (["train", "digits", "--prepare", "resize(big)"], "literals"),
    (["train", "digits", "--sizes", "24:0.5 32:0.2"], "sizes"),
    (["train", "digits", "--sizes", "big"], "sizes"),
    (["train", "digits", "--recipe", "smal"], "Did you mean 'small'"),
    (["train", "digits", "--recipe", "{tmp}/broken.json"], "line 2"),
    (["train", "digits", "--recipe", "{tmp}/unknown.json"], "Did you mean 'batch_size'"),
    (["train", "digits", "--recipe", "{tmp}/nan.json"], "NaN"),
    (["train", "digits", "--recipe", "{tmp}/twice.json"], "'lr' occurs twice"),
    (["train", "digits", "--recipe", "{tmp}/text_number.json"], "lr must be float, got '1e-3'"),
    (["train", "digits", "--recipe", "{tmp}/list.json"], "JSON object"),
    (["train", "digits", "--recipe", "{tmp}"], "JSON"),
    (["train", "digits", "--start", "no-such-run"], "no-such-run"),
    (["auto"], "DATASET must be given"),
    (["auto", "digits", "--minutes", "-3"], "--minutes must be a number above 0"),
    (["auto", "nonsense"], "'nonsense' must be the name of a data set"),
    (["resume"], "RUN must be given"),
    (["resume", "last"], "run"),
    (["resume", "../../etc"], "run"),
    (["refit", "nothing"], "nothing"),
    (["test", "nothing"], "nothing"),
    (["test", "last", "--runs", "{tmp}/absent"], "absent"),
    (["report", "\x1b[2Jevil"], "\\x1b[2Jevil"),
    (["list", "model"], "models"),
    (["show"], "MODEL|RUN must be given"),
    (["show", "lenz"], "Did you mean 'lens'"),
    (["show", "resnet(depth=17)"], "17"),
    (["show", "lens", "--size", "32x"], "must be a side in px, like 32"),
    (["show", "lens", "--size", "0x0"], "must be a side in px, like 32"),
    (["show", "lens", "--channels", "0"], "--channels must be"),
    (["show", "lens", "--classes", "none"], "--classes must be a whole number"),
]


@pytest.fixture
def mistake_folder(tmp_path: Path) -> Path:
    texts = {
        "text.txt": "hello",
        "broken.json": '{"lr":\n 0.1,,}',
        "unknown.json": '{"batchsize": 64}',
        "nan.json": '{"lr": NaN}',
        "twice.json": '{"lr": 0.1, "lr": 0.2}',
        "text_number.json": '{"lr": "1e-3"}',
        "list.json": "[1, 2]",
    }
    for name, text in texts.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    (tmp_path / "empty").mkdir()
    return tmp_path


@pytest.mark.parametrize(("argv", "word"), MISTAKES, ids=[" ".join(argv)[:60] for argv, _ in MISTAKES])
def test_a_mistake_ends_in_one_line(
    argv: list[str],
    word: str,
    mistake_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(mistake_folder)
    code = main([part.replace("{tmp}", str(mistake_folder)) for part in argv])
    out, err = capsys.readouterr()
    assert code == 2
    assert err.startswith("pocketlens: ")
    assert err.count("\n") == 1
    assert word in err
    assert "Traceback" not in out + err
    assert "\x1b" not in out + err
    assert not (mistake_folder / "pocketlens-runs").exists(), "nothing is left behind"


def test_a_mistake_in_a_subprocess_too(tmp_path: Path) -> None:
    result = pocketlens(["train", "digits", "--lr", "fast"], tmp_path)
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.startswith("pocketlens: --lr must be a number, got 'fast'")
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([name, "--help"]) == 0
    out = capsys.readouterr().out
    assert 2 <= out.split("examples:")[1].count(f"pocketlens {name}") <= 3
    assert "--json" in out


def test_help_and_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    assert main(["--help"]) == 0
    assert main(["--version"]) == 0
    out = capsys.readouterr().out
    assert all(re.search(rf"^    {name}\s", out, re.MULTILINE) for name in COMMANDS)
    assert out.splitlines()[-1].startswith("pocketlens")


@pytest.mark.parametrize(
    ("kind", "some"),
    [
        ("datasets", "cifar100"),
        ("models", "lens"),
        ("augment", "cutmix"),
        ("operations", "resize"),
        ("optimizers", "muon"),
        ("schedules", "triangle"),
        ("losses", "cross_entropy"),
        ("recipes", "default"),
    ],
)
def test_list_names_what_there_is(kind: str, some: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", kind]) == 0
    assert some in capsys.readouterr().out
    items = json_of(["list", kind, "--json"], capsys)[kind]
    assert some in [item["name"] for item in items]


def test_show_model(capsys: pytest.CaptureFixture[str]) -> None:
    facts = json_of(["show", "mlp", "--size", "8", "--channels", "1", "--classes", "10", "--json"], capsys)
    assert facts["n_parameters"] == sum(layer["n_parameters"] for layer in facts["layers"])
    assert facts["layers"][-1]["shape"] == [10]
    assert main(["show", "resnet(depth=18)", "--classes", "100"]) == 0
    out = capsys.readouterr().out
    assert "multiply-adds" in out
    assert "11,2" in out  # millions of parameters


def test_the_way_of_a_person(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["train", "digits", *FAST, "--label", "first \x1b[31m"]) == 0
    out, err = capsys.readouterr()
    assert "\x1b" not in out + err, "no control codes where there is no terminal"
    assert "1/2" in out
    assert "2/2" in out
    assert "next: pocketlens test" in out
    run = json_of(["list", "runs", "--json"], capsys)["runs"][0]
    assert run["status"] == "complete"
    assert 0.5 < run["val_accuracy"] <= 1
    assert not run["tested"], "train never opens the test rows"

    tested = json_of(["test", "last", "--json"], capsys)
    assert tested["ledger"]["run"] == run["id"]
    assert tested["test"]["openings"] == 1
    assert main(["test", run["id"]]) == 0
    out = capsys.readouterr().out
    assert "opened 2 times" in out
    assert f"next: pocketlens report {run['id']}" in out

    report = json_of(["report", run["id"], "--json"], capsys)["report"]
    assert Path(report).read_text(encoding="utf-8").startswith("<!")
    assert json_of(["show", "last", "--json"], capsys)["report"] == report
    assert main(["show", run["path"]]) == 0
    out = capsys.readouterr().out
    assert "complete" in out
    assert "\x1b" not in out
    assert main(["list", "runs"]) == 0
    line = next(line for line in capsys.readouterr().out.splitlines() if line.startswith(run["id"]))
    assert f"{tested['test']['top1']['value']:.2%}" in line
    assert f"{run['val']['value']:.2%}" in line

    again = json_of(["resume", run["id"], "--json", "--threads", "1", "--device", "cpu"], capsys)
    assert again["status"] == "complete"
    refit = json_of(["refit", run["id"], "--json", "--threads", "1", "--device", "cpu"], capsys)
    assert refit["status"] == "complete"
    assert refit["val"] is None
    assert refit["id"] != run["id"]


def test_repeats_share_the_split_and_differ_in_their_seeds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["train", "digits", *FAST, "--repeat", "2", "--seed", "5"]) == 0
    assert "validation accuracy over 2 seeds" in capsys.readouterr().out
    runs = json_of(["list", "runs", "--json"], capsys)["runs"]
    assert [run["seed"] for run in runs] == [5, 6]
    assert len({run["recipe"] for run in runs}) == 1
    splits = [json.loads((Path(run["path"]) / "split.json").read_text(encoding="utf-8")) for run in runs]
    assert splits[0] == splits[1]


def test_a_run_that_diverges_is_kept_and_ends_with_3(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    code = main(["train", "digits", *FAST, "--lr", "1e20", "--json"])
    out, err = capsys.readouterr()
    assert code == 3
    assert "lr 1e+20" in err or "--lr" in err
    assert "Traceback" not in err
    assert [run["status"] for run in json.loads(out)["runs"]] == ["diverged"]
    assert [run["status"] for run in json_of(["list", "runs", "--json"], capsys)["runs"]] == ["diverged"]


def test_minutes_become_steps_before_the_first_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    argv = ["train", "digits", *FAST, "--epochs", "100000", "--minutes", "0.02", "--json"]
    result = json_of(argv, capsys)["runs"][0]
    experiment = json.loads((Path(result["path"]) / "experiment.json").read_text(encoding="utf-8"))
    assert experiment["minutes"] == 0.02
    assert experiment["n_steps"] == result["step"]


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_saves_and_resume_finishes(number: signal.Signals, code: int, tmp_path: Path) -> None:
    argv = [*FAST, "--epochs", "100000"]
    process = subprocess.Popen(
        [sys.executable, "-u", "-m", "pocketlens", "train", "digits", *argv],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(tmp_path),
    )
    assert process.stdout is not None
    for line in process.stdout:
        if "1/100000" in line:
            process.send_signal(number)
            break
    out, err = process.communicate(timeout=60)
    assert process.returncode == code, err
    assert "stopped after step" in out
    assert "continue with: pocketlens resume" in out
    listed = json.loads(pocketlens(["list", "runs", "--json"], tmp_path).stdout)["runs"]
    assert [run["status"] for run in listed] == ["stopped"]
    assert any((Path(tmp_path) / listed[0]["path"]).glob("checkpoint-*.safetensors"))


def test_a_second_control_c_within_a_second_ends_at_once(tmp_path: Path) -> None:
    snippet = (
        "import time\nfrom pocketlens.display.signals import stop_on_signals\n"
        "with stop_on_signals() as came:\n    print('ready', flush=True)\n"
        "    while True:\n        time.sleep(0.01)\n        came() and print('flagged', flush=True)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", snippet], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGINT)
    assert process.stdout.readline() == "flagged\n"  # the first one only sets the flag
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)  # the loop has no other end
    assert process.returncode == 130


def test_signals_are_given_back_after_the_loop() -> None:
    from pocketlens.display.signals import stop_on_signals

    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    with stop_on_signals() as came:
        assert came() is None
        os.kill(os.getpid(), signal.SIGTERM)
        assert came() == signal.SIGTERM
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before


@pytest.mark.slow
def test_a_bar_on_a_terminal(tmp_path: Path) -> None:
    """In a pseudo-terminal the bar is drawn; its control codes appear nowhere else."""
    import pty

    leader, follower = pty.openpty()
    command = [sys.executable, "-m", "pocketlens", "train", "digits", *FAST, "--epochs", "6"]
    process = subprocess.Popen(command, cwd=tmp_path, stdout=follower, stderr=follower, env=environment(tmp_path))
    os.close(follower)
    seen = b""
    while True:
        try:
            part = os.read(leader, 65536)
        except OSError:  # the other end is closed
            break
        if not part:
            break
        seen += part
    os.close(leader)
    assert process.wait(timeout=60) == 0
    assert b"\x1b[" in seen
    assert b"images/s" in seen
    assert b"6/6" in seen


def test_screen_shows_control_characters(capsys: pytest.CaptureFixture[str]) -> None:
    Screen().say("a\x1b[2Jb\nc\u202ed\udcffe")
    assert capsys.readouterr().out == "a\\x1b[2Jb\\nc\\u202ed\\xffe\n"
    Screen(as_json=True).say("a line")
    Screen(as_json=True).finish({"name": "\x9b\u202e", "bad": float("nan")})
    out, err = capsys.readouterr()
    assert err == "a line\n"
    assert out.isascii()
    assert json.loads(out) == {"name": "\x9b\u202e", "bad": None}


def test_tables() -> None:
    assert table([("a", "1"), ("bcd", "23")], ("name", "n")) == ["name   n", "a      1", "bcd   23"]


def test_the_first_word_of_a_broken_pipe(tmp_path: Path) -> None:
    command = f"{sys.executable} -m pocketlens list models | true; exit ${{PIPESTATUS[0]}}"
    result = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert "Traceback" not in result.stderr


def json_of(argv: list[str], capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    capsys.readouterr()
    code = main(argv)
    out, err = capsys.readouterr()
    assert code == 0, err
    value: dict[str, Any] = json.loads(out)
    return value


def pocketlens(argv: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pocketlens", *argv]
    return subprocess.run(command, capture_output=True, text=True, cwd=folder, env=environment(folder), check=False)


def environment(folder: Path) -> dict[str, str]:
    return {**os.environ, "POCKETLENS_HOME": str(folder / "home"), "OMP_NUM_THREADS": "1"}
