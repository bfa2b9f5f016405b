"""Half an hour at a moderate level: does anything leak or drift?"""

from collections.abc import Sequence
from typing import ClassVar

from loadtest.shapes.course import Course, Point


class Soak(Course):
    """Half an hour at a moderate level: does anything leak or drift?"""

    points: ClassVar[Sequence[Point]] = ((0, 1), (30, 30), (1770, 30), (1800, 1))
