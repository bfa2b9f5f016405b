"""Hypothesis: how much is tried; `--hypothesis-profile=thorough` tries far more, for an hour or so."""

from hypothesis import HealthCheck, settings

_slow = (HealthCheck.too_slow, HealthCheck.data_too_large)
settings.register_profile(
    "quick", max_examples=60, stateful_step_count=50, deadline=None, suppress_health_check=_slow
)
settings.register_profile(
    "thorough", max_examples=5000, stateful_step_count=80, deadline=None, suppress_health_check=_slow
)
settings.load_profile("quick")
