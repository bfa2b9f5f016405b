"""What a trace of Redis' system calls says of its AOF on disk."""

from loadtest.chaos.fsync_trace import sizes
from loadtest.chaos.power_loss import EVERYSEC_LIMIT_S, Loss, PowerLoss

AOF = "/data/appendonlydir/appendonly.aof.1.incr.aof"
NAME = "/appendonly.aof.1.incr.aof"


def write(size: int, path: str = AOF, thread: int = 1) -> str:
    return f'{thread} write(7<{path}>, ""..., {size}) = {size}'


def sync(path: str = AOF, thread: int = 2) -> str:
    return f"{thread} fdatasync(7<{path}>) = 0"


def test_a_sync_covers_what_was_written_before_it() -> None:
    assert sizes([write(50), sync(), write(27)], NAME) == (77, 50)


def test_a_sync_does_not_cover_what_was_written_while_it_ran() -> None:
    lines = [write(50), f"2 fdatasync(7<{AOF}> <unfinished ...>", write(27), "2 <... fdatasync resumed>) = 0"]
    assert sizes(lines, NAME) == (77, 50)


def test_a_sync_that_was_cut_short_or_failed_covers_nothing() -> None:
    begun = f"2 fdatasync(7<{AOF}> <unfinished ...>"
    assert sizes([write(50), begun, "2 +++ killed by SIGKILL +++"], NAME) == (50, 0)
    assert sizes([write(50), f"2 fdatasync(7<{AOF}>) = -1 EIO (Input/output error)"], NAME) == (50, 0)


def test_other_files_and_sockets_do_not_count() -> None:
    other = "/data/appendonlydir/appendonly.aof.manifest"
    assert sizes([write(50), write(88, other), sync(other), write(5, "socket:[17]")], NAME) == (50, 0)


def test_a_write_that_took_only_a_part_counts_as_that_part() -> None:
    lines = [f'1 write(7<{AOF}>, ""..., 100 <unfinished ...>', "1 <... write resumed>) = 60", sync()]
    assert sizes(lines, NAME) == (60, 60)


def lost(appendfsync: str, number: int, oldest_s: float = 0.5) -> PowerLoss:
    loss = Loss(accepted=1000, lost=number, oldest_lost_s=oldest_s, cut_bytes=number)
    return PowerLoss(appendfsync=appendfsync, rounds=(loss,))


def test_always_may_lose_nothing() -> None:
    assert lost("always", 0).passed
    assert not lost("always", 1).passed


def test_everysec_may_lose_as_much_as_it_says_and_has_to_lose_something_or_the_cut_was_none() -> None:
    assert lost("everysec", 200).passed
    assert not lost("everysec", 0).passed
    assert not lost("everysec", 200, EVERYSEC_LIMIT_S + 0.1).passed
