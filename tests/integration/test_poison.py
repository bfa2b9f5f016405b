"""Tasks that take their worker with them: found out, put away, and nothing beside them is lost."""

import threading
from collections.abc import Iterator

import msgspec
import pytest
from taskqueue.model import StoredTask
from taskqueue.queue import Queue
from taskqueue.states import Status

from tests.fixtures.processes import Process, Services
from tests.integration.clients import put, reached

SHORT = {"LEASE_S": "2", "RENEW_S": "0.5", "WORKER_CONCURRENCY": "5"}


class Supervisor:
    """Keeps so many workers running, as Kubernetes would: one that has ended is started again."""

    def __init__(self, services: Services, count: int) -> None:
        self._services = services
        self._workers = [self._begin() for _ in range(count)]
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._keep)
        self.restarts = 0
        self._thread.start()

    def _begin(self) -> Process:
        return self._services.worker(**SHORT)

    def _keep(self) -> None:
        while not self._stop.wait(0.1):
            for i, worker in enumerate(self._workers):
                if not worker.running():
                    self.restarts += 1
                    self._workers[i] = self._begin()

    def end(self) -> None:
        self._stop.set()
        self._thread.join(30)


@pytest.fixture
def two_workers(services: Services) -> Iterator[Supervisor]:
    supervisor = Supervisor(services, 2)
    yield supervisor
    supervisor.end()


def neighbours(services: Services, killer: str) -> list[set[str]]:
    """Per run of the killer: what else had begun in the same process before it killed it."""
    begun = services.naps("begin")
    of = [pid for task_id, pid in begun if task_id == killer]
    return [{task_id for task_id, pid in begun if pid == own} - {killer} for own in of]


@pytest.mark.parametrize("how", ["exit", "sigkill"])
async def test_a_task_that_kills_its_worker_three_times_fails_and_all_beside_it_complete(
    live: Queue, services: Services, two_workers: Supervisor, how: str
) -> None:
    beside = [await put(live, "nap", seconds=1) for _ in range(4)]
    killer = await put(live, "killer", how=how)
    beside += [await put(live, "nap", seconds=1) for _ in range(12)]
    task: StoredTask = await reached(live, killer, Status.FAILED, timeout_s=60)
    result = msgspec.json.decode(task.result or b"")
    assert (result["code"], task.kills) == ("poison", 3)
    assert [x.outcome for x in task.history] == ["lost"] * 3
    assert len({x.worker for x in task.history}) == 3, "three workers, each another one"
    for task_id in beside:
        assert (await reached(live, task_id, Status.COMPLETED, timeout_s=60)).kills < 3
    assert two_workers.restarts == 3
    third = neighbours(services, killer)[-1]
    ended = {i for i, _ in services.naps("effect")}
    runs = [i for i, _ in services.naps("begin")]
    assert all(i in ended for i in third), "what ran in that process before had ended"
    assert runs.count(killer) == 3
    assert (await live.stats()).totals["poisoned"] == 1


async def test_an_innocent_that_was_there_twice_runs_alone_and_completes(
    live: Queue, services: Services, two_workers: Supervisor
) -> None:
    killers = [await put(live, "killer", how="exit") for _ in range(2)]
    innocent = [await put(live, "nap", seconds=0.6) for _ in range(3)]
    for task_id in killers:
        await reached(live, task_id, Status.FAILED, timeout_s=90)
    for task_id in innocent:
        assert (await reached(live, task_id, Status.COMPLETED, timeout_s=60)).kills <= 2
    assert (await live.stats()).processing == 0
