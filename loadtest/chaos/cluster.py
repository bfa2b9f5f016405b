"""The same account on a cluster: `python -m loadtest.chaos.cluster` kills pods and rolls out under load."""

import argparse
import asyncio
import random
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import aiohttp
from lightkube import ConfigError

from loadtest.chaos import recovery, report, schedule
from loadtest.chaos.accounting import Account, account
from loadtest.chaos.clients import AT_ONCE, TIMEOUT_S, Clients
from loadtest.chaos.pods import API, AWAY, REDIS, WORKER, Pods, Seen
from loadtest.chaos.processes import ROOT
from loadtest.chaos.record import DOMAIN, Conditions, Fault, Kind, Record, Send
from loadtest.chaos.schedule import Planned
from loadtest.endpoints import HTTPError, MailServer
from loadtest.guard import RefusedError, assure_harmless
from loadtest.options import add_target

KUBELET_S = 3.0
"""A pod deleted without grace still gets 2 s from the kubelet, which takes a moment to notice."""
BACK_S = 150.0
POLL_S = 0.3
DRAIN_S = 120.0
FAULTS = {Kind.WORKER_KILL: 4, Kind.API_KILL: 2, Kind.REDIS_KILL: 1, Kind.ROLLING_UPDATE: 1}
_APPS = {Kind.WORKER_KILL: WORKER, Kind.API_KILL: API, Kind.REDIS_KILL: REDIS}


class Faults:
    """Does the planned faults to pods, and records when each began and was over."""

    def __init__(self, pods: Pods) -> None:
        self._pods = pods
        self.done: list[Fault] = []

    async def carry_out(self, plan: tuple[Planned, ...]) -> None:
        """One after the other, each at its time or when the one before is over."""
        began = time.monotonic()
        for planned in plan:
            await asyncio.sleep(max(0.0, began + planned.at_s - time.monotonic()))
            print(f"  {planned.kind} of {planned.target}", flush=True)
            do = self._roll if planned.kind is Kind.ROLLING_UPDATE else self._kill
            self.done.append(await do(planned))

    async def _kill(self, planned: Planned) -> Fault:
        there = [pod for pod in await self._pods.look() if pod.app == _APPS[planned.kind] and not pod.ending]
        place = planned.target.strip("aw")
        victim = there[int(place) % len(there)] if place.isdigit() else there[0]
        start = time.time()
        await self._pods.kill(victim.name)
        back = await self._until(lambda pods: _replaced(pods, victim, len(there)))
        end = back if planned.kind is Kind.REDIS_KILL else start + KUBELET_S
        return Fault(kind=planned.kind, process=victim.name, start=start, end=max(end, start + KUBELET_S))

    async def _roll(self, planned: Planned) -> Fault:
        start = time.time()
        for deployment in (API, WORKER):
            await self._pods.restart(deployment)
        for deployment in (API, WORKER):
            async with asyncio.timeout(BACK_S):
                while not await self._pods.rolled_out(deployment):  # noqa: ASYNC110
                    await asyncio.sleep(POLL_S)
        return Fault(kind=planned.kind, process=planned.target, start=start, end=time.time())

    async def _until(self, holds: Callable[[list[Seen]], bool]) -> float:
        """The time at which it held; TimeoutError after 150 s."""
        async with asyncio.timeout(BACK_S):
            while not holds(await self._pods.look()):  # noqa: ASYNC110
                await asyncio.sleep(POLL_S)
        return time.time()


def _replaced(pods: list[Seen], victim: Seen, wanted: int) -> bool:
    others = [pod for pod in pods if pod.app == victim.app and pod.uid != victim.uid]
    return sum(pod.ready and not pod.ending for pod in others) >= wanted


def recoveries(record: Record) -> list[tuple[Fault, float]]:
    """Each kill of a worker, and how long until all that was accepted before it had been delivered.

    The ledger tells of mails that were taken only, so what the killed worker held cannot be told from
    what waited: this is an upper bound for it.
    """
    first: dict[str, float] = {}
    for send in record.sends:
        first[send.key] = min(send.begin, first.get(send.key, send.begin))
    found: list[tuple[Fault, float]] = []
    for kill in record.faults:
        if kill.kind is Kind.WORKER_KILL:
            before = [post.key for post in record.posts if post.task_id and post.ended < kill.start]
            last = max((first[key] for key in before if key in first), default=kill.start)
            found.append((kill, max(0.0, last - kill.start)))
    return found


def sends(mail_url: str, after: int, tag: str, pod_at: Callable[[str, float], str]) -> tuple[Send, ...]:
    """The run's own deliveries, each with the pod that made it. The ledger has one time for each."""
    server = MailServer(mail_url)
    found: list[Send] = []
    try:
        for delivery in server.after(after):
            key, _, domain = delivery.recipient.partition("@")
            if domain == DOMAIN and key.startswith(tag):
                at = datetime.fromisoformat(delivery.at).timestamp()
                found.append(
                    Send(
                        key=key, worker=pod_at(delivery.client, at), port=0, begin=at, data=at, end=at,
                        answered=at, closed=at, code=250, taken=True, fate="taken", task_id=delivery.task_id,
                    )
                )  # fmt: skip
    finally:
        server.close()
    return tuple(found)


async def run(options: argparse.Namespace, pods: Pods) -> tuple[Record, Account]:
    """Load with faults, until everything was delivered; the record and its account."""
    tag = f"c{int(time.time()):x}-"
    before = await asyncio.to_thread(MailServer(options.mail_url).last_seq)
    plan = schedule.draw(
        options.seed, options.tasks / options.rate, FAULTS, workers=2, apis=2, lease_s=options.lease_s
    )
    faults, accidents = Faults(pods), list[str]()
    async with aiohttp.ClientSession(
        timeout=aiohttp.ClientTimeout(total=TIMEOUT_S), connector=aiohttp.TCPConnector(limit=AT_ONCE + 8)
    ) as http:
        clients = Clients(http, [options.api_url], tag)
        watching = asyncio.create_task(pods.watch())
        try:
            async with asyncio.timeout(options.limit_s), asyncio.TaskGroup() as both:
                both.create_task(clients.load(options.tasks, options.rate))
                both.create_task(faults.carry_out(plan))
            await _drain(clients)
        except* (TimeoutError, *AWAY) as trouble:
            accidents += [f"the run was cut short: {error!r}" for error in trouble.exceptions]
        finally:
            watching.cancel()
        finals = tuple([final async for final in clients.finals() if final.key.startswith(tag)])
    accidents += [f"a container of {name} ended by itself" for name in sorted(pods.restarted)]
    record = Record(
        conditions=Conditions(
            appendfsync="everysec", lease_s=options.lease_s, concurrency=options.concurrency,
            seed=options.seed,
        ),
        posts=tuple(clients.posts), faults=tuple(faults.done), finals=finals, accidents=tuple(accidents),
        sends=await asyncio.to_thread(sends, options.mail_url, before, tag, pods.addresses.holder),
    )  # fmt: skip
    found = recoveries(record)
    longest_s = max((took_s for _, took_s in found), default=0.0)
    return record, replace(
        account(record), recovery_s_max=longest_s, recovery_overdue=recovery.overdue(found, record)
    )


async def _drain(clients: Clients) -> None:
    """Until the queue is empty, or two minutes have passed: what is left then is found lost."""
    deadline = time.monotonic() + DRAIN_S
    while time.monotonic() < deadline:
        stats = await clients.stats()
        if stats is not None and not any(stats[name] for name in ("queued", "processing", "scheduled")):
            return
        await asyncio.sleep(POLL_S)


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m loadtest.chaos.cluster",
        description="Kills worker, API and Redis pods and rolls out an update under e-mail load, and "
        "accounts for every e-mail. Exit status: 0 shown, 1 not shown, 2 not started.",
    )
    add_target(parser)
    add = parser.add_argument
    add("--tasks", type=int, default=6_000, help="e-mails (default: %(default)s)")
    add("--rate", type=float, default=40.0, help="e-mails/s (default: %(default)s)")
    add("--seed", type=int, default=random.SystemRandom().randrange(10_000), help="draws times and victims")
    add("--lease-s", type=float, default=10.0, help="LEASE_S of the workers (default: %(default)s)")
    add("--concurrency", type=int, default=10, help="WORKER_CONCURRENCY there (default: %(default)s)")
    add("--limit-s", type=float, default=480.0, help="longest time for load and faults")
    add("--out", type=Path, default=ROOT / "build" / "chaos-cluster", help="default: build/chaos-cluster")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    """Exit status 0 where everything held, 1 where not, 2 where nothing was loaded."""
    options = _parse(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / report.RESULT).unlink(missing_ok=True)
    try:
        pods = Pods(options.kubeconfig, options.context, options.namespace)
        assure_harmless(options.api_url, options.mail_url, DOMAIN)
        print(f"chaos on {options.namespace}: {options.tasks} e-mails, seed {options.seed}", flush=True)
        record, found = asyncio.run(run(options, pods))
    except (ConfigError, RefusedError, HTTPError, *AWAY) as error:
        print(f"chaos: not started: {error}", file=sys.stderr)
        return 2
    figures = {"seed": options.seed, **report.figures(record, found)}
    path = report.write(options.out, figures)
    report.show(figures, [*found.accidents, *report.failures(record, found)], options.out)
    print(f"{'PASSED' if found.passed else 'FAILED'}: {path}")
    return 0 if found.passed else 1


if __name__ == "__main__":
    sys.exit(main())
