"""Every form of Redis, each a real one: the queue's whole life, failover, redirection, TLS, the disk."""

import asyncio
import hashlib
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import aiohttp
import pytest
from pydantic import SecretStr
from taskqueue.connection import Connection
from taskqueue.errors import QueueUnavailableError, UnsuitableRedisError
from taskqueue.ids import new_id
from taskqueue.model import MICROSECOND, NewTask, Outcome, Receipt, Retention
from taskqueue.queue import Queue
from taskqueue.settings import RedisSettings
from taskqueue.states import Status
from taskqueue.suitability import check, facts

from tests.fixtures.processes import RedisServer, Services, wait_until
from tests.fixtures.redis_forms import SERVICE, RedisCluster, SentinelRedis, TlsRedis
from tests.integration.clients import post, until
from tests.integration.conftest import Clock

# One worker process starts each of these servers once, rather than each its own.
pytestmark = pytest.mark.xdist_group("redis_forms")
PASSWORD = "a-password-of-tests"  # not a secret
SECOND_US = MICROSECOND
SET = b"#!lua\nreturn redis.call('SET', KEYS[1] .. 'durable', ARGV[1])"
SET_SHA = hashlib.sha1(SET).hexdigest()
Open = Callable[..., Connection]


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisCluster]:
    started = RedisCluster(tmp_path_factory.mktemp("cluster"))
    yield started
    started.end()


@pytest.fixture
def sentinel(tmp_path: Path) -> Iterator[SentinelRedis]:
    started = SentinelRedis(tmp_path)
    yield started
    started.end()


@pytest.fixture(scope="session")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TlsRedis]:
    started = TlsRedis(tmp_path_factory.mktemp("tls"), PASSWORD)
    yield started
    started.end()


@pytest.fixture
async def open_to() -> AsyncIterator[Open]:
    opened: list[Connection] = []

    def open_one(url: str, *, timeout_s: float = 3, **settings: object) -> Connection:
        values = {"redis_url": url, "redis_timeout_s": timeout_s, **settings}
        opened.append(Connection(RedisSettings.model_validate(values)))
        return opened[-1]

    yield open_one
    for connection in opened:
        await connection.close()


async def live_a_whole_life(queue: Queue, clock: Clock) -> None:
    """Enqueue, page, claim, renew, settle, release, lapse, reap, forget: what every form has to serve."""
    made = [NewTask(new_id(), "email", b'{"n":%d}' % n) for n in range(5)]
    assert await queue.enqueue(made) == [Receipt(task.id, stored=True) for task in made]
    assert await queue.enqueue(made[:1]) == [Receipt(made[0].id, stored=False)]
    assert [t.id for t in (await queue.page(3)).tasks] == [t.id for t in reversed(made)][:3]
    lease = {"lease_us": 10 * SECOND_US, "wait_us": SECOND_US}
    one, two, three = (await queue.settle_and_claim("w", 1, [], 3, **lease)).claims
    assert await queue.renew([(one.id, one.epoch, None)], lease_us=20 * SECOND_US) == []
    done = Outcome(one.id, one.epoch, Status.COMPLETED, b'{"ok":true}')
    await queue.settle_and_claim("w", 2, [done], 0, **lease)
    assert await queue.release("w", [(two.id, two.epoch, True)], leave=False) == []
    taken_back: list[str] = []
    for _ in range(22):  # the first reap of a queue counts as one after a gap, and gives a lease more
        clock.pass_s(1)
        reply = await queue.reap("w", lease_us=10 * SECOND_US, retention=Retention.uniform(60 * SECOND_US))
        taken_back += reply.lapsed
    assert taken_back == [three.id]
    stats = await queue.stats()
    assert (stats.queued, stats.processing, stats.completed, stats.stored) == (4, 0, 1, 5)
    assert (await queue.get(one.id)).result == b'{"ok":true}'
    assert await queue.wait_for_wake(0.01) in (True, False)
    await queue.check_writable()
    assert await queue.memory_share() >= 0


async def test_a_queue_lives_its_whole_life_on_a_cluster(
    cluster: RedisCluster, open_to: Open, clock: Clock
) -> None:
    cluster.empty()
    connection = open_to(cluster.url)
    assert (await check(connection, require_aof=True)).clustered
    names = ("default", "bulk", "q3")
    await asyncio.gather(*(live_a_whole_life(Queue(connection, n, clock), clock) for n in names[:1]))
    for name in names[1:]:
        await live_a_whole_life(Queue(connection, name, clock), clock)
    slots: dict[str, set[int]] = {name: set() for name in names}
    for key in cluster.all_keys():
        slots[key.split("{")[1].split("}")[0]].add(cluster.slot(key))
    assert [len(found) for found in slots.values()] == [1, 1, 1], "each queue's keys are in one slot"
    assert len({slot for found in slots.values() for slot in found}) == 3, (
        "and the queues are in different ones"
    )
    owners = {cluster.owner(slot).port for found in slots.values() for slot in found}
    assert len(owners) > 1, "which more than one node serves"


async def test_a_queue_lives_its_whole_life_under_sentinels(
    sentinel: SentinelRedis, open_to: Open, clock: Clock
) -> None:
    connection = open_to(sentinel.url)
    await check(connection, require_aof=True)
    await live_a_whole_life(Queue(connection, clock=clock), clock)


async def test_a_queue_lives_its_whole_life_over_tls_with_a_user(
    tls: TlsRedis, open_to: Open, clock: Clock
) -> None:
    login = {"redis_password": SecretStr(PASSWORD), "redis_ca_file": tls.ca_file}
    connection = open_to(tls.url, **login)
    await check(connection, require_aof=True)
    await live_a_whole_life(Queue(connection, clock=clock), clock)
    apart = tls.url.replace("queue@", "")
    assert await open_to(apart, redis_username="queue", **login).command("PING")


async def test_a_queue_lives_its_whole_life_on_redis_8(
    redis8: RedisServer, open_to: Open, clock: Clock
) -> None:
    redis8.cli("flushall")
    await live_a_whole_life(Queue(open_to(redis8.url), clock=clock), clock)


async def test_a_certificate_of_an_unknown_authority_is_refused_unless_told_otherwise(
    tls: TlsRedis, open_to: Open
) -> None:
    password = SecretStr(PASSWORD)
    with pytest.raises(QueueUnavailableError, match="certificate"):
        await open_to(tls.url, redis_password=password).command("PING")
    with pytest.raises(QueueUnavailableError, match="refuses the login"):
        await open_to(tls.url, redis_password=SecretStr("wrong"), redis_ca_file=tls.ca_file).command("PING")
    assert await open_to(tls.url, redis_password=password, redis_tls_verify=False).command("PING")


async def test_sentinels_may_have_a_password_of_their_own(tmp_path: Path, open_to: Open) -> None:
    started = SentinelRedis(tmp_path, password=PASSWORD)
    try:
        with pytest.raises(QueueUnavailableError, match="no sentinel"):
            await open_to(started.url).command("PING")
        assert await open_to(started.url, redis_sentinel_password=SecretStr(PASSWORD)).command("PING")
        unknown = started.url.replace(SERVICE, "other")
        with pytest.raises(QueueUnavailableError, match="watches no service other"):
            await open_to(unknown, redis_sentinel_password=SecretStr(PASSWORD)).command("PING")
    finally:
        started.end()


async def test_accepted_tasks_are_delivered_after_a_failover_without_a_restart(
    sentinel: SentinelRedis, tmp_path: Path, http: aiohttp.ClientSession
) -> None:
    services = Services(sentinel.url, tmp_path)
    try:
        api = services.api()
        worker = services.worker(WORKER_CONCURRENCY="2")
        before = [await post(http, api, "nap", seconds=0.2) for _ in range(30)]
        # Replication is asynchronous: what the replica has not yet got is lost with its master.
        assert sentinel.master.cli("wait", "1", "5000") == "1"
        assert len(services.naps("effect")) < len(before), "some still wait"
        sentinel.master.kill()
        master = str(sentinel.replica.port)
        wait_until(
            lambda: master in sentinel.ask("get-master-addr-by-name", SERVICE), 20, "the replica is master"
        )
        after = [await post_soon(http, api) for _ in range(5)]
        for task_id in before + after:
            await until(http, api, task_id, "completed", timeout_s=40)
        assert worker.running()
        assert set(before) <= {task_id for task_id, _ in services.naps("effect")}
    finally:
        services.end()


async def post_soon(http: aiohttp.ClientSession, api: str) -> str:
    """An accepted task; 503 is repeated for some seconds, as a client does."""
    body = {"type": "reverse", "data": {"text": "after"}}
    for _ in range(100):
        async with http.post(f"{api}/tasks", json=body) as answer:
            if answer.status == 201:
                return (await answer.json())["task_id"]
            assert answer.status == 503, await answer.text()
        await asyncio.sleep(0.1)
    raise AssertionError("no task was accepted in 10 s")


async def test_calls_reach_the_new_master_and_a_demoted_one_is_left(
    sentinel: SentinelRedis, open_to: Open
) -> None:
    connection = open_to(sentinel.url, timeout_s=1)
    await connection.command("SET", "tq:{default}:a", "1")
    assert sentinel.master.cli("wait", "1", "5000") == "1"
    assert sentinel.ask("failover", SERVICE)[0] == "OK"  # the old master lives on, as a replica
    wait_until(lambda: "role:slave" in sentinel.master.cli("info", "replication"), 20, "demoted")
    for _ in range(50):
        try:
            assert await connection.command("INCR", "tq:{default}:a") == 2
            break
        except QueueUnavailableError:
            await asyncio.sleep(0.1)
    assert sentinel.replica.cli("get", "tq:{default}:a") == "2"


async def test_api_and_worker_run_on_a_cluster(
    cluster: RedisCluster, tmp_path: Path, http: aiohttp.ClientSession
) -> None:
    cluster.empty()
    services = Services(cluster.url, tmp_path)
    try:
        api = services.api()
        services.worker()
        ids = [await post(http, api, "reverse", text="abc") for _ in range(30)]
        for task_id in ids:
            task = await until(http, api, task_id, "completed")
            assert task["result"] == {"text": "cba"}
    finally:
        services.end()


@pytest.fixture
def migration(cluster: RedisCluster) -> Iterator[tuple[int, RedisServer, RedisServer]]:
    """(slot of the queue, its node, another node); the slot is back where it was afterwards."""
    slot = cluster.slot("tq:{default}:")
    source = cluster.owner(slot)
    other = next(node for node in cluster.nodes if node is not source)
    cluster.empty()
    yield slot, source, other
    cluster.empty()
    cluster.move(slot, source)


async def test_a_command_follows_a_moved_slot_and_is_run_once(
    cluster: RedisCluster, open_to: Open, migration: tuple[int, RedisServer, RedisServer]
) -> None:
    slot, _, other = migration
    connection = open_to(cluster.url)
    assert await connection.command("INCR", "tq:{default}:n") == 1
    cluster.empty()
    cluster.move(slot, other)
    commands = [("INCR", "tq:{default}:n") for _ in range(10)]
    assert await connection.pipeline(commands) == list(range(1, 11))
    assert await connection.script(SET_SHA, SET, "test:{default}:", ["x"]) == b"OK"
    assert other.cli("get", "test:{default}:durable") == "x"
    assert (await connection.command("INFO"))["tcp_port"] == other.port


async def test_while_a_slot_moves_commands_follow_and_scripts_wait(
    cluster: RedisCluster, open_to: Open, migration: tuple[int, RedisServer, RedisServer]
) -> None:
    slot, source, other = migration
    connection = open_to(cluster.url)
    assert await connection.command("SET", "tq:{default}:here", "1")
    other.cli("cluster", "setslot", str(slot), "importing", source.cli("cluster", "myid"))
    source.cli("cluster", "setslot", str(slot), "migrating", other.cli("cluster", "myid"))
    keys = ("tq:{default}:here", "tq:{default}:there", "tq:{default}:there")
    commands = [("INCR", key) for key in keys]
    assert await connection.pipeline(commands) == [2, 1, 2]
    assert other.cli("cluster", "countkeysinslot", str(slot)) == "1"
    with pytest.raises(QueueUnavailableError, match="ASK"):
        await connection.script(SET_SHA, SET, "test:{default}:", ["x"])
    source.cli("cluster", "setslot", str(slot), "stable")
    other.cli("cluster", "setslot", str(slot), "stable")
    assert await connection.script(SET_SHA, SET, "test:{default}:", ["x"]) == b"OK"


async def test_a_silent_redis_fails_the_call_in_time_and_it_is_not_repeated(
    own_redis: RedisServer, open_to: Open
) -> None:
    connection = open_to(own_redis.url, timeout_s=0.3)
    assert await connection.command("INCR", "n") == 1
    own_redis.pause()
    loop = asyncio.get_running_loop()
    began_s = loop.time()
    with pytest.raises(QueueUnavailableError, match="in time"):
        await connection.command("INCR", "n")
    assert loop.time() - began_s < 0.6
    own_redis.signal(signal.SIGCONT)
    wait_until(lambda: own_redis.cli("get", "n") == "2", 5, "what was sent is run, once")
    assert await connection.command("INCR", "n") == 3


async def test_cancelled_calls_leave_every_other_call_its_own_answer(
    redis: RedisServer, open_to: Open
) -> None:
    connection = open_to(redis.url)
    await connection.command("PING")  # connected, so that each call is written before it is cancelled
    calls = [asyncio.create_task(connection.command("ECHO", str(number))) for number in range(200)]
    await asyncio.sleep(0)
    for call in calls[::3]:
        call.cancel()
    answers = await asyncio.gather(*calls, return_exceptions=True)
    for number, answer in enumerate(answers):
        assert answer == str(number).encode() or (number % 3 == 0 and isinstance(answer, BaseException))
    assert await connection.command("ECHO", "after") == b"after"


def blocked(server: RedisServer) -> int:
    """Clients that a command of theirs blocks."""
    (line,) = [each for each in server.cli("info", "clients").splitlines() if "blocked_clients:" in each]
    return int(line.partition(":")[2])


async def test_a_cancelled_wait_holds_up_nobody_and_takes_nothing(redis: RedisServer, open_to: Open) -> None:
    connection = open_to(redis.url, timeout_s=30)
    waiting = asyncio.create_task(connection.command("BLPOP", "tokens", 30))
    await asyncio.sleep(0)
    await asyncio.to_thread(wait_until, lambda: blocked(redis) == 1, 5, "the call blocks")
    waiting.cancel()
    await asyncio.to_thread(wait_until, lambda: blocked(redis) == 0, 5, "it blocks no more")
    assert await connection.command("RPUSH", "tokens", "t") == 1
    assert (await connection.command("BLPOP", "tokens", 2))[1] == b"t"


async def test_a_restarted_redis_is_found_again(own_redis: RedisServer, open_to: Open) -> None:
    connection = open_to(own_redis.url, timeout_s=1)
    assert await connection.script(SET_SHA, SET, "k", ["1"]) == b"OK"
    own_redis.kill()
    with pytest.raises(QueueUnavailableError):
        await connection.command("PING")
    own_redis.start()
    assert await connection.script(SET_SHA, SET, "k", ["2"]) == b"OK"


async def test_a_durable_script_says_that_its_writes_are_on_disk(redis8: RedisServer, open_to: Open) -> None:
    connection = open_to(redis8.url)
    assert facts(await connection.command("INFO")).waitaof_offered
    durable = await connection.script_durably(SET_SHA, SET, "test:{default}:", ["x"], timeout_ms=3000)
    assert (durable.answer, durable.synced) == (b"OK", True)


async def test_a_durable_script_says_so_when_the_disk_was_not_reached_in_time(
    redis8: RedisServer, open_to: Open
) -> None:
    connection = open_to(redis8.url)
    await connection.script_durably(SET_SHA, SET, "test:{default}:", ["x"], timeout_ms=3000)
    # Right after a sync the next one of everysec is up to a second away.
    durable = await connection.script_durably(SET_SHA, SET, "test:{default}:", ["y"], timeout_ms=1)
    assert (durable.answer, durable.synced) == (b"OK", False)
    assert redis8.cli("get", "test:{default}:durable") == "y"


async def test_a_redis_that_cannot_tell_what_is_on_disk_is_refused(redis: RedisServer, open_to: Open) -> None:
    connection = open_to(redis.url)
    assert not facts(await connection.command("INFO")).waitaof_offered
    with pytest.raises(UnsuitableRedisError, match="WAITAOF"):
        await connection.script_durably(SET_SHA, SET, "test:{default}:", ["x"], timeout_ms=100)


async def test_unsuitable_ones_are_told_from_the_real_thing(
    cluster: RedisCluster, sentinel: SentinelRedis, own_redis: RedisServer, open_to: Open
) -> None:
    with pytest.raises(UnsuitableRedisError, match=r"redis\+cluster://"):
        await check(open_to(cluster.nodes[0].url), require_aof=True)
    with pytest.raises(UnsuitableRedisError, match="replica"):
        await check(open_to(sentinel.replica.url), require_aof=True)
    own_redis.cli("config", "set", "appendonly", "no")
    own_redis.cli("config", "set", "maxmemory-policy", "allkeys-lru")
    with pytest.raises(UnsuitableRedisError, match="appendonly") as caught:
        await check(open_to(own_redis.url), require_aof=True)
    assert "noeviction" in str(caught.value)
