"""Users over time as straight lines between points: the part that all shapes share."""

from collections.abc import Sequence
from itertools import pairwise
from typing import ClassVar

from locust import LoadTestShape

Point = tuple[float, int]
"""Seconds since the start, and users at that moment."""

SPAWN_RATE = 100.0
"""Users a second; the course decides the pace, spawning must not."""


def users_at(second: float, points: Sequence[Point]) -> int | None:
    """Users at a second, by the line between the points around it; None after the last point: the end."""
    for (start, before), (end, after) in pairwise(points):
        if start <= second < end:
            return round(before + (after - before) * (second - start) / (end - start))
    return None


class Course(LoadTestShape):
    """A shape given by its points; a step is two points at almost the same second."""

    abstract = True
    points: ClassVar[Sequence[Point]] = ()

    def tick(self) -> tuple[int, float] | None:
        """Users for now, or None when the course has ended."""
        users = users_at(self.get_run_time(), self.points)
        return None if users is None else (users, SPAWN_RATE)
