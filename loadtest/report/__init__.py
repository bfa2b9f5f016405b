"""The report of a run that a person wants to look at: a page of its own, and the chart as a picture."""

from pathlib import Path
from typing import Any

from loadtest.record import Record
from loadtest.report.page import page
from loadtest.report.picture import draw

REPORT = "report.html"
CHART = "chart.png"


def write(record: Record, figures: dict[str, Any], directory: Path) -> Path:
    """Write the page and the picture into a directory; the page's path."""
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / REPORT
    path.write_text(page(record, figures), encoding="utf-8")
    draw(record, directory / CHART)
    return path
