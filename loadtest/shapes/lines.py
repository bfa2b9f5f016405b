"""Users over time as straight lines between points: pure, so that nothing of Locust comes with it."""

from collections.abc import Sequence
from itertools import pairwise

Point = tuple[float, int]
"""Seconds since the start, and users at that moment."""


def users_at(second: float, points: Sequence[Point]) -> int | None:
    """Users at a second, by the line between the points around it; None after the last point: the end."""
    for (start, before), (end, after) in pairwise(points):
        if start <= second < end:
            return round(before + (after - before) * (second - start) / (end - start))
    return None
