"""The report as one self-contained page: verdict, figures, chart, checks; light and dark, no network."""

import json
from html import escape
from pathlib import Path
from typing import Any

from loadtest.record import Kind, Record
from loadtest.report import series
from loadtest.report.chart import svg

HERE = Path(__file__).parent


def page(record: Record, figures: dict[str, Any]) -> str:
    """The page's HTML."""
    passed = bool(figures["passed"])
    title = _title(record, passed)
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark"><title>{escape(title)}</title>
<style>{(HERE / "style.css").read_text(encoding="utf-8")}</style></head><body><main>
<header><span class="badge {"good" if passed else "bad"}">{"passed" if passed else "failed"}</span>
<h1>{escape(title)}</h1><p>{escape(_subtitle(record))}</p></header>
<section class="tiles">{"".join(_tiles(figures))}</section>
<section class="card"><div id="readout" class="readout">Point at the chart to read a moment.</div>
{svg(record)}</section>
<section class="card"><h2>What was checked</h2><table>{"".join(_checks(figures))}</table></section>
<section class="card"><h2>How the load was chosen</h2>{_load(record, figures)}</section>
<footer>{escape(_target(record))}</footer></main>
<script>const DATA = {_data(record)};
{(HERE / "script.js").read_text(encoding="utf-8")}</script></body></html>
"""


def _title(record: Record, passed: bool) -> str:
    low, high = record.policy.minimum, record.policy.maximum
    if record.plan.kind is Kind.CONTROL:
        return f"A third of the load stays below {high} workers" if passed else "The control run failed"
    return f"{low} → {high} → {low} workers under load" + ("" if passed else ": not shown")


def _subtitle(record: Record) -> str:
    words = f"{record.started_at} · {record.plan.rate:.0f} e-mails a second, open loop"
    return f"{words} · {record.error}" if record.error else words


def _tiles(figures: dict[str, Any]) -> list[str]:
    seconds, way = figures["seconds"], figures["accepted_to_delivered_s"]
    replicas = figures["replicas"]
    shown = (
        ("workers", f"{replicas['start']} → {replicas['peak']} → {replicas['end']}", ""),
        ("to the peak", _number(seconds["to_peak"], " s"), ""),
        ("back again", _number(seconds["to_start"], " s"), ""),
        ("delivered", f"{figures['delivered']:,}", f"of {figures['accepted']:,} accepted"),
        ("lost", f"{figures['lost']:,}", "bad" if figures["lost"] else "good"),
        ("doubled", f"{figures['duplicated']:,}", "bad" if figures["duplicated"] else "good"),
        (
            "failed requests",
            f"{figures['failed_requests']:,}",
            "bad" if figures["failed_requests"] else "good",
        ),
        ("201 to delivered, p95", _number(way["p95"], " s"), ""),
    )
    return [_tile(name, value, note) for name, value, note in shown]


def _tile(name: str, value: str, note: str) -> str:
    kind = note if note in ("good", "bad") else ""
    small = f"<small>{escape(note)}</small>" if note and not kind else ""
    return f'<div class="tile {kind}"><b>{escape(value)}</b><span>{escape(name)}</span>{small}</div>'


def _number(value: float | None, unit: str) -> str:
    return "–" if value is None else f"{value:g}{unit}"


def _checks(figures: dict[str, Any]) -> list[str]:
    return [
        f'<tr class="{"good" if check["passed"] else "bad"}"><td>{"✓" if check["passed"] else "✗"}</td>'
        f"<td>{escape(check['name'])}</td><td>{escape(check['detail'])}</td></tr>"
        for check in figures["checks"]
    ]


def _load(record: Record, figures: dict[str, Any]) -> str:
    policy, cpu, calibration = record.policy, figures["cpu"], record.calibration
    words = (
        f"The autoscaler wants {policy.target_percent} % of {policy.request_m:.0f}m from each worker, so "
        f"{policy.maximum} workers are needed above {(policy.maximum - 1) * policy.target_m:.0f}m in all. "
    )
    if calibration:
        words += (
            f"At {calibration.rate:.1f} e-mails a second a mail cost {calibration.cpu_ms_per_mail:.2f} ms of "
            f"worker CPU and an idle worker used {calibration.idle_m_per_pod:.1f}m: hence "
            f"{record.plan.rate:.1f} a second. "
        )
    else:
        words += f"The rate of {record.plan.rate:.1f} e-mails a second was given. "
    if cpu["workers_m_held"] is not None:
        words += f"At the peak the workers used {cpu['workers_m_held']:.0f}m"
        machine = cpu["machine_percent_held"]
        words += f", and this machine was {machine:.0f} % busy." if machine is not None else "."
    return f"<p>{escape(words)}</p>"


def _target(record: Record) -> str:
    target = record.target
    return (
        f"context {target.context} · namespace {target.namespace} · {target.api_url} · "
        f"{target.worker_image} · mail to {record.plan.domain}, seen by {target.mail_url}"
    )


def _data(record: Record) -> str:
    """What the pointer reads: seconds from the load's start, and every line's value."""
    zero = series.zero(record)
    lines = [(panel, line) for panel in series.panels(record) for line in panel.lines]
    rows = [
        [round(sample.t - zero, 1), *(_short(line.of(sample)) for _, line in lines)]
        for sample in series.shown(record)
    ]
    names = [f"{line.name}|{line.colour}|{line.unit}" for _, line in lines]
    return json.dumps({"names": names, "rows": rows}, separators=(",", ":")).replace("<", "\\u003c")


def _short(value: float | None) -> float | None:
    return None if value is None else round(value, 1)
