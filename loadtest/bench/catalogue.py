"""The queues that are compared: packages, settings, pages, and what each claims to survive."""

from dataclasses import dataclass

OWN = "this queue"


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """One row of the table. `words` is the worker's command line, in its environment's bin folder."""

    name: str
    environment: str
    """Name of its requirements file; empty for this project's own environment."""
    module: str
    """File in `peers/`: its client, and what the worker loads."""
    words: tuple[str, ...]
    page: str
    """Where the settings are documented."""
    crash_safe: bool
    """What its documents say of a SIGKILL; `recovery` measures it."""
    results: bool
    concurrency: int
    tasks: int
    """As many no-op tasks as take two to five seconds on the machine of README's figures."""
    note: str = ""
    single: bool = False
    """One task at a time, whatever the settings."""
    in_recovery: bool = True
    """Whether recovery measures it: a second row of the same queue behaves as the first."""


_TASKIQ = (
    "taskiq", "worker", "peer_taskiq:broker", "--workers", "1", "--max-async-tasks", "{concurrency}",
    "--max-prefetch", "{concurrency}", "--no-parse", "--log-level", "WARNING",
)  # fmt: skip
_DRAMATIQ = ("dramatiq", "peer_dramatiq", "--processes", "1", "--threads", "{concurrency}")
_TASKIQ_PAGE = "https://taskiq-python.github.io/guide/cli.html"
_DRAMATIQ_PAGE = "https://dramatiq.io/guide.html"

PEERS: tuple[Peer, ...] = (
    Peer(
        name=OWN, environment="", module="peer_own", words=("python", "-m", "worker"), page="README.md",
        crash_safe=True, results=True, concurrency=0, tasks=100_000, note="shipped settings",
    ),
    Peer(
        name="dramatiq", environment="dramatiq", module="peer_dramatiq", words=_DRAMATIQ, page=_DRAMATIQ_PAGE,
        crash_safe=True, results=False, concurrency=64, tasks=15_000, note="64 threads",
    ),
    Peer(
        name="dramatiq, results", environment="dramatiq", module="peer_dramatiq", words=_DRAMATIQ,
        page="https://dramatiq.io/cookbook.html", crash_safe=True, results=True, concurrency=64, tasks=10_000,
        note="64 threads", in_recovery=False,
    ),
    Peer(
        name="arq", environment="arq", module="peer_arq", words=("arq", "peer_arq.WorkerSettings"),
        page="https://arq-docs.helpmanual.io/", crash_safe=True, results=True, concurrency=100, tasks=5_000,
        note="max_jobs 100, poll_delay 10 ms",
    ),
    Peer(
        name="saq", environment="saq", module="peer_saq", words=("saq", "peer_saq.settings", "--quiet"),
        page="https://saq-py.readthedocs.io/", crash_safe=True, results=True, concurrency=100, tasks=6_000,
        note="concurrency 100, retries 3",
    ),
    Peer(
        name="taskiq streams", environment="taskiq", module="peer_taskiq", words=_TASKIQ, page=_TASKIQ_PAGE,
        crash_safe=True, results=False, concurrency=100, tasks=12_000, note="100 tasks, prefetch 100, uvloop",
    ),
    Peer(
        name="taskiq streams, results", environment="taskiq", module="peer_taskiq", words=_TASKIQ,
        page="https://github.com/taskiq-python/taskiq-redis", crash_safe=True, results=True, concurrency=100,
        tasks=8_000, note="100 tasks, prefetch 100, uvloop", in_recovery=False,
    ),
    Peer(
        name="streaq", environment="streaq", module="peer_streaq",
        words=("streaq", "run", "peer_streaq:worker"),
        page="https://streaq.readthedocs.io/en/latest/worker.html", crash_safe=True, results=True,
        concurrency=32, tasks=6_000, note="concurrency 32, silent",
    ),
    Peer(
        name="docket", environment="docket", module="peer_docket", words=(
            "docket", "worker", "--tasks", "peer_docket:tasks", "--docket", "docket", "--url", "{redis_url}",
            "--concurrency", "{concurrency}", "--redelivery-timeout", "{redelivery}",
            "--logging-level", "WARNING",
        ),
        page="https://chrisguidry.github.io/docket/production/", crash_safe=True, results=True,
        concurrency=50, tasks=6_000, note="concurrency 50",
    ),
    Peer(
        name="celery, acks_late", environment="celery", module="peer_celery", words=(
            "celery", "-A", "peer_celery", "worker", "--pool", "{pool}", "--concurrency", "{concurrency}",
            "--loglevel", "WARNING", "--without-gossip", "--without-mingle",
        ),
        page="https://docs.celeryq.dev/en/stable/userguide/optimizing.html", crash_safe=True, results=True,
        concurrency=16, tasks=2_500, note="threads 16, prefetch 16 each",
    ),
    Peer(
        name="rq", environment="rq", module="peer_rq",
        words=(
            "rq", "worker", "--worker-class", "rq.SimpleWorker", "--url", "{redis_url}", "--quiet",
            "--maintenance-interval", "{maintenance}",
        ),
        page="https://python-rq.org/docs/workers/", crash_safe=True, results=True, concurrency=1, tasks=1_500,
        note="SimpleWorker, Retry(max=3)", single=True,
    ),
    Peer(
        name="huey", environment="huey", module="peer_huey",
        words=(
            "python", "-m", "gevent.monkey", "{bin}/huey_consumer", "peer_huey.huey", "-k", "greenlet",
            "-w", "{concurrency}", "-n", "-q",
        ),
        page="https://huey.readthedocs.io/en/latest/consumer.html", crash_safe=False, results=True,
        concurrency=32, tasks=8_000, note="32 greenlets",
    ),
    Peer(
        name="BLPOP loop", environment="", module="peer_blpop",
        words=("python", "{peers}/peer_blpop.py"),
        page="https://redis.io/docs/latest/commands/blpop/", crash_safe=False, results=False, concurrency=1,
        tasks=20_000, note="uvloop, hiredis, one task a call", single=True,
    ),
)  # fmt: skip


def named(names: list[str]) -> tuple[Peer, ...]:
    """The peers whose name or environment is among `names`, this queue always first."""
    wanted = {name.strip().lower() for name in names}
    known = {peer.environment for peer in PEERS if peer.environment} | {"blpop"}
    if unknown := wanted - known:
        raise ValueError(f"no such peer: {', '.join(sorted(unknown))}; known: {', '.join(sorted(known))}")
    return tuple(p for p in PEERS if p.name == OWN or p.module.removeprefix("peer_") in wanted)
