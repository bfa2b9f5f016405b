"""`python -m loadtest.chaos`: the runs that the options ask for, the verdict, result.json."""

import asyncio
import signal
import sys
from typing import Any

import uvloop

from loadtest.chaos import report
from loadtest.chaos.accounting import Account, account
from loadtest.chaos.options import Options, parse
from loadtest.chaos.power_loss import PowerLoss, TraceError, power_loss
from loadtest.chaos.processes import StartError
from loadtest.chaos.record import Record
from loadtest.chaos.run import chaos

FAILED = 1
INTERRUPTED = 130


async def _all(options: Options) -> bool:
    """Whether everything held. SIGTERM ends it as Ctrl-C does."""
    this = asyncio.current_task()
    assert this is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, this.cancel)
    runs: dict[str, dict[str, Any]] = {}
    losses: list[PowerLoss] = []
    for policy in options.appendfsync if options.what != "power-loss" else ():
        print(f"chaos: {options.tasks} e-mails, appendfsync {policy}, seed {options.seed}", flush=True)
        record = await chaos(options, policy)
        runs[policy] = _publish(options, record, account(record))
    for policy in options.appendfsync if options.what != "run" else ():
        print(f"loss of power: appendfsync {policy}", flush=True)
        losses.append(await power_loss(options, policy))
    result = report.result(options.seed, runs, losses)
    path = report.write(options.out, result)
    print(f"{'PASSED' if result['passed'] else 'FAILED'}: {path}")
    return bool(result["passed"])


def _publish(options: Options, record: Record, found: Account) -> dict[str, Any]:
    """Writes and prints one run's figures, and what happened around each failure."""
    figures = report.figures(record, found)
    folder = options.out / record.conditions.appendfsync
    report.write(folder, figures)
    report.show(figures, [*found.accidents, *report.failures(record, found)], folder)
    return figures


def main(arguments: list[str] | None = None) -> int:
    """Exit status 0 where everything held, 1 where not, 2 for wrong options, 130 when interrupted."""
    options = parse(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / report.RESULT).unlink(missing_ok=True)  # an earlier verdict must not pass for this one's
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return 0 if runner.run(_all(options)) else FAILED
    except (StartError, TraceError) as error:
        print(f"chaos: {error}", file=sys.stderr)
        return FAILED
    except (KeyboardInterrupt, asyncio.CancelledError):
        print("chaos: interrupted, every process of it was ended", file=sys.stderr)
        return INTERRUPTED


if __name__ == "__main__":
    sys.exit(main())
