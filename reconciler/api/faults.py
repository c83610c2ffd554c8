"""How a refusal is answered: a status that fits, and one form of body that says what, why and how to mend it."""

from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException

from reconciler.model.errors import Conflict, Deposed, Invalid, ReconcilerError, Refused, UsageMistake

SHOWN_MAX = 200
"""Characters of what a caller sent that an answer repeats."""

STATUS_OF: tuple[tuple[type[ReconcilerError], int], ...] = (
    (Deposed, 503),
    (Conflict, 409),
    (Refused, 412),
    (UsageMistake, 400),
    (Invalid, 400),
    (ReconcilerError, 500),
)
"""The status of each error, the first that fits."""

WORDS: Mapping[int, str] = {
    400: "What was asked for makes no sense, or what it names is not there.",
    401: "No token, or one that is unknown, expired or revoked.",
    403: "The token gives no such permission here.",
    404: "There is nothing of this name, or the token has no role there.",
    408: "The body did not come in time.",
    409: "Something has changed, or was done already.",
    412: "Protection, a budget or a policy stands against it, or it is not what `If-Match` names.",
    413: "The body is too long.",
    429: "Too many requests; `Retry-After` says when to come again.",
    500: "The state cannot be read or written, or there is a fault of ours.",
    503: "This node does not lead the space; the sentence names the one that does.",
}


class Fault(BaseModel):
    """Why a request was refused."""

    error: str = Field(description="A sentence: what is wrong.")
    hint: str = Field("", description="What to do next.")
    code: int = Field(description="The exit code of a command that meets this.")


class ApiFault(Exception):
    """A refusal that has a status of its own."""

    def __init__(
        self, status: int, error: str, hint: str = "", *, code: int = 1, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(error)
        self.status = status
        self.fault = Fault(error=error, hint=hint, code=code)
        self.headers = headers


RESPONSES: dict[int | str, dict[str, Any]] = {
    status: {"model": Fault, "description": words} for status, words in WORDS.items()
}
"""What every operation may answer beside what it is for."""

RESPONSES["default"] = {"model": Fault, "description": "Any other refusal has the same form."}


def not_found(error: UsageMistake) -> ApiFault:
    """Return the fault for something that a path names and that is not there."""
    return ApiFault(404, error.message, error.hint)


def answer_faults(app: FastAPI) -> None:
    """Have every refusal of `app` answered in our form."""
    app.add_exception_handler(ApiFault, _of_ours)
    app.add_exception_handler(ReconcilerError, _of_product)
    app.add_exception_handler(RequestValidationError, _of_form)
    app.add_exception_handler(HTTPException, _of_framework)
    app.add_exception_handler(Exception, _of_bug)


def _answer(status: int, fault: Fault, headers: Mapping[str, str] | None = None) -> JSONResponse:
    return JSONResponse(fault.model_dump(), status, headers=dict(headers or {}))


async def _of_ours(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, ApiFault)
    return _answer(error.status, error.fault, error.headers)


async def _of_product(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, ReconcilerError)
    status = next(status for kind, status in STATUS_OF if isinstance(error, kind))
    return _answer(status, Fault(error=error.message, hint=error.hint, code=error.exit_code))


async def _of_form(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    found = error.errors()[0]
    where = ".".join(str(part) for part in found["loc"])[:SHOWN_MAX]
    return _answer(400, Fault(error=f"{where}: {found['msg'][:SHOWN_MAX]}", hint="see /api/openapi.json", code=1))


async def _of_framework(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    sentences = {
        404: f"there is nothing at {request.url.path[:SHOWN_MAX]}",
        405: f"{request.method[:SHOWN_MAX]} is not what {request.url.path[:SHOWN_MAX]} takes",
    }
    sentence = sentences.get(error.status_code, "the body cannot be read as JSON")
    return _answer(error.status_code, Fault(error=sentence, hint="see /api/openapi.json", code=1), error.headers)


async def _of_bug(_: Request, __: Exception) -> JSONResponse:
    return _answer(
        500, Fault(error="this is a bug of ours, not of yours", hint="the server's log tells more", code=255)
    )
