"""The users that Locust simulates: senders that post at a steady rate, and one that follows its e-mails."""

# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownVariableType=false
# (the library leaves parts of its types open)

import time
from collections.abc import Iterator
from itertools import count
from random import Random
from typing import Any, cast

import gevent
from locust import FastHttpUser, constant, constant_throughput, task

from loadtest.mails import Mail, mails
from loadtest.recorder import Recorder
from loadtest.settings import LoadSettings

SETTINGS = LoadSettings()
RECORDER = Recorder(SETTINGS.record_dir) if SETTINGS.record_dir else None
POST = "POST /tasks"
FOLLOW = "accepted to completed"
FINAL = ("completed", "failed", "cancelled")
_seeds = count(SETTINGS.seed * 100_003)


class Poster(FastHttpUser):
    """Posts e-mails; what a sender and a follower have in common."""

    abstract = True
    connection_timeout = 10.0
    network_timeout = 30.0
    max_retries = 0  # a request repeated behind the scenes would be a failure that nobody sees

    def on_start(self) -> None:
        """Each user gets mails of its own, and a place of its own in the second: no volleys."""
        seed = next(_seeds)
        self.mails: Iterator[Mail] = mails(seed, SETTINGS.domain, SETTINGS.tag)
        gevent.sleep(Random(seed).uniform(0, 1 / SETTINGS.rate_per_user))  # noqa: S311

    def post(self) -> str | None:
        """Post the next e-mail; its id if it was accepted."""
        body = {"type": "email", "data": next(self.mails)}
        with self.client.post("/tasks", json=body, name=POST, catch_response=True) as response:
            answer = cast("dict[str, Any] | None", response.json() if response.status_code == 201 else None)
            task_id = answer.get("task_id") if answer else None
            if not isinstance(task_id, str):
                response.failure(f"{response.status_code}: {(response.text or '')[:200]}")  # pyright: ignore[reportUnknownMemberType]
                return None
            if RECORDER:
                RECORDER.accept(task_id)
            return task_id


class Sender(Poster):
    """Posts at a steady rate and does not look back: the load is open-loop, slow answers do not lower it."""

    wait_time = constant_throughput(SETTINGS.rate_per_user)

    @task
    def send(self) -> None:
        """Post one e-mail."""
        self.post()


class Follower(Poster):
    """Posts an e-mail and watches it until it is delivered, as a person would."""

    fixed_count = 1
    wait_time = constant(0.5)

    @task
    def send_and_follow(self) -> None:
        """Post one e-mail and poll its task until it is final; anything but completed is a failure."""
        task_id = self.post()
        if task_id is None:
            return
        started = time.perf_counter()
        status = self._final_status(task_id, started + SETTINGS.follow_timeout_s)
        fault = None if status == "completed" else RuntimeError(f"a followed task ended as {status}")
        self.environment.events.request.fire(
            request_type="FOLLOW", name=FOLLOW, response_time=(time.perf_counter() - started) * 1000,
            response_length=0, exception=fault, context={},
        )  # fmt: skip
        if RECORDER and not fault:
            RECORDER.follow()

    def _final_status(self, task_id: str, deadline: float) -> str:
        status = "unknown"
        while time.perf_counter() < deadline:
            with self.client.get(
                f"/tasks/{task_id}", name="GET /tasks/{id}", catch_response=True
            ) as response:
                if response.status_code == 200:
                    status = str(cast("dict[str, Any]", response.json())["status"])
            if status in FINAL:
                return status
            gevent.sleep(SETTINGS.follow_poll_s)
        return f"{status} after {SETTINGS.follow_timeout_s:g} s"
