"""Quiet, then ten times as much for a minute, then quiet: is the backlog worked off, is anything lost?"""

from collections.abc import Sequence
from typing import ClassVar

from loadtest.shapes.course import Course, Point


class Spike(Course):
    """Quiet, then ten times as much for a minute, then quiet: is the backlog worked off, is anything lost?"""

    points: ClassVar[Sequence[Point]] = ((0, 10), (60, 10), (61, 100), (121, 100), (122, 10), (242, 10))
