"""The application: the page, `POST /api/predict` and `/api/explain`, `/health`, sample pictures, `/docs`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from fastapi import FastAPI, HTTPException, Query, Request, Response
from fastapi.responses import HTMLResponse
from numpy.typing import NDArray
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect

from pocketlens import __version__
from pocketlens.data.images import BadImage, map_images
from pocketlens.inference.class_activation import has_class_activation
from pocketlens.inference.predict import Picture, Predictor, compute_logits, read_picture, top_classes
from pocketlens.inference.serve.answers import EVIDENCE_RESPONSES, REQUEST, RESPONSES
from pocketlens.inference.serve.demo import Demo
from pocketlens.inference.serve.evidence import find_evidence
from pocketlens.inference.serve.guard import Guard, drain, protect
from pocketlens.inference.serve.limits import Limits
from pocketlens.inference.serve.page import policy, render_docs, render_page
from pocketlens.text import counted

_CLASS = Query(None, alias="class", description="a class of the model; without it, the most probable one")


def make_app(predictor: Predictor, guard: Guard, device: str, limits: Limits, demo: Demo) -> FastAPI:
    """The application for one model."""
    app = FastAPI(
        title=f"pocketlens: {demo.label or predictor.name}",
        version=__version__,
        docs_url=None,  # FastAPI's own page loads scripts from elsewhere
        redoc_url=None,
        description="Classifies pictures. Nothing is stored or sent anywhere else.",
    )
    explains = has_class_activation(predictor.classifier, device)
    page = render_page(predictor, limits, demo, explains=explains)
    queue = PredictionQueue(predictor, device, limits, demo.threshold)
    protect(app, guard, policy())

    @app.get("/", include_in_schema=False)
    async def show_page() -> Response:
        return HTMLResponse(page)

    @app.get("/docs", include_in_schema=False)
    async def show_docs(request: Request) -> Response:
        address = f"{request.url.scheme}://{request.url.netloc}{guard.root}"
        return HTMLResponse(render_docs(app.openapi(), address, predictor.classifier.classes))

    @app.get("/health", summary="Whether the server answers, and for which model")
    async def health() -> dict[str, Any]:
        return {"status": "ok", "model": predictor.name, "classes": len(predictor.classifier.classes)}

    @app.get("/samples/{number}.png", summary="A picture of the run", response_class=Response)
    async def show_sample(number: int) -> Response:
        if not 0 <= number < len(demo.samples):
            raise HTTPException(404, f"there are {counted(len(demo.samples), 'sample')}")
        return Response(demo.samples[number].png, media_type="image/png")

    @app.post(
        "/api/predict",
        summary="The classes of a picture, or of each picture of a form",
        response_model=None,
        responses=RESPONSES,
        openapi_extra=REQUEST,
    )
    async def predict(request: Request) -> dict[str, Any]:
        return await queue.answer(request, queue.predict)

    @app.post(
        "/api/explain",
        summary="Where a picture has evidence for a class (Grad-CAM)",
        response_model=None,
        responses=EVIDENCE_RESPONSES,
        openapi_extra=REQUEST,
        include_in_schema=explains,
    )
    async def explain(
        request: Request,
        name: str | None = _CLASS,
    ) -> dict[str, Any]:
        refusal = None if explains else _no_maps(predictor)
        return await queue.answer(request, partial(queue.explain, name=name), refusal or _no_class(predictor, name))

    return app


def _no_maps(predictor: Predictor) -> HTTPException:
    return HTTPException(404, f"{predictor.classifier.facts.model} has no feature maps to read evidence from")


def _no_class(predictor: Predictor, name: str | None) -> HTTPException | None:
    """Why there is no evidence for a class of this name, or None where it is one of the model's."""
    classes = predictor.classifier.classes
    if name is None or name in classes:
        return None
    return HTTPException(422, f"class must be one of the {counted(len(classes), 'class')} of the model, got {name!r}")


@dataclass(frozen=True)
class _File:
    """A file of a form."""

    name: str
    data: bytes


@dataclass(frozen=True, eq=False)
class _Seen:
    """A picture and its logits, (K,) float32."""

    picture: Picture
    logits: NDArray[np.float32]


class PredictionQueue:
    """Reads pictures concurrently and predicts them one after the other; rejects them where the queue is full."""

    def __init__(self, predictor: Predictor, device: str, limits: Limits, threshold: float) -> None:
        self.predictor, self.device, self.limits, self.threshold = predictor, device, limits, threshold
        self.worker = ThreadPoolExecutor(1, "predict")
        self.waiting = 0  # requests
        self.held = 0  # bytes

    async def answer(
        self, request: Request, work: Callable[[bytes], dict[str, Any]], refusal: HTTPException | None = None
    ) -> dict[str, Any]:
        """What `work` makes of one picture, or of each picture of a form; with a refusal, that is raised instead."""
        if refusal is not None:
            await drain(request)
            raise refusal
        is_form = request.headers.get("content-type", "").startswith("multipart/")
        length = int(request.headers["content-length"])
        if not is_form and length > self.limits.body:
            await drain(request)
            raise HTTPException(413, self._too_large("a picture", length))
        parts: list[bytes] = []
        try:
            await self._read(request, parts)
            if self.waiting >= self.limits.waiting:
                raise self._busy()
            self.waiting += 1
            try:
                if is_form:
                    return await self._answer_form(request, b"".join(parts), work)
                return await self._in_turn(work, b"".join(parts))
            finally:
                self.waiting -= 1
        except BadImage as reason:
            raise HTTPException(422, f"the picture cannot be read: {reason}") from None
        finally:
            self.held -= sum(map(len, parts))

    async def _in_turn(self, work: Callable[[bytes], dict[str, Any]], data: bytes) -> dict[str, Any]:
        return await asyncio.get_running_loop().run_in_executor(self.worker, work, data)

    async def _answer_form(
        self, request: Request, body: bytes, work: Callable[[bytes], dict[str, Any]]
    ) -> dict[str, Any]:
        answers = []
        for file in await self._files(request, body):
            found: dict[str, Any] = {"file": file.name}
            try:
                if len(file.data) > self.limits.body:
                    raise BadImage(self._too_large("a picture", len(file.data)))
                found |= await self._in_turn(work, file.data)
            except BadImage as reason:
                found["error"] = f"the picture cannot be read: {reason}"
            answers.append(found)
        return {"pictures": answers}

    async def _files(self, request: Request, body: bytes) -> list[_File]:
        async def stream() -> AsyncIterator[bytes]:
            yield body

        most = self.limits.pictures
        parser = MultiPartParser(request.headers, stream(), max_files=most, max_fields=most)  # type: ignore[arg-type]
        parser.spool_max_size = self.limits.form  # in memory: nothing is written
        try:
            form = await parser.parse()
        except MultiPartException as error:
            raise HTTPException(
                400, f"the form cannot be read: {error.message} It may hold at most {counted(most, 'picture')}."
            ) from None
        uploads = [value for _, value in form.multi_items() if not isinstance(value, str)]
        files = [_File(each.filename or "", await each.read()) for each in uploads]
        await form.close()
        if not files:
            raise HTTPException(400, "the form must hold at least one file: curl -F file=@picture.png")
        return files

    def predict(self, data: bytes) -> dict[str, Any]:
        """The classes of one picture.

        Raises:
            BadImage: it cannot be read.
        """
        seen = self._look(data)
        logits = seen.logits
        found = top_classes(self.predictor, logits, self.limits.top)
        pairs = zip(found.classes, found.probabilities, strict=True)
        return {
            "model": self.predictor.name,
            "calibrated": self.predictor.is_calibrated,
            "calibration": self.predictor.calibration,
            "classes": [{"class": name, "probability": probability} for name, probability in pairs],
            "unsure": found.probabilities[0] < self.threshold,
            "threshold": self.threshold,
            "unfamiliar": self.predictor.is_unfamiliar(logits),
            "notes": [*seen.picture.notes, *self.predictor.remarks(logits)],
        }

    def explain(self, data: bytes, name: str | None) -> dict[str, Any]:
        """Where one picture has evidence for the class of this name; without it, for the most probable one.

        Raises:
            BadImage: it cannot be read.
        """
        seen = self._look(data)
        return find_evidence(self.predictor, seen.picture, seen.logits, name, self.device)

    def _look(self, data: bytes) -> _Seen:
        (result,) = map_images(lambda source: read_picture(self.predictor, source), [data])
        if isinstance(result, BadImage):
            raise result
        logits = compute_logits(self.predictor, np.ascontiguousarray(result.pixels[None]), self.device)[0]
        if not np.isfinite(logits).all():
            raise BadImage("the model's logits for it are not finite")
        return _Seen(result, logits)

    async def _read(self, request: Request, parts: list[bytes]) -> None:
        try:
            async with asyncio.timeout(self.limits.seconds):
                async for part in request.stream():
                    if self.held + len(part) > self.limits.held:
                        raise self._busy()
                    parts.append(part)
                    self.held += len(part)
        except TimeoutError:
            raise HTTPException(
                408, f"the picture must arrive within {counted(self.limits.seconds, 'second')}"
            ) from None
        except ClientDisconnect:
            raise HTTPException(400, "the picture is incomplete") from None

    def _too_large(self, what: str, n_bytes: int) -> str:
        return f"{what} may have at most {self.limits.body / 1e6:g} MB, this one has {n_bytes / 1e6:.3g} MB"

    def _busy(self) -> HTTPException:
        return HTTPException(503, "too many requests at once; try again in a second", {"Retry-After": "1"})
