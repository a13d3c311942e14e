"""The guard of local servers: the host, the origin, the token and the size of a request, for any application."""

from __future__ import annotations

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from pocketlens.inference.serve import guard as guard_file
from pocketlens.inference.serve.guard import Guard, new_token, protect


def client(token: str = "secret", body: int = 10) -> TestClient:
    """A small application behind a guard."""
    app = FastAPI()
    protect(app, Guard("127.0.0.1", token, body), "default-src 'none'")

    @app.get("/where")
    def where() -> dict[str, str]:
        return {"path": "where"}

    @app.post("/decide")
    def decide() -> dict[str, str]:
        return {}

    return TestClient(app, base_url="http://127.0.0.1:1234")


@pytest.mark.parametrize("path", ["/where", "/", "/secre/where", "/secrets/where", "/SECRET/where", "//secret/where"])
def test_without_the_token_nothing_is_told(path: str) -> None:
    answer = client().get(path)
    assert answer.status_code == 403
    assert "token" in answer.json()["error"]


def test_with_the_token_routes_are_found_and_every_answer_is_narrow() -> None:
    answer = client().get("/secret/where")
    assert answer.json() == {"path": "where"}
    assert answer.headers["content-security-policy"] == "default-src 'none'"
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert client("").get("/where").status_code == 200
    absent = client().get("/secret/absent")
    assert (absent.status_code, absent.json()) == (404, {"error": "Not Found"})


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Host": "evil.example"}, 403),
        ({"Host": "127.0.0.1.evil.example:1234"}, 403),
        ({"Host": "localhost:1234"}, 200),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "http://127.0.0.1:1234"}, 200),
    ],
    ids=str,
)
def test_hosts_and_origins(headers: dict[str, str], status: int) -> None:
    assert client().get("/secret/where", headers=headers).status_code == status


def test_a_body_that_is_too_large_is_named_with_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard_file, "DRAIN_SECONDS", 0.1)
    assert client(body=5000).post("/secret/decide", content=b"x" * 5000).status_code == 200
    answer = client(body=5000).post("/secret/decide", content=b"x" * 6000)
    assert (answer.status_code, answer.json()["error"]) == (
        413,
        "a request may have at most 0.005 MB, this one has 0.006 MB",
    )


def test_addresses_and_tokens() -> None:
    assert Guard("127.0.0.1", "abc").address(80) == "http://127.0.0.1:80/abc"
    assert Guard("::1").address(80) == "http://[::1]:80"
    tokens = {new_token() for _ in range(100)}
    assert len(tokens) == 100
    assert all(len(token) == 22 and token.replace("-", "").replace("_", "").isalnum() for token in tokens)
