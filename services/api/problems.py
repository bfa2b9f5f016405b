"""Every error as JSON: `error` says it in words, `code` is stable, `fields` names what is wrong."""

from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import structlog
from aiohttp import web
from taskqueue.errors import InvalidTaskError, QueueError, QueueUnavailableError

RETRY_AFTER_S = 2
"""A restarted Redis of ordinary size answers again within this time."""
_log = structlog.get_logger("api")


class OverloadedError(QueueError):
    """More waits than the settings allow."""

    code = "queue_too_long"
    http_status = 429


class InvalidJsonError(QueueError):
    """A body that is not JSON at all."""

    code = "invalid_json"
    http_status = 400


class WrongStateError(QueueError):
    """The task is in a state in which this cannot be done to it."""

    code = "wrong_state"
    http_status = 409


def described_error(error: QueueError) -> dict[str, Any]:
    """What a client is told of an error: of a request, or of one item of a batch."""
    if isinstance(error, InvalidTaskError):
        fields = [{"field": f.field, "message": f.message} for f in error.fields]
        return {"error": str(error), "code": error.code, "fields": fields}
    if isinstance(error, QueueUnavailableError):
        return {"error": "the queue's store does not answer; try again", "code": error.code}
    return {"error": str(error), "code": error.code}


def json_answer(body: Any, status: int = 200, headers: dict[str, str] | None = None) -> web.Response:
    """A JSON response; bytes of msgspec, as every answer is."""
    return web.Response(
        body=msgspec.json.encode(body), status=status, content_type="application/json", headers=headers
    )


def problem(status: int, told: dict[str, Any]) -> web.Response:
    """One error answer; 429 and 503 say when to come again."""
    headers = {"Retry-After": str(RETRY_AFTER_S)} if status in (429, 503) else None
    return json_answer(told, status, headers)


@web.middleware
async def problems(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """Turns whatever a handler raises into an answer; no trace or address ever leaves."""
    try:
        return await handler(request)
    except QueueError as error:
        if isinstance(error, QueueUnavailableError):
            _log.warning("redis is away", error=str(error), path=request.path)
        return problem(error.http_status, described_error(error))
    except web.HTTPException as error:
        code = error.reason.lower().replace(" ", "_")
        answer = problem(error.status, {"error": _words(request, error), "code": code})
        if "Allow" in error.headers:
            answer.headers["Allow"] = error.headers["Allow"]
        return answer
    except ConnectionResetError:
        raise  # the client went away
    except Exception:
        _log.exception("request failed", path=request.path, method=request.method)
        return problem(500, {"error": "internal error", "code": "internal"})


def _words(request: web.Request, error: web.HTTPException) -> str:
    match error.status:
        case 404:
            return f"no such path: {request.path}"
        case 405:
            return f"{request.method} is not allowed here"
        case 413:
            return "the body is too large"
        case _:
            return error.text or error.reason
