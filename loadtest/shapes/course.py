"""The base of all shapes: a course of users over time, as Locust asks for it."""

from collections.abc import Sequence
from typing import ClassVar

from locust import LoadTestShape

from loadtest.shapes.lines import Point, users_at

__all__ = ["Course", "Point"]

SPAWN_RATE = 100.0
"""Users a second; the course decides the pace, spawning must not."""


class Course(LoadTestShape):
    """A shape given by its points; a step is two points at almost the same second."""

    abstract = True
    points: ClassVar[Sequence[Point]] = ()

    def tick(self) -> tuple[int, float] | None:
        """Users for now, or None when the course has ended."""
        users = users_at(self.get_run_time(), self.points)
        return None if users is None else (users, SPAWN_RATE)
