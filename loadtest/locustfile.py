"""Locust's way in: the users, the recording once a second, and the refusal to load what sends real mail."""

import os
from typing import Any

import gevent
from locust import events
from locust.env import Environment

from loadtest.guard import RefusedError, assure_harmless
from loadtest.users import POST, RECORDER, SETTINGS, Follower, Sender

__all__ = ["Follower", "Sender"]


def _request(name: str, response_time: float, exception: Exception | None, **_: Any) -> None:
    if RECORDER is None:
        return
    if name == POST:
        RECORDER.posted(response_time)
    if exception is not None:
        RECORDER.fail(f"{name}: {exception}"[:200])


def _each_second(environment: Environment) -> None:
    parent = os.getppid()
    while True:
        gevent.sleep(1)
        if RECORDER and environment.runner:
            RECORDER.write(environment.runner.user_count)
        if SETTINGS.target_checked and os.getppid() != parent and environment.runner:
            environment.runner.quit()  # whoever should stop this load is gone: it must not go on for ever


def _init(environment: Environment, **_: Any) -> None:
    gevent.spawn(_each_second, environment)


def _test_start(environment: Environment, **_: Any) -> None:
    if SETTINGS.target_checked or not environment.host:
        return
    try:
        assure_harmless(environment.host, SETTINGS.mail_url, SETTINGS.domain)
    except RefusedError as refusal:
        print(f"refused: {refusal}")
        environment.process_exit_code = 2
        if environment.runner:
            environment.runner.quit()


def _quit(**_: Any) -> None:
    if RECORDER:
        RECORDER.write(0)


events.init.add_listener(_init)  # pyright: ignore[reportUnknownMemberType]
events.test_start.add_listener(_test_start)  # pyright: ignore[reportUnknownMemberType]
events.request.add_listener(_request)  # pyright: ignore[reportUnknownMemberType]
events.quit.add_listener(_quit)  # pyright: ignore[reportUnknownMemberType]
