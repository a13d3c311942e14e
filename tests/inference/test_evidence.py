"""POST /api/explain: Grad-CAM of the served model, on request, within its limits; only where the model can give it."""

from __future__ import annotations

import base64
import io
import json
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from made_images import encoded, random_images
from made_predictors import made_predictor
from PIL import Image
from torch import Tensor, nn

from pocketlens.data.images import map_images
from pocketlens.inference.class_activation import class_activation, has_class_activation, overlay, prepared_images
from pocketlens.inference.predict import Predictor, compute_logits, read_picture
from pocketlens.inference.serve import Guard, Limits
from pocketlens.inference.serve.app import make_app
from pocketlens.inference.serve.demo import Demo

HOSTILE = '<img src=x onerror="alert(1)">'
GOOD = encoded(random_images(1, (40, 24, 3))[0])
CLASSES = [HOSTILE, "bee", "cat", "dog"]


def client(predictor: Predictor, **limits: Any) -> TestClient:
    guard = Guard("127.0.0.1", body=1_000_000)
    return TestClient(make_app(predictor, guard, "cpu", Limits(**limits), Demo()), base_url="http://127.0.0.1:1234")


def ask(server: TestClient, name: str | None = None, body: bytes = GOOD) -> Any:
    return server.post("/api/explain", params={} if name is None else {"class": name}, content=body)


def pixels(uri: str) -> Any:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.removeprefix("data:image/png;base64,")))))


@pytest.mark.parametrize(
    ("model", "shape", "prepare"),
    [
        ("lenet", [32, 32, 3], "none"),
        ("lenet", [16, 16, 1], "resize(16)"),
        ("timm(name='test_resnet')", [64, 64, 3], "none"),
        ("timm(name='test_efficientnet', stem='small')", [32, 32, 3], "none"),
    ],
    ids=["lenet", "grey, prepared", "body", "body with a small stem"],
)
def test_the_answer_is_grad_cam_of_the_picture_as_predict_reads_it(model: str, shape: list[int], prepare: str) -> None:
    image_shape = [shape[0] * 2 if prepare != "none" else shape[0], shape[1] * 2 if prepare != "none" else shape[1]]
    predictor = made_predictor(model, shape=shape, image_shape=[*image_shape, shape[2]], prepare=prepare)
    (picture,) = map_images(lambda source: read_picture(predictor, source), [GOOD])
    logits = compute_logits(predictor, picture.pixels[None], "cpu")[0]
    server = client(predictor)
    for name, place in ((None, int(logits.argmax())), ("dog", 3)):
        found = ask(server, name).json()
        images = prepared_images(predictor.classifier, picture.pixels[None])
        heat = class_activation(predictor.classifier, images, [np.array([place])])
        assert heat is not None
        seen = np.rint(images[0].permute(1, 2, 0).numpy() * 255).astype(np.uint8)
        assert found["class"] == predictor.classifier.classes[place]
        assert found["probability"] == pytest.approx(predictor.probabilities(logits[None])[0, place])
        assert (found["height"], found["width"]) == heat.size
        np.testing.assert_array_equal(pixels(found["input"]).reshape(seen.shape), seen)
        np.testing.assert_array_equal(pixels(found["overlay"]), overlay(seen, heat.heat[0][0]))
    assert not any(parameter.grad is not None for parameter in predictor.classifier.parameters())


def test_names_are_text_and_unknown_ones_are_refused() -> None:
    server = client(made_predictor("lenet", shape=[32, 32, 3], classes=CLASSES))
    answer = ask(server, HOSTILE)
    assert (answer.status_code, answer.json()["class"]) == (200, HOSTILE)
    answer = ask(server, "<b>wolf</b>")
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/json"
    assert answer.json()["error"] == "class must be one of the 4 classes of the model, got '<b>wolf</b>'"
    page = server.get("/").text
    assert "data-explains" in page
    assert "<img src=x" not in page + server.get("/docs").text


def test_a_model_without_maps_has_no_button_and_says_why() -> None:
    server = client(made_predictor())
    answer = ask(server)
    assert answer.status_code == 404
    assert "mlp(hidden=(8,)) has no feature maps" in answer.json()["error"]
    assert "data-explains" not in server.get("/").text
    assert "/api/explain" not in server.get("/openapi.json").text


def test_the_route_is_described() -> None:
    server = client(made_predictor("lenet", shape=[32, 32, 3]))
    about = server.get("/openapi.json").json()["paths"]["/api/explain"]["post"]
    assert [each["name"] for each in about["parameters"]] == ["class"]
    assert set(about["requestBody"]["content"]) >= {"image/*", "multipart/form-data"}
    docs = server.get("/docs").text
    assert "POST /api/explain" in docs
    assert "?class=" in docs
    assert "/api/explain?class=ant" in docs


def test_its_limits_are_those_of_predict() -> None:
    server = client(made_predictor("lenet", shape=[32, 32, 3]), body=len(GOOD), pictures=2)
    assert ask(server, body=GOOD + b"x").status_code == 413
    assert ask(server, body=b"not a picture").status_code == 422
    two = [("file", ("a.png", GOOD, "image/png")), ("file", ("<b>.png", b"no picture", "image/png"))]
    first, second = server.post("/api/explain", files=two).json()["pictures"]
    assert {**ask(server).json(), "file": "a.png"} == first
    assert "it is not one of" in second["error"]
    assert server.post("/api/explain", files=[*two, two[0]]).status_code == 400
    assert ask(client(made_predictor("lenet", shape=[32, 32, 3]), held=10)).status_code == 503
    assert ask(client(made_predictor("lenet", shape=[32, 32, 3]), waiting=0)).status_code == 503


class Deaf(nn.Module):
    """Has maps, but no gradient comes through its head."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x).mean((2, 3)).detach()


def test_a_head_without_gradients_has_no_evidence() -> None:
    predictor = made_predictor("lenet", shape=[32, 32, 3])
    assert has_class_activation(predictor.classifier)
    predictor.classifier.net = Deaf()
    assert not has_class_activation(predictor.classifier)


def test_no_evidence_is_said() -> None:
    predictor = made_predictor("lenet", shape=[32, 32, 3])
    for parameter in predictor.classifier.parameters():
        parameter.data.zero_()
    found = ask(client(predictor), "cat").json()
    assert any("is evidence for cat" in note for note in found["notes"])
    assert json.dumps(found, allow_nan=False)
