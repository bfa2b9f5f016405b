"""From one user to a hundred in five minutes and back in one: where does latency start to rise?"""

from collections.abc import Sequence
from typing import ClassVar

from loadtest.shapes.course import Course, Point


class Ramp(Course):
    """From one user to a hundred in five minutes and back in one: where does latency start to rise?"""

    points: ClassVar[Sequence[Point]] = ((0, 1), (300, 100), (360, 1), (390, 1))
