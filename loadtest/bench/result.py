"""The recorded artefact of a run: raw figures of each round, the machine, the ratios; on disk and back."""

from pathlib import Path
from typing import Any

import msgspec

from loadtest.bench import ratios
from loadtest.bench.catalogue import OWN, Peer
from loadtest.bench.course import Rounds
from loadtest.bench.ratios import Ratio

RESULT = "result.json"


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """What a peer is, beside its figures."""

    settings: str
    page: str
    keeps_results: bool
    crash_safe: bool
    crash_safe_by: str
    """`measured` in this run, or `documented` by the peer where recovery was not measured."""


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """`figures`: measurement -> subject -> rounds. A measurement that was not asked for is not there."""

    started_at: str
    machine: dict[str, Any]
    settings: dict[str, Any]
    peers: dict[str, Row]
    ratios: dict[str, Ratio | None]
    figures: dict[str, Rounds]


def rows(peers: tuple[Peer, ...], figures: dict[str, Rounds]) -> dict[str, Row]:
    """Crash-safe is who was seen to run a killed worker's task again, by whichever documented time-out."""
    recovery = figures.get("recovery", {})
    found: dict[str, Row] = {}
    for peer in peers:
        same = next((p.name for p in peers if p.module == peer.module and p.name in recovery), None)
        measured = [row["crash_safe"] for row in recovery.get(same or "", []) if "crash_safe" in row]
        found[peer.name] = Row(
            settings=peer.note,
            page=peer.page,
            keeps_results=peer.results,
            crash_safe=all(measured) if measured else peer.crash_safe,
            crash_safe_by="measured" if measured else "documented",
        )
    return found


def concluded(
    started_at: str,
    machine: dict[str, Any],
    settings: dict[str, Any],
    peers: tuple[Peer, ...],
    figures: dict[str, Rounds],
) -> Result:
    """The result of a run's figures."""
    described = rows(peers, figures)
    safe = {name: row.crash_safe for name, row in described.items()}
    found: dict[str, Ratio | None] = {}
    if "worker" in figures:
        found |= ratios.of_worker(figures["worker"], peers, safe)
    if "api" in figures:
        found |= ratios.of_api(figures["api"])
    return Result(
        started_at=started_at,
        machine=machine,
        settings=settings,
        peers=described,
        ratios=found,
        figures=figures,
    )


def write(result: Result, folder: Path) -> Path:
    """Puts result.json into the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / RESULT
    path.write_bytes(msgspec.json.format(msgspec.json.encode(result), indent=1))
    return path


def read(folder: Path) -> Result:
    """A result from disk. Raises OSError or msgspec.ValidationError when it is not there or not one."""
    return msgspec.json.decode((folder / RESULT).read_bytes(), type=Result)


def own(rounds: Rounds, figure: str) -> list[float]:
    """This queue's figures of the rounds that succeeded."""
    return [value for value in ratios.column(rounds, OWN, figure) if value is not None]
