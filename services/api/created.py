"""The answer to an accepted task, put together as bytes: nearly every request gets one."""

import time

from aiohttp import web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.helpers import rfc822_formatted_time
from aiohttp.http import SERVER_SOFTWARE, HttpVersion11
from aiohttp.web_request import BaseRequest
from taskqueue.states import Status

from api.problems import json_answer

MESSAGE = "Task created successfully"
REPLAYED = "Idempotent-Replayed"


class WrittenAnswer(web.Response):
    """A whole HTTP/1.1 answer, written as it is: no map of headers is made, sorted and serialised.

    For a connection that is kept alive; it goes past the signals of the application.
    """

    def __init__(self, status: int, content: bytes) -> None:
        super().__init__(status=status)
        self._content = content

    @property
    def keep_alive(self) -> bool:
        return True

    async def prepare(self, request: BaseRequest) -> AbstractStreamWriter:
        writer = request.writer
        await writer.write(self._content)
        return writer

    async def write_eof(self, data: bytes = b"") -> None:
        """All was written already."""


class CreatedAnswers:
    """Answers 201: as bytes where that can be, else as any other answer."""

    def __init__(self) -> None:
        self.closing = False
        self._second = 0
        self._after_location = ""

    def answer(self, request: web.Request, task_id: str, status: Status, *, replayed: bool) -> web.Response:
        """`replayed`: the task is one that the same idempotency key made before."""
        if replayed or self.closing or request.version != HttpVersion11 or not request.keep_alive:
            body = {"task_id": task_id, "status": status, "message": MESSAGE}
            headers = {"Location": f"/tasks/{task_id}", **({REPLAYED: "true"} if replayed else {})}
            return json_answer(body, 201, headers)
        body = f'{{"task_id":"{task_id}","status":"{status}","message":"{MESSAGE}"}}'
        head = f"HTTP/1.1 201 Created\r\nLocation: /tasks/{task_id}\r\nContent-Length: {len(body)}\r\n"
        return WrittenAnswer(201, f"{head}{self._rest()}{body}".encode())

    def _rest(self) -> str:
        """The headers that all answers within a second share, and the empty line."""
        now = int(time.time())
        if now != self._second:
            self._second = now
            self._after_location = (
                "Content-Type: application/json\r\n"
                f"Date: {rfc822_formatted_time()}\r\nServer: {SERVER_SOFTWARE}\r\n\r\n"
            )
        return self._after_location
