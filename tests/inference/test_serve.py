"""The local server, asked over real connections: good pictures, bad requests, crowds, and hangers-on."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import json
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from browser import browser
from made_images import encoded, random_images, refused
from made_predictors import made_predictor, save_model, strict
from made_runs import make_dataset, make_run
from PIL import Image
from test_images import bomb

from pocketlens.api.serve import ServeRequest
from pocketlens.cli import main
from pocketlens.data.fit import FITS, fit_picture
from pocketlens.data.images import DecodeOptions, map_images
from pocketlens.inference.predict import compute_logits, read_picture
from pocketlens.inference.serve import Guard, Limits, app, guard, is_loopback, listen, make_server
from pocketlens.inference.serve.demo import Demo, Sample, read_demo
from pocketlens.inference.serve.page import policy
from pocketlens.scoring.predictions import PICTURES, Pictures, write_pictures

PATIENCE = 20.0  # seconds after which a test gives up; machines may be busy


@contextlib.contextmanager
def served(predictor: Any = None, host: str = "127.0.0.1", token: str = "", **limits: Any) -> Iterator[int]:
    """The port of a server in a thread."""
    demo = limits.pop("demo", None)
    with listen("127.0.0.1", 0) as listener:
        server = make_server(predictor or made_predictor(), Guard(host, token), limits=Limits(**limits), demo=demo)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            server.should_exit = True
            thread.join(PATIENCE)
            assert not thread.is_alive(), "the server does not stop"


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    guard.DRAIN_SECONDS = 0.2
    with served(body=1_000_000, form=1_000_000, seconds=0.5) as port:
        yield port


def connect(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)


def ask(port: int, head: str, body: bytes = b"") -> tuple[int, dict[str, str], bytes]:
    """Sends raw bytes and reads the answer until the server hangs up."""
    with connect(port) as connection:
        connection.sendall(head.replace("\n", "\r\n").encode() + b"\r\n\r\n" + body)
        return answer(connection)


def answer(connection: socket.socket) -> tuple[int, dict[str, str], bytes]:
    received = b""
    while part := connection.recv(65536):
        received += part
    head, _, body = received.partition(b"\r\n\r\n")
    status, *lines = head.decode().split("\r\n")
    pairs = (line.split(": ", 1) for line in lines)
    return int(status.split(" ")[1]), {name.lower(): value for name, value in pairs}, body


def post(port: int, body: bytes, *lines: str, host: str = "127.0.0.1") -> tuple[int, dict[str, str], bytes]:
    head = ["POST /api/predict HTTP/1.1", f"Host: {host}:{port}", "Connection: close", *lines]
    if not any(line.lower().startswith(("content-length", "transfer-encoding")) for line in lines):
        head.append(f"Content-Length: {len(body)}")
    return ask(port, "\n".join(head), body)


def get(port: int, path: str, host: str = "localhost") -> tuple[int, dict[str, str], bytes]:
    return ask(port, f"GET {path} HTTP/1.1\nHost: {host}\nConnection: close")


GOOD = encoded(random_images(1, (12, 12, 3))[0])


def assert_good(port: int) -> dict[str, Any]:
    status, _, body = post(port, GOOD)
    assert status == 200, body
    return json.loads(body)


def test_a_picture_gets_its_classes_as_predict_gives_them(port: int) -> None:
    predictor = made_predictor()
    (picture,) = map_images(lambda source: read_picture(predictor, source), [GOOD])
    wanted = predictor.probabilities(compute_logits(predictor, picture.pixels[None], "cpu"))[0]
    value = assert_good(port)
    assert value["calibrated"] is True
    assert value["calibration"].startswith("calibrated: temperature 1.700")
    assert value["unfamiliar"] is None
    found = {pair["class"]: pair["probability"] for pair in value["classes"]}
    assert found == pytest.approx(dict(zip(predictor.classifier.classes, wanted, strict=True)), abs=1e-9)
    assert list(found.values()) == sorted(found.values(), reverse=True)


@pytest.mark.parametrize("fit", FITS)
def test_a_picture_of_another_shape_is_fitted_as_in_training(fit: str) -> None:
    image = random_images(1, (20, 60, 3))[0]
    predictor = made_predictor(fit=fit)
    wanted = predictor.probabilities(compute_logits(predictor, fit_picture(image, 12, 12, fit)[None], "cpu"))[0]
    with served(predictor) as port:
        status, _, body = post(port, encoded(image))
    assert status == 200
    found = {pair["class"]: pair["probability"] for pair in json.loads(body)["classes"]}
    assert found == pytest.approx(dict(zip(predictor.classifier.classes, wanted, strict=True)), abs=1e-9)


def test_a_picture_unlike_anything_in_training_is_marked() -> None:
    for threshold, said in ((-1e9, True), (1e9, False)):
        with served(strict(made_predictor(), threshold)) as port:
            value = assert_good(port)
            page = get(port, "/")[2].decode()
        assert value["unfamiliar"] is said
        assert ("unlike anything in training" in value["notes"]) is said
        assert "marked as unlike anything in training" in page


def test_health_and_page(port: int) -> None:
    assert json.loads(get(port, "/health")[2]) == {"status": "ok", "model": "made", "classes": 4}
    status, headers, body = get(port, "/")
    assert status == 200
    assert headers["content-security-policy"] == policy()
    assert "unsafe" not in policy()
    assert b"http://" not in body
    assert b"https://" not in body


def test_names_reach_the_page_as_text() -> None:
    bad = '<script>alert(1)</script>"{{7*7}}'
    with served(made_predictor(classes=[bad, "b", "c", "d"])) as port:
        page = get(port, "/")[2].decode()
        found = {pair["class"] for pair in assert_good(port)["classes"]}
    assert bad in found
    assert "<script>alert" not in page
    assert "{{7*7}}" in page
    assert page.count("<script") == 1


@pytest.mark.parametrize(
    ("lines", "status"),
    [
        (["Content-Length: 1000001"], 413),
        (["Content-Length: 99999999999999999999"], 413),
        (["Transfer-Encoding: chunked"], 411),
        (["X-Nothing: 1", "Content-Length:"], 400),
        (["Content-Length: -5"], 400),
        (["Content-Length: 5x"], 400),
        (["Content-Length: 5", "Content-Length: 6"], 400),
        (["Origin: http://evil.example"], 403),
        (["Origin: null"], 403),
        (["Content-Type: multipart/form-data; boundary=x"], 400),
        (["Content-Type: multipart/form-data"], 400),
    ],
    ids=str,
)
def test_bad_requests(port: int, lines: list[str], status: int) -> None:
    found, headers, body = post(port, b"", *lines)
    assert found == status, body
    assert headers["connection"] == "close"
    assert_good(port)


def test_a_body_that_is_too_large_and_comes_all_the_same_is_413(port: int) -> None:
    status, _, body = post(port, bytes(1_100_000))
    assert status == 413
    assert "at most 1 MB, this one has 1.1 MB" in json.loads(body)["error"]


def test_no_length_at_all_is_411(port: int) -> None:
    assert ask(port, f"POST /api/predict HTTP/1.1\nHost: 127.0.0.1:{port}\nConnection: close")[0] == 411


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "", "[", "192.168.1.5"])
def test_other_names_are_403(port: int, host: str) -> None:
    assert post(port, GOOD, host=host)[0] == 403
    assert get(port, "/", host)[0] == 403


def test_our_names_are_answered(port: int) -> None:
    for host in ("127.0.0.1", "localhost", "LOCALHOST", "[::1]"):
        assert get(port, "/health", f"{host}:{port}")[0] == 200
    assert post(port, GOOD, f"Origin: http://127.0.0.1:{port}")[0] == 200


def test_a_server_for_all_addresses_takes_numbers_but_no_foreign_name() -> None:
    with served(host="0.0.0.0") as port:
        assert get(port, "/health", "192.168.1.5:80")[0] == 200
        assert get(port, "/health", "evil.example")[0] == 403


@pytest.mark.parametrize(
    "path", ["/../etc/passwd", "/api/../../etc/passwd", "/%2e%2e/%2e%2e/etc/passwd", "/samples/0.png", "//"]
)
def test_other_paths_are_404(port: int, path: str) -> None:
    status, _, body = get(port, path)
    assert status == 404
    assert "error" in json.loads(body)


def test_another_method_is_405(port: int) -> None:
    assert get(port, "/api/predict")[0] == 405


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "empty"),
        (b"not a picture", "it is not one of"),
        (GOOD[: len(GOOD) // 2], "cannot be read"),
        (bomb(20_000), "400 Mpx > 25 Mpx"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n", "it is EPS, not one of"),
    ],
    ids=["empty", "text", "half", "bomb", "EPS"],
)
def test_bad_pictures_are_422(port: int, body: bytes, reason: str) -> None:
    status, _, said = post(port, body)
    assert status == 422
    assert reason in json.loads(said)["error"]
    assert_good(port)


def test_a_slow_picture_is_408_and_stops_nobody(port: int) -> None:
    with connect(port) as slow:
        slow.sendall(f"POST /api/predict HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Length: 50\r\n\r\nab".encode())
        assert_good(port)
        status, headers, body = answer(slow)
    assert status == 408
    assert headers["connection"] == "close"
    assert "0.5 seconds" in json.loads(body)["error"]


def test_who_leaves_in_the_middle_leaves_nothing_behind() -> None:
    with served(held=2 * len(GOOD)) as port:
        for _ in range(5):
            with connect(port) as gone:
                gone.sendall(
                    f"POST /api/predict HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Length: 99\r\n\r\n".encode()
                    + b"x" * 90
                )
        time.sleep(0.1)
        assert_good(port)


def test_a_crowd_gets_503_with_retry_after_and_the_queue_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    original = app.compute_logits

    def slowly(*args: Any) -> Any:
        time.sleep(0.02)
        return original(*args)

    monkeypatch.setattr(app, "compute_logits", slowly)
    with served(waiting=4) as port:
        with ThreadPoolExecutor(100) as crowd:
            answers = list(crowd.map(lambda _: post(port, GOOD), range(100)))
        statuses = [status for status, _, _ in answers]
        assert set(statuses) == {200, 503}
        assert all(headers["retry-after"] == "1" for status, headers, _ in answers if status == 503)
        assert_good(port)


def test_too_many_bytes_at_once_are_503() -> None:
    with served(held=10) as port:
        status, headers, _ = post(port, GOOD)
        assert (status, headers["retry-after"]) == (503, "1")


def test_silent_connections_are_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pocketlens.inference.serve.server.HEADER_SECONDS", 0.2)
    with served() as port, connect(port) as silent, connect(port) as halting:
        halting.sendall(b"GET / HT")
        assert silent.recv(100) == b""
        assert halting.recv(100) == b""
        assert_good(port)


@pytest.mark.slow
def test_a_thousand_idle_connections_stop_nobody() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < 3000:
        pytest.skip("needs a limit of 3,000 open files")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 3000), hard))
    try:
        with served() as port, contextlib.ExitStack() as stack:
            idle = [stack.enter_context(connect(port)) for _ in range(1000)]
            assert_good(port)
            assert len(idle) == 1000
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_taken_port_is_one_line() -> None:
    with listen("127.0.0.1", 0) as first:
        taken = first.getsockname()[1]
        with refused("--port 0", str(taken)):
            listen("127.0.0.1", taken)
    with refused("192.0.2.1"):
        listen("192.0.2.1", 0)


def test_which_addresses_only_this_machine_reaches() -> None:
    assert all(is_loopback(host) for host in ("127.0.0.1", "127.9.9.9", "localhost", "::1"))
    assert not any(is_loopback(host) for host in ("0.0.0.0", "::", "192.168.1.5", "example.org"))


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), pytest.param(signal.SIGTERM, 143, marks=pytest.mark.slow)]
)
def test_the_command_serves_until_it_is_told_to_stop(number: signal.Signals, code: int, tmp_path: Path) -> None:
    save_model(tmp_path / "model.safetensors")
    process = subprocess.Popen(
        [sys.executable, "-u", "-m", "pocketlens", "serve", "model.safetensors", "--port", "0", "--threads", "1"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        line = next(line for line in process.stdout if "http://127.0.0.1:" in line)
        port = int(line.split("http://127.0.0.1:")[1].split("/")[0])
        assert_good(port)
        with connect(port):  # an idle connection does not hold it up
            process.send_signal(number)
            out, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == code, err
    assert err == ""
    assert out.endswith("stopped\n")


def test_mistakes_of_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save_model(tmp_path / "model.safetensors")
    model = str(tmp_path / "model.safetensors")
    for argv, part in (
        (["absent"], "absent"),
        ([model, "--port", "70000"], "--port"),
        ([model, "--host", "192.0.2.1"], "192.0.2.1"),
    ):
        assert main(["serve", *argv]) == 2
        err = capsys.readouterr().err
        assert part in err
        assert err.count("\n") == 1


def test_an_absent_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    from pocketlens.inference import serve

    monkeypatch.setattr(serve.importlib.util, "find_spec", lambda _: None)
    with refused('pip install "pocketlens[serve]"'):
        make_server(made_predictor(), Guard("127.0.0.1"))


DROP = """(async (kind) => {
  const canvas = document.createElement("canvas");
  canvas.width = 12;
  canvas.height = 12;
  const blob = await new Promise((done) => canvas.toBlob(done, "image/png"));
  const data = new DataTransfer();
  data.items.add(new File([blob], kind + ".png", { type: "image/png" }));
  const event = kind === "paste"
    ? new ClipboardEvent("paste", { clipboardData: data, bubbles: true })
    : new DragEvent("drop", { dataTransfer: data, bubbles: true, cancelable: true });
  document.getElementById("drop").dispatchEvent(event);
})"""
DONE = (
    "document.querySelectorAll('#answers > li').length === {} && "
    "document.querySelectorAll('#answers > li:first-child .bars li').length === 4"
)


@pytest.mark.slow
def test_the_page_in_a_browser(tmp_path: Path) -> None:
    bad = "<img src=x onerror=\"document.title='hit'\">"
    (tmp_path / "good.png").write_bytes(GOOD)
    (tmp_path / "bad.png").write_bytes(b"bad")
    demo = Demo("a <b>label</b>", "90 % of 20 test images", (Sample(GOOD, "ant"),), threshold=0.999)
    predictor = made_predictor("lenet", classes=[bad, "bee", "cat", "dog"])
    with served(predictor, demo=demo) as port, browser(tmp_path) as page:
        for width, dark in ((1400, False), (390, True)):
            page.open(f"http://127.0.0.1:{port}/", width, dark=dark)
            page.choose("#file", tmp_path / "good.png")
            page.until(DONE.format(1))
            for n, kind in enumerate(("drop", "paste"), 2):
                page.value(f"{DROP}('{kind}')")
                page.until(DONE.format(n))
            assert page.value("[...document.querySelectorAll('.label')].some((e) => e.textContent.includes('onerror'))")
            assert page.value("document.querySelectorAll('.bars img').length") == 0
            assert page.value("getComputedStyle(document.querySelector('.track i')).width") != "0px"
            page.until("document.querySelector('.picture').naturalWidth === 12")
            page.value("document.querySelector('.sample').click()")
            page.until(DONE.format(4))
            assert "it is ant" in page.value("document.querySelector('.answer .name').textContent")
            assert page.value("document.querySelector('.answer .said').textContent").startswith("Unsure: ")
            shown = "[...document.querySelectorAll('.answer:first-child .picture')].map((each) => !each.hidden)"
            page.value("document.querySelector('.evidence-button').click()")
            page.until("document.querySelector('.evidence')?.naturalWidth === 12")
            assert page.value(shown) == [False, True]
            assert "Orange: evidence for" in page.value("document.querySelector('.evidence-button + p').textContent")
            page.value("document.querySelector('.evidence-button').click()")
            assert page.value(shown) == [True, False]
            assert page.value("document.querySelector('.evidence-button').ariaPressed") == "false"
            assert page.value("document.documentElement.scrollWidth") <= width
            assert page.value("document.title") == "pocketlens: a <b>label</b>"
        page.value("document.activeElement.blur()")
        page.press("Tab")
        assert page.value("document.activeElement.className") == "skip"
        page.press("Tab")
        assert page.value("document.activeElement.id") == "file"
        page.choose("#file", tmp_path / "bad.png")
        page.until("document.querySelector('.problem') !== null")
        assert "it is not one of PNG" in page.value("document.querySelector('.problem').textContent")
        page.open(f"http://127.0.0.1:{port}/docs", 390)
        assert page.value("document.documentElement.scrollWidth") <= 390
        assert [text for text in page.problems if "422" not in text] == []


def test_heic_is_opened_only_where_it_was_allowed() -> None:
    pillow_heif = pytest.importorskip("pillow_heif")
    buffer = io.BytesIO()
    pillow_heif.from_pillow(Image.fromarray(random_images(1, (32, 32, 3))[0])).save(buffer)
    for heic, status in ((False, 422), (True, 200)):
        predictor = dataclasses.replace(made_predictor(), options=DecodeOptions(heic=heic))
        with served(predictor) as port:
            found, _, said = post(port, buffer.getvalue())
            assert found == status
            assert ("--heic" in str(json.loads(said))) is not heic
    assert ServeRequest("last").heic is False


def test_another_depth_is_said_to_the_page() -> None:
    with served(made_predictor(levels=[0.0, 4095.0])) as port:
        assert "it has 8 bits, but the model was trained on deeper images" in assert_good(port)["notes"]


def form(*files: tuple[str, bytes]) -> tuple[bytes, str]:
    """The body of a form with files, and its line of the content type."""
    parts = [
        f'--xyz\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n\r\n'.encode() + data + b"\r\n"
        for name, data in files
    ]
    return b"".join(parts) + b"--xyz--\r\n", "Content-Type: multipart/form-data; boundary=xyz"


def test_a_form_gets_an_answer_for_each_of_its_files(port: int) -> None:
    status, _, said = post(port, *form(("a.png", GOOD), ("<b>.png", b"not a picture")))
    assert status == 200, said
    first, second = json.loads(said)["pictures"]
    assert {name: first[name] for name in first if name != "file"} == assert_good(port)
    assert (first["file"], second["file"]) == ("a.png", "<b>.png")
    assert "it is not one of" in second["error"]


def test_the_limits_of_a_form_are_named() -> None:
    with served(pictures=2, body=1000, form=50_000) as port:
        status, _, said = post(port, *form(("a", GOOD), ("b", GOOD), ("c", GOOD)))
        assert (status, "at most 2 pictures" in json.loads(said)["error"]) == (400, True)
        status, _, said = post(port, *form(("a", bytes(2000))))
        assert "at most 0.001 MB, this one has 0.002 MB" in json.loads(said)["pictures"][0]["error"]
        status, _, said = post(port, bytes(60_000), "Content-Type: multipart/form-data; boundary=xyz")
        assert (status, "at most 0.05 MB" in json.loads(said)["error"]) == (413, True)


def test_below_the_threshold_an_answer_is_unsure() -> None:
    for threshold, unsure in ((0.0, False), (0.999, True)):
        with served(demo=Demo(threshold=threshold)) as port:
            found = assert_good(port)
        assert (found["unsure"], found["threshold"]) == (unsure, threshold)


def test_the_page_shows_whose_model_it_is_and_pictures_to_try() -> None:
    demo = Demo("my <b>net</b>", "91.20 % [90.10, 92.30] of 500 test images", (Sample(GOOD, "ant"),))
    with served(demo=demo) as port:
        page = get(port, "/")[2].decode()
        assert get(port, "/samples/0.png")[2] == GOOD
        assert get(port, "/samples/1.png")[0] == 404
    assert "my &lt;b&gt;net&lt;/b&gt;" in page
    assert "right for 91.20 % [90.10, 92.30] of 500 test images" in page


def test_what_the_files_of_a_run_say_of_it(tmp_path: Path) -> None:
    dataset = make_dataset(60, ("ant", "bee"), (8, 8, 1))
    run = make_run(tmp_path, dataset, label="a label")
    write_pictures(run.file(PICTURES), Pictures(run.split.val[:3], dataset.images[run.split.val[:3]]))
    demo = read_demo(run, dataset.classes, 0.6)
    assert (demo.label, demo.threshold) == ("a label", 0.6)
    assert demo.accuracy.endswith("of 12 validation images")
    assert [sample.true for sample in demo.samples] == [dataset.classes[i] for i in dataset.labels[run.split.val[:3]]]
    assert Image.open(io.BytesIO(demo.samples[0].png)).size == (8, 8)


def test_the_api_is_described_without_anything_from_elsewhere(port: int) -> None:
    schema = json.loads(get(port, "/openapi.json")[2])
    assert set(schema["paths"]) == {"/api/predict", "/health", "/samples/{number}.png"}
    assert set(schema["paths"]["/api/predict"]["post"]["requestBody"]["content"]) >= {"image/*", "multipart/form-data"}
    status, _, body = get(port, "/docs")
    assert status == 200
    assert b"<script" not in body
    assert b"https://" not in body


def test_beyond_this_machine_the_address_holds_a_token() -> None:
    with served(host="0.0.0.0", token="secret") as port:
        for path in ("/", "/health", "/docs", "/other/health", "/secretx/health"):
            assert get(port, path)[0] == 403, path
        assert post(port, GOOD)[0] == 403
        assert json.loads(get(port, "/secret/health")[2])["status"] == "ok"
        assert b"What does the picture show?" in get(port, "/secret/")[2]
        assert b"/secret/api/predict" in get(port, "/secret/docs")[2]
        assert json.loads(get(port, "/secret/openapi.json")[2])["servers"] == [{"url": "/secret"}]
