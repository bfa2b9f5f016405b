"""Twenty more users each minute: does every level settle before the next?"""

from collections.abc import Sequence
from typing import ClassVar

from loadtest.shapes.course import Course, Point


class Step(Course):
    """Twenty more users each minute: does every level settle before the next?"""

    points: ClassVar[Sequence[Point]] = tuple(
        (60 * level + edge, 20 * (level + 1)) for level in range(5) for edge in (0, 59.99)
    )
