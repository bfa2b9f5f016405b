"""What query strings may say: a page's limit and cursor."""

from aiohttp import web
from taskqueue.errors import FieldError, InvalidTaskError

DEFAULT_LIMIT = 100
MAX_LIMIT = 1000


def limit_of(request: web.Request) -> int:
    """Tasks a page; InvalidTaskError for what is no such number."""
    text = request.query.get("limit", str(DEFAULT_LIMIT))
    if not (text.isascii() and text.isdigit() and 1 <= int(text[:9]) <= MAX_LIMIT):
        raise InvalidTaskError([FieldError("limit", f"must be a whole number from 1 to {MAX_LIMIT}")])
    return int(text)


def wrong_cursor() -> InvalidTaskError:
    """For a cursor that no page gave."""
    return InvalidTaskError([FieldError("cursor", "must be the `next` of another page")])
