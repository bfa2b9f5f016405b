"""What all tests begin with: how much Hypothesis tries, and who takes Ctrl-C.

`--hypothesis-profile=thorough` tries far more, for an hour or so.
"""

import signal

from hypothesis import HealthCheck, settings

_slow = (HealthCheck.too_slow, HealthCheck.data_too_large)
settings.register_profile(
    "quick", max_examples=60, stateful_step_count=50, deadline=None, suppress_health_check=_slow
)
settings.register_profile(
    "thorough", max_examples=5000, stateful_step_count=80, deadline=None, suppress_health_check=_slow
)
settings.load_profile("quick")


def pytest_configure() -> None:
    """Processes started by tests take Ctrl-C, also where the tests themselves run in the background.

    A shell lets its background jobs ignore SIGINT, and what ignores it hands that on to its children.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)
