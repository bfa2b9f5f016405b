"""POST /tasks on one process on one core: requests a second under wrk, for this API and others."""

import json
import shutil
import subprocess
import sys
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path

import msgspec

from loadtest.bench import cpu, environments
from loadtest.bench.children import BenchError, Child, wait_until
from loadtest.bench.cores import Cores, pinned
from loadtest.bench.course import Bench
from loadtest.bench.redisserver import RedisServer, free_port
from loadtest.bench.trial import PEERS_FOLDER, ROOT

WEB = Path(__file__).parent / "web"
CONNECTIONS = 64
WARM_UP_S = 1
LOAD_S = 5
START_S = 30
_BODY = b'{"type":"email","data":{"subject":"s","recipient":"ada@example.com","content":"c"}}'


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """One way to take a POST. `words` is its command line, in its environment's bin folder."""

    name: str
    words: tuple[str, ...]
    environment: str = ""
    page: str = ""
    note: str = ""


SERVERS: tuple[Server, ...] = (
    Server(name="this API", words=("python", "-m", "api"), note="shipped settings; validated and stored"),
    Server(
        name="bare aiohttp", words=("python", str(WEB / "bare.py")), note="reads the body, answers a constant"
    ),
    Server(
        name="aiohttp, pipeline", words=("python", str(WEB / "pipeline.py")), note="MULTI of HSET and LPUSH"
    ),
    Server(
        name="FastAPI, arq", environment="fastapi", page="https://www.uvicorn.org/settings/", words=(
            "uvicorn", "web_fastapi:app", "--host", "127.0.0.1", "--port", "{port}", "--loop", "uvloop",
            "--http", "httptools", "--no-access-log", "--log-level", "warning",
        ), note="uvicorn, uvloop, httptools; pydantic and EmailStr",
    ),
    Server(
        name="Flask, gunicorn", environment="flask", page="https://gunicorn.org/design", words=(
            "gunicorn", "web_flask:app", "--bind", "127.0.0.1:{port}", "--workers", "1",
            "--worker-class", "gthread", "--threads", "8", "--log-level", "warning",
        ), note="gthread, 8 threads; MULTI of HSET and LPUSH",
    ),
)  # fmt: skip


_KEYS: dict[str, Server] = dict(zip(("bare", "pipeline", "fastapi", "flask"), SERVERS[1:], strict=True))


def chosen(keys: tuple[str, ...] | None) -> list[Server]:
    """This API, and of the others those asked for; BenchError for an unknown one."""
    if keys is None:
        return list(SERVERS)
    if unknown := set(keys) - set(_KEYS):
        raise BenchError(
            f"--servers: no such server: {', '.join(sorted(unknown))}; known: {', '.join(_KEYS)}"
        )
    return [SERVERS[0], *(_KEYS[key] for key in keys)]


class Requests(msgspec.Struct, frozen=True, kw_only=True):
    """One round of one server."""

    requests: int
    seconds: float
    per_s: float
    per_cpu_s: float
    """Requests per second of the server's CPU time."""
    p50_ms: float
    p99_ms: float
    server_cpu_share: float
    redis_cpu_share: float
    others_cpu_share: float


class _Figures(msgspec.Struct, frozen=True):
    requests: int
    duration_us: int
    refused: int
    broken: int
    p50_us: int
    p99_us: int


def read_figures(output: str) -> _Figures:
    """What web/post.lua printed; BenchError where an answer was no 2xx or a connection broke."""
    lines = [line for line in output.splitlines() if line.startswith("FIGURES ")]
    if not lines:
        raise BenchError(f"wrk printed no figures:\n{output[-1000:]}")
    figures = msgspec.json.decode(lines[-1].removeprefix("FIGURES "), type=_Figures)
    if figures.refused or figures.broken:
        raise BenchError(
            f"{figures.refused} answers were no 2xx, {figures.broken} connections broke: no figure"
        )
    if figures.requests == 0:
        raise BenchError("no request was answered")
    return figures


def wrk() -> str:
    """The load generator's path; BenchError with the command that installs it."""
    program = shutil.which("wrk")
    if program is None:
        raise BenchError("wrk is missing: apt-get install --no-install-recommends -y wrk")
    return program


def measure(server: Server, bench: Bench) -> Requests:
    """Raises BenchError when the server does not start, or refuses one request."""
    with RedisServer(bench.children, bench.cores.others) as redis:
        port = free_port()
        process = _start(server, bench, redis, port)
        try:
            wait_until(lambda: _accepts(process, port), START_S, f"{server.name} takes a POST", 0.05)
            _load(bench.cores, port, WARM_UP_S)
            before = cpu.sample(process.pid, redis.process.pid, bench.cores.measured)
            found = _load(bench.cores, port, max(1, round(LOAD_S * bench.scale)))
            after = cpu.sample(process.pid, redis.process.pid, bench.cores.measured)
        finally:
            process.kill()
    took_s = found.duration_us / 1e6
    used = cpu.shares(before, after, took_s)
    return Requests(
        requests=found.requests,
        seconds=took_s,
        per_s=found.requests / took_s,
        per_cpu_s=found.requests / max(used.process * took_s, cpu.TICK_S),
        p50_ms=found.p50_us / 1e3,
        p99_ms=found.p99_us / 1e3,
        server_cpu_share=used.process,
        redis_cpu_share=used.redis,
        others_cpu_share=used.others,
    )


def _start(server: Server, bench: Bench, redis: RedisServer, port: int) -> Child:
    own = not server.environment
    folder = environments.own_folder() if own else environments.prepare(server.environment, bench.cache)
    words = [str(folder / "bin" / server.words[0]), *(w.format(port=port) for w in server.words[1:])]
    paths = f"{ROOT / 'services'}:{ROOT}" if own else str(PEERS_FOLDER)
    env = {
        "PYTHONPATH": paths, "REDIS_URL": redis.url, "BENCH_REDIS_URL": redis.url, "PORT": str(port),
        "HOST": "127.0.0.1",
    }  # fmt: skip
    return bench.children.start(server.name.replace(" ", "-"), words, core=bench.cores.measured, env=env)


def _accepts(process: Child, port: int) -> bool:
    process.check()
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(f"http://127.0.0.1:{port}/tasks", _BODY, headers)
    try:
        with urllib.request.urlopen(request, timeout=2) as answer:  # noqa: S310 - this machine's own address
            return 200 <= answer.status < 300 and bool(json.loads(answer.read()))
    except (urllib.error.URLError, OSError):
        return False


def _load(cores: Cores, port: int, seconds: int) -> _Figures:
    words = [wrk(), "-t", "1", "-c", str(CONNECTIONS), "-d", f"{seconds}s", "-s", str(WEB / "post.lua")]
    done = subprocess.run(  # noqa: S603 - argument lists only, never a shell
        pinned(cores.others, [*words, f"http://127.0.0.1:{port}/tasks"]),
        capture_output=True, text=True, check=False, timeout=seconds + 30,
    )  # fmt: skip
    if done.returncode:
        raise BenchError(f"wrk failed ({done.returncode}): {done.stderr.strip() or sys.platform}")
    return read_figures(done.stdout)
