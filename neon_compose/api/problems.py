"""Every error as an RFC 9457 problem document, with the status of its kind."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from starlette.exceptions import HTTPException

from neon_compose.errors import Bug, Invalid, Malformed, NeonError, NotFound, as_problem
from neon_compose.model.nearest import did_you_mean
from neon_compose.wire.rest import Problem

log = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"
_HEADERS = {401: {"WWW-Authenticate": 'Bearer realm="neon-compose", Basic realm="neon-compose"'}}
_REASONS = {
    400: "not JSON",
    401: "no or a wrong token",
    403: "a foreign Host header",
    404: "no such thing",
    409: "clashes with what exists or runs",
    413: "the body is over 1 MiB",
    422: "a value that can't be right",
    500: "corrupt data, or a bug",
    503: "something needed does not answer",
    504: "a deadline passed",
    507: "a disk is full",
}
ALWAYS = (401, 403, 413, 422, 500, 503, 504, 507)  # 422: an unknown query parameter


def responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """For OpenAPI: these problems and those that any route may answer."""
    content = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return {
        status: {"description": _REASONS[status], "content": content}
        for status in sorted({*statuses, *ALWAYS})
    }


def response(error: NeonError, status: int | None = None) -> JSONResponse:
    problem = as_problem(error)
    if status is not None:
        problem["status"] = status
    code = status or error.status
    return JSONResponse(problem, code, media_type=MEDIA_TYPE, headers=_HEADERS.get(code))


def install(app: FastAPI) -> None:
    """Handlers for everything that may be raised."""
    app.add_exception_handler(NeonError, _neon_error)
    app.add_exception_handler(RequestValidationError, _validation_error)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(Exception, _bug)


async def _neon_error(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, NeonError)
    if error.status >= 500:
        log.warning("%s (%s)", error.message, error.detail)
    return response(error)


async def _bug(request: Request, error: Exception) -> JSONResponse:
    detail = f"{type(error).__name__} in {request.method} {request.url.path}."
    return response(Bug("internal error", detail=detail, hint="The controller's log has more."))


async def _http_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    path = ascii(request.url.path[:200])
    match error.status_code:
        case 404:
            return response(NotFound(f"no such route: {path}", hint="See /docs.", code="no_such_route"))
        case 405:
            wrong = Invalid(
                f"{request.method} is not a method of {path}", hint="See /docs.", code="bad_method"
            )
            answer = response(wrong, 405)
            answer.headers.update(error.headers or {})
            return answer
        case _:
            return response(Malformed(str(error.detail)), error.status_code)


async def _validation_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    problems = error.errors()
    broken = next((one for one in problems if one["type"] == "json_invalid"), None)
    if broken is not None:
        said = str(broken.get("ctx", {}).get("error", "")).strip()
        return response(Malformed("the body is not JSON", detail=f"{said}.", code="bad_json"))
    body = _body_model(request)
    first, *rest = [_sentence(one) for one in problems]
    detail = "\n".join(f"{one[0].upper()}{one[1:]}." for one in rest)
    hint = next((hint for hint in (_hint(one, body) for one in problems) if hint), "")
    return response(Invalid(first, detail=detail, hint=hint, code=_code(problems[0]["type"])))


def _code(kind: str) -> str:
    return {"extra_forbidden": "unknown_field", "missing": "missing_field"}.get(kind, "bad_value")


def _sentence(one: dict[str, Any]) -> str:
    """One of Pydantic's errors in our words."""
    where = [str(part) for part in one["loc"] if part not in ("body", "query", "path")]
    field = ascii(".".join(where)[:80])[1:-1]
    match one["type"]:
        case "extra_forbidden":
            return f'field "{field}" is unknown'
        case "missing":
            return f'field "{field}" is missing' if field else "the body is missing"
        case "model_attributes_type" | "model_type" | "dict_type" if not field:
            return "the body is not a JSON object"
        case "enum" | "literal_error":
            return f"{field} {str(one['input'])[:60]!a} is not known"
        case _:
            said = str(one["msg"]).removeprefix("Input should ").removeprefix("Value error, ")
            return f'field "{field}" should {said[0].lower()}{said[1:]}'


def _hint(one: dict[str, Any], body: type[BaseModel] | None) -> str:
    match one["type"]:
        case "extra_forbidden" if body is not None:
            return did_you_mean(str(one["loc"][-1]), _names(body))
        case "enum" | "literal_error":
            known = str(one.get("ctx", {}).get("expected", "")).replace(" or ", ", ").split(", ")
            return did_you_mean(str(one["input"])[:60], [word.strip("'") for word in known])
        case _:
            return ""


def _names(body: type[BaseModel]) -> Iterable[str]:
    return [str(field.validation_alias or name) for name, field in body.model_fields.items()]


def _body_model(request: Request) -> type[BaseModel] | None:
    route = request.scope.get("route")
    field = getattr(route, "body_field", None)
    found = getattr(getattr(field, "field_info", None), "annotation", None)
    return found if isinstance(found, type) and issubclass(found, BaseModel) else None


__all__ = ["Problem", "install", "response", "responses"]
