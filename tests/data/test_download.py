"""Downloads from a server on this machine that does all that real servers do wrong."""

from __future__ import annotations

import hashlib
import http.server
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from made_images import refused

from pocketlens.data.sources.download import Remote, download, next_address

CONTENT = b"the right bytes " * 5000
HASH = f"md5:{hashlib.md5(CONTENT, usedforsecurity=False).hexdigest()}"


class Answers(http.server.BaseHTTPRequestHandler):
    """Answers by path; the first `fails` requests of /flaky are cut."""

    def do_GET(self) -> None:
        asked: list[str] = self.server.asked  # type: ignore[attr-defined]
        asked.append(self.path)
        if self.path.startswith("/to/"):
            self.send_response(302)
            self.send_header("Location", "http://" + self.path.removeprefix("/to/"))
            self.end_headers()
        elif self.path == "/missing":
            self.send_error(404)
        elif self.path == "/drip":
            self.send_response(200)
            self.end_headers()
            for _ in range(100):
                self.wfile.write(b"x")
                self.wfile.flush()
                time.sleep(0.05)
        elif self.path == "/silent":
            time.sleep(3)
        elif self.path == "/stall":
            self.send_response(200)
            self.send_header("Content-Length", str(len(CONTENT)))
            self.end_headers()
            self.wfile.write(CONTENT[:1000])
            self.wfile.flush()
            time.sleep(3)
        else:
            cut = self.path == "/cut" or (self.path == "/flaky" and asked.count("/flaky") == 1)
            body = (
                b"<html>please log in</html>"
                if self.path == "/html"
                else CONTENT[:-1] + b"!"
                if self.path == "/wrong"
                else CONTENT
            )
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body[: len(body) // 2] if cut else body)

    def log_message(self, *_: object) -> None:
        pass


class Quiet(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        """A client that gives up is part of the test."""


@contextmanager
def serve(context: ssl.SSLContext | None = None) -> Iterator[Quiet]:
    server = Quiet(("127.0.0.1", 0), Answers)
    server.asked = []  # type: ignore[attr-defined]
    if context is not None:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture
def server() -> Iterator[Quiet]:
    with serve() as plain:
        yield plain


def remote(server: Quiet, *paths: str, max_bytes: int = 2**30) -> Remote:
    address = f"http://127.0.0.1:{server.server_port}"
    return Remote("file.tgz", HASH, tuple(address + path for path in paths), max_bytes)


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def test_the_right_bytes_come_under_their_name(tmp_path: Path, server: Quiet) -> None:
    path = download(remote(server, "/good"), tmp_path / "new")
    assert path.read_bytes() == CONTENT
    assert files(tmp_path) == ["new", "new/file.tgz"]
    assert download(remote(server, "/good"), tmp_path / "new") == path
    assert server.asked == ["/good"]  # type: ignore[attr-defined]


def test_the_next_source_is_tried(tmp_path: Path, server: Quiet) -> None:
    sources = remote(server, "/missing", "/wrong", "/good")
    assert download(sources, tmp_path).read_bytes() == CONTENT
    assert server.asked == ["/missing", "/wrong", "/good"]  # type: ignore[attr-defined]


def test_a_cut_transfer_is_tried_again(tmp_path: Path, server: Quiet) -> None:
    assert download(remote(server, "/flaky"), tmp_path).read_bytes() == CONTENT
    assert server.asked == ["/flaky", "/flaky"]  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("/cut", "the transfer was interrupted"),
        ("/wrong", "wrong hash"),
        ("/html", "wrong hash"),
        ("/missing", "404"),
        ("/drip", "given up"),
        ("/silent", "no answer within"),
        ("/stall", "no answer within"),
    ],
)
def test_what_goes_wrong_leaves_nothing(tmp_path: Path, server: Quiet, path: str, reason: str) -> None:
    with refused(f"127.0.0.1:{server.server_port}: ", reason):
        download(remote(server, path), tmp_path, seconds=0.4)
    assert files(tmp_path) == []


def test_a_file_without_end_is_stopped(tmp_path: Path, server: Quiet) -> None:
    with refused("more than 1000 bytes"):
        download(remote(server, "/good", max_bytes=1000), tmp_path)
    assert files(tmp_path) == []


def test_no_server_is_one_line_and_tried_once(tmp_path: Path) -> None:
    with refused("127.0.0.1:9: no connection"):
        download(Remote("file.tgz", HASH, ("http://127.0.0.1:9/x",)), tmp_path)
    assert files(tmp_path) == []


def test_redirects_are_followed_but_not_for_ever(tmp_path: Path, server: Quiet) -> None:
    here = f"127.0.0.1:{server.server_port}"
    assert download(remote(server, f"/to/{here}/good"), tmp_path / "a").read_bytes() == CONTENT
    with refused("more than 5 redirects"):
        download(remote(server, "/to/" + f"{here}/to/" * 8 + "x"), tmp_path / "b", n_rounds=1)


@pytest.mark.parametrize("location", ["http://b/x", "ftp://b/x", "file:///etc/passwd"])
def test_https_never_leads_to_anything_else(location: str) -> None:
    assert next_address("https://a/x", "y") == "https://a/y"
    assert next_address("https://a/x", "https://b/x") == "https://b/x"
    with refused("was refused"):
        next_address("https://a/x", location)


def test_a_redirect_from_https_to_http_is_not_followed(
    tmp_path: Path, server: Quiet, monkeypatch: pytest.MonkeyPatch
) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    command = (
        "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -addext subjectAltName=DNS:localhost"
    )
    try:
        files_ = ["-keyout", str(key), "-out", str(certificate)]
        subprocess.run([*command.split(), *files_], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("needs the openssl command to make a certificate")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
    monkeypatch.setenv("NO_PROXY", "localhost")
    with serve(context) as secure:
        port = secure.server_port
        good = Remote("file.tgz", HASH, (f"https://localhost:{port}/good",))
        assert download(good, tmp_path / "good").read_bytes() == CONTENT
        plain = f"127.0.0.1:{server.server_port}/good"
        with refused("a redirect to http:// was refused"):
            download(Remote("file.tgz", HASH, (f"https://localhost:{port}/to/{plain}",)), tmp_path / "bad")
    assert server.asked == []  # type: ignore[attr-defined]
    assert files(tmp_path / "bad") == []
