"""The answer of `POST /api/explain`: the picture as the network sees it, and where it has evidence for a class."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pocketlens.data.images import BadImage, as_png
from pocketlens.inference.class_activation import class_activation, overlay, prepared_images
from pocketlens.inference.predict import Picture, Predictor


def find_evidence(
    predictor: Predictor, picture: Picture, logits: NDArray[np.float32], name: str | None, device: str
) -> dict[str, Any]:
    """What is answered for one picture.

    Args:
        predictor: a model that has class activation maps.
        picture: as `read_picture` gives it.
        logits: (K,) of the picture.
        name: of the class to find evidence for; None takes the most probable one.
        device: where to compute.

    Raises:
        BadImage: the model gives no map for this picture.
    """
    classes = predictor.classifier.classes
    place = int(logits.argmax()) if name is None else classes.index(name)
    images = prepared_images(predictor.classifier, np.ascontiguousarray(picture.pixels[None]), device)
    found = class_activation(predictor.classifier, images, [np.array([place])])
    if found is None or not np.isfinite(found.heat[0]).all():
        raise BadImage("the model gives no class activation map for it")
    heat = found.heat[0][0]
    shown = np.rint(images[0].permute(1, 2, 0).cpu().numpy() * 255).astype(np.uint8)
    notes = () if heat.any() else (f"nothing in the maps of {found.layer} is evidence for {classes[place]}",)
    return {
        "model": predictor.name,
        "class": classes[place],
        "probability": float(predictor.probabilities(logits[None])[0, place]),
        "layer": found.layer.removeprefix("net."),
        "height": found.size[0],
        "width": found.size[1],
        "input": _png(shown),
        "overlay": _png(overlay(shown, heat)),
        "notes": [*picture.notes, *notes],
    }


def _png(image: NDArray[np.uint8]) -> str:
    """An image (H, W, C) as a data URI."""
    return f"data:image/png;base64,{base64.b64encode(as_png(image)).decode()}"
