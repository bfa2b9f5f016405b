"""A bare loop: aiosmtplib over pooled connections, the same messages that the worker builds, nothing else."""

import asyncio
import os

import uvloop
from aiosmtplib import SMTP
from taskqueue.payloads.email import EmailPayload
from worker.email.message import build

MAILS = int(os.environ["BENCH_EXPECTED"])
CONNECTIONS = 10
"""As many as the worker keeps (SMTP_POOL_SIZE)."""


async def _send(numbers: range) -> None:
    client = SMTP(hostname="127.0.0.1", port=int(os.environ["SMTP_PORT"]), start_tls=False)
    await client.connect()
    for number in numbers:
        payload = EmailPayload(
            subject=f"Order {number}", recipient=f"user{number}@load.example.com", content="It has left us."
        )
        mail = build(payload, "task-queue@localhost.localdomain", f"bench-{number}", 1_790_000_000_000_000)
        await client.sendmail(mail.sender, [mail.recipient], mail.content)
    await client.quit()


async def _main() -> None:
    await asyncio.gather(*(_send(range(first, MAILS, CONNECTIONS)) for first in range(CONNECTIONS)))
    await asyncio.Event().wait()  # until it is ended: its CPU time is read meanwhile


if __name__ == "__main__":
    uvloop.run(_main())
