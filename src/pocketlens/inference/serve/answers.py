"""The answers of `POST /api/predict` and `/api/explain`, as OpenAPI describes them, and how a request may look."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, Field


class ClassProbability(BaseModel):
    """A class and its probability."""

    name: str = Field(alias="class")
    probability: float


class Answer(BaseModel):
    """The classes of one picture, the most probable first."""

    model: str = Field(description="the run, or the file of the model")
    calibrated: bool = Field(description="whether there were enough validation images to calibrate probabilities")
    calibration: str
    classes: list[ClassProbability]
    unsure: bool = Field(description="whether the highest probability is below the threshold")
    threshold: float
    unfamiliar: bool | None = Field(description="whether it is unlike anything in training; null where nothing tells")
    notes: list[str]


class FileAnswer(Answer):
    """The answer to one file of a form; a file that cannot be read has `error` instead of classes."""

    file: str
    error: str | None = None


class Answers(BaseModel):
    """The answers to the files of a form, in their order."""

    pictures: list[FileAnswer]


class Evidence(BaseModel):
    """Where a picture has evidence for a class: a class activation map (Grad-CAM)."""

    model: str = Field(description="the run, or the file of the model")
    name: str = Field(alias="class", description="the class that was asked about, else the most probable one")
    probability: float = Field(description="of that class")
    layer: str = Field(description="the layer whose feature maps are read")
    height: int = Field(description="of those maps, in px")
    width: int = Field(description="of those maps, in px")
    input: str = Field(description="the picture as the network sees it: a data URI of a PNG")
    overlay: str = Field(description="the same in grey, orange where the evidence is: a data URI of a PNG")
    notes: list[str]


class FileEvidence(Evidence):
    """The evidence in one file of a form; a file that cannot be read has `error` instead."""

    file: str
    error: str | None = None


class Evidences(BaseModel):
    """The evidence in the files of a form, in their order."""

    pictures: list[FileEvidence]


class Problem(BaseModel):
    """Why there is no answer."""

    error: str


REQUEST: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "application/octet-stream": {"schema": {"type": "string", "format": "binary"}},
            "image/*": {"schema": {"type": "string", "format": "binary"}},
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "properties": {"file": {"type": "array", "items": {"type": "string", "format": "binary"}}},
                }
            },
        },
    }
}
STATUSES = {
    400: "the request is malformed",
    403: "the host, the origin or the token is wrong",
    408: "the request took too long",
    411: "there is no Content-Length",
    413: "the request or a picture is too large",
    422: "the picture cannot be read",
    503: "too many requests at once; try again in a second",
}
_PROBLEMS: dict[int | str, dict[str, Any]] = {
    status: {"model": Problem, "description": why} for status, why in STATUSES.items()
}
RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {"model": Answer | Answers, "description": "of one picture, or of the files of a form"},
    **_PROBLEMS,
}
EVIDENCE_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {"model": Evidence | Evidences, "description": "of one picture, or of the files of a form"},
    **_PROBLEMS,
    422: {"model": Problem, "description": "the picture cannot be read, or the model has no such class"},
}
