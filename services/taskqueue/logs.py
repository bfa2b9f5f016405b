"""Structured logs: one JSON object a line, or a readable form on a terminal."""

import logging
import sys

import structlog
from structlog.typing import Processor


def configure(level: str, style: str) -> None:
    """Sets up structlog for this process. `style`: json, console, or auto (console on a terminal)."""
    console = style == "console" or (style == "auto" and sys.stderr.isatty())
    steps: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    if console:
        plain = structlog.dev.plain_traceback
        steps.append(structlog.dev.ConsoleRenderer(exception_formatter=plain))
    else:
        # Without locals: a frame may hold a password or somebody's mail.
        trace = structlog.tracebacks.ExceptionDictTransformer(show_locals=False)
        steps += [structlog.processors.ExceptionRenderer(trace), structlog.processors.JSONRenderer()]
    structlog.configure(
        processors=steps,
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, level.upper())),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
