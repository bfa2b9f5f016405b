"""Any history of calls leaves the scripts and the model in the same state, and answers the same."""

import asyncio
from collections.abc import Iterator
from typing import Any, cast

import pytest
from hypothesis.stateful import run_state_machine_as_test
from taskqueue.connection import Connection
from taskqueue.settings import RedisSettings

from tests.fixtures.processes import RedisServer
from tests.integration.model.machine import QueueMachine, Target


@pytest.fixture
def target(redis: RedisServer) -> Iterator[Target]:
    loop = asyncio.new_event_loop()
    connection = Connection(RedisSettings(redis_url=redis.url, redis_timeout_s=5))
    yield Target(connection, loop)
    loop.run_until_complete(connection.close())
    loop.close()


@pytest.mark.timeout(1800)  # a history that fails is made as short as it can be, which takes minutes
def test_the_scripts_do_what_the_model_says_whatever_the_history(target: Target) -> None:
    run_state_machine_as_test(cast(Any, lambda: QueueMachine(target)))
