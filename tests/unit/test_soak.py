"""What a soak calls flat."""

import pytest

from loadtest.soak import grown, is_flat

MB = 1_000_000


def test_a_warm_up_does_not_count() -> None:
    assert is_flat([MB * n for n in (20, 50, 90)] + [100 * MB] * 12)


def test_a_leak_is_seen_although_single_samples_jump() -> None:
    leaking = [100 * MB + n * MB for n in range(60)]
    assert grown(leaking) > 0.2
    assert not is_flat(leaking)
    assert is_flat([100 * MB] * 40 + [190 * MB] + [100 * MB] * 20)


def test_two_megabytes_of_a_small_process_are_no_leak() -> None:
    assert is_flat([10 * MB] * 30 + [11 * MB] * 30)
    assert not is_flat([10 * MB] * 30 + [13 * MB] * 30)


def test_too_few_samples_are_refused() -> None:
    with pytest.raises(ValueError, match="too few"):
        grown([1, 2])
