"""CPU time an e-mail delivered by SMTP: this worker, and a bare aiosmtplib loop with the same messages.

Both keep ten connections to the same server, without TLS, which takes everything. The CPU time is the whole
process', from the first mail taken to the last.
"""

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

import msgspec

from loadtest.bench import cpu, environments
from loadtest.bench.catalogue import OWN, PEERS
from loadtest.bench.children import Child, wait_until
from loadtest.bench.course import Bench, Rounds, interleaved
from loadtest.bench.redisserver import RedisServer, free_port
from loadtest.bench.trial import PEERS_FOLDER, ROOT, Trial, read_notes

MAILS = 3_000
LIMIT_S = 180


class Delivery(msgspec.Struct, frozen=True, kw_only=True):
    """One round. `cpu_ms` is of one mail."""

    mails: int
    cpu_ms: float
    per_s: float


@dataclass(frozen=True, slots=True)
class Sender:
    name: str


BARE = Sender("bare aiosmtplib loop")


def run(bench: Bench) -> Rounds:
    return interleaved("mail", [Sender(OWN), BARE], bench, _measure, "cpu_ms")


def _measure(sender: Sender, bench: Bench) -> Delivery:
    mails = max(200, int(MAILS * bench.scale))
    with tempfile.TemporaryDirectory(prefix="bench-mail-") as folder:
        notes = Path(folder) / "notes"
        port = free_port()
        env = {
            "PYTHONPATH": os.pathsep.join(map(str, (PEERS_FOLDER, ROOT / "services", ROOT))),
            "BENCH_NOTES": str(notes), "BENCH_EXPECTED": str(mails),
            "PORT": str(port), "SMTP_PORT": str(port),
        }  # fmt: skip
        python = str(environments.own_folder() / "bin" / "python")
        sink = bench.children.start(
            "sink", [python, str(PEERS_FOLDER / "sink.py")], core=bench.cores.others, env=env
        )
        try:
            if sender is BARE:
                loop = bench.children.start(
                    "bare-mail",
                    [python, str(PEERS_FOLDER / "bare_mail.py")],
                    core=bench.cores.measured,
                    env=env,
                )
                return _watched(loop, notes, mails)
            return _by_worker(bench, notes, port, mails)
        finally:
            sink.kill()


def _by_worker(bench: Bench, notes: Path, port: int, mails: int) -> Delivery:
    own = next(peer for peer in PEERS if peer.name == OWN)
    with RedisServer(bench.children, bench.cores.others) as redis, Trial(own, bench, redis) as trial:
        trial.open_client()
        trial.order("mails", count=mails)
        worker = trial.start_worker(
            WORKER_HANDLERS="worker.handlers", EMAIL_TRANSPORT="smtp", SMTP_HOST="127.0.0.1",
            SMTP_PORT=str(port), SMTP_TLS="none",
        )  # fmt: skip
        return _watched(worker, notes, mails)


def _watched(sender: Child, notes: Path, mails: int) -> Delivery:
    """Reads the sender's CPU time when the first mail was taken and when the last was."""

    def noted(word: str) -> bool:
        sender.check()
        return notes.exists() and any(note.words[0] == word for note in read_notes(notes.read_text()))

    try:
        wait_until(lambda: noted("first"), LIMIT_S, "a mail is taken")
        before = cpu.seconds(sender.pid)
        wait_until(lambda: noted("last"), LIMIT_S, f"{mails} mails are taken")
        used_s = cpu.seconds(sender.pid) - before
        at = {note.words[0]: note.at_s for note in read_notes(notes.read_text())}
    finally:
        sender.kill()
    return Delivery(mails=mails, cpu_ms=1_000 * used_s / mails, per_s=mails / (at["last"] - at["first"]))
