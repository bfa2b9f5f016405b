"""What the bench concludes from its figures."""

from typing import Any

import pytest

from loadtest.bench import http, idle, latency, options, ratios, result, store, summary, table
from loadtest.bench.catalogue import OWN, PEERS, Peer, named
from loadtest.bench.children import BenchError
from loadtest.bench.course import Rounds
from loadtest.bench.ratios import Ratio
from loadtest.bench.trial import Note, read_notes


def peer(name: str, *, crash_safe: bool = True, results: bool = True) -> Peer:
    return Peer(
        name=name, environment=name, module=f"peer_{name}", words=(), page="", crash_safe=crash_safe,
        results=results, concurrency=1, tasks=1,
    )  # fmt: skip


FAST_UNSAFE = peer("loop", crash_safe=False, results=False)
FORGETFUL = peer("forgetful", results=False)
KEEPER = peer("keeper")
THREE = (peer(OWN), FAST_UNSAFE, FORGETFUL, KEEPER)


def rates(**of: list[float | None]) -> Rounds:
    """A round's row for each rate; None is a round that failed."""
    return {
        name.replace("own", OWN): [{"error": "it ended"} if v is None else {"per_s": v} for v in values]
        for name, values in of.items()
    }


def concluded(figures: dict[str, Rounds]) -> result.Result:
    machine = {"processor": "x", "cores": 2, "python": "3", "redis": "7"}
    return result.concluded("2026-01-01T00:00:00Z", machine, {"rounds": 3}, THREE, figures)


def test_a_ratio_compares_figures_of_the_same_round_only() -> None:
    assert ratios.of_rounds([10.0, 30.0, 20.0], [5.0, 10.0, 10.0]) == Ratio(2.0, 2.0, 3.0)


def test_a_round_without_a_figure_is_left_out_of_a_ratio() -> None:
    assert ratios.of_rounds([10.0, None, 20.0], [5.0, 1.0, None]) == Ratio(2.0, 2.0, 2.0)
    assert ratios.of_rounds([None], [5.0]) is None


def test_a_peer_that_loses_tasks_is_no_measure_for_the_worker() -> None:
    figures = {"worker": rates(own=[90.0], loop=[1000.0], forgetful=[30.0], keeper=[10.0])}
    found = concluded(figures).ratios
    assert found["worker_to_best_crash_safe_peer"] == Ratio(3.0, 3.0, 3.0)
    assert found["worker_to_best_with_results"] == Ratio(9.0, 9.0, 9.0)


def test_the_best_peer_is_that_of_each_round() -> None:
    rounds = rates(own=[100.0, 100.0], forgetful=[50.0, 10.0], keeper=[10.0, 25.0])
    found = ratios.of_worker(rounds, THREE, {p.name: True for p in THREE})
    assert found["worker_to_best_crash_safe_peer"] == Ratio(3.0, 2.0, 4.0)


def test_what_recovery_saw_overrules_what_a_peer_documents() -> None:
    row: dict[str, Any] = {"crash_safe": False}
    figures = {
        "worker": rates(own=[90.0], forgetful=[30.0], keeper=[10.0]),
        "recovery": {"forgetful": [row], "loop": [{"error": "did not start"}]},
    }
    found = concluded(figures)
    assert not found.peers["forgetful"].crash_safe
    assert found.peers["forgetful"].crash_safe_by == "measured"
    assert found.peers["loop"].crash_safe_by == "documented"
    assert found.ratios["worker_to_best_crash_safe_peer"] == Ratio(9.0, 9.0, 9.0)


def test_a_result_is_read_back_as_it_was_written(tmp_path: Any) -> None:
    found = concluded({"worker": rates(own=[90.0], keeper=[None])})
    result.write(found, tmp_path)
    assert result.read(tmp_path) == found


def test_a_page_tells_every_round_that_gave_no_figure() -> None:
    page = table.whole(concluded({"worker": rates(own=[90.0, 95.0], keeper=[None, 10.0])}))
    assert "worker, keeper, round 1: it ended" in page
    assert "| this queue | 92 (90 to 95) |" in page


@pytest.mark.parametrize("fault", ['"refused":1,"broken":0', '"refused":0,"broken":2'])
def test_an_answer_that_was_no_2xx_makes_the_figure_invalid(fault: str) -> None:
    line = f'FIGURES {{"requests":9,"duration_us":1000000,{fault},"p50_us":1,"p99_us":2}}'
    with pytest.raises(BenchError, match="no figure"):
        http.read_figures(line)


def test_the_figures_of_wrk_are_found_among_its_other_output() -> None:
    line = 'FIGURES {"requests":9,"duration_us":1000000,"refused":0,"broken":0,"p50_us":1,"p99_us":2}'
    assert http.read_figures(f"Running 1s test\n{line}\n").requests == 9


def test_a_line_that_is_still_being_written_is_no_note_yet() -> None:
    assert read_notes("first 12 1.5\nbegin nap-1 13 2.0\nla") == [
        Note(("first",), 12, 1.5),
        Note(("begin", "nap-1"), 13, 2.0),
    ]


def test_percentiles_are_of_the_sorted_delays() -> None:
    found = latency.summary([number / 1000 for number in range(100, 0, -1)])
    assert (found.p50_ms, found.p99_ms, found.max_ms) == (51.0, 100.0, 100.0)


def test_commands_that_a_script_calls_are_not_a_clients() -> None:
    monitored = (
        'OK\n1790000000.1 [0 127.0.0.1:5] "EVALSHA" "ab"\n'
        '1790000000.1 [0 lua] "HSET" "k"\n1790000000.2 [0 127.0.0.1:5] "BLPOP" " lua]"\n'
    )
    assert idle.clients_commands(monitored) == 2


def test_only_settings_that_shape_memory_are_taken_from_the_shipped_ones() -> None:
    words = store.shipped_words("bind *\nport 6379\nhash-max-listpack-value 8192\nmaxmemory 1\n")
    assert words == ("--hash-max-listpack-value", "8192")


def test_this_queue_is_always_among_the_peers() -> None:
    assert [p.name for p in named(["arq"])] == [OWN, "arq"]
    assert named([]) == (PEERS[0],)


@pytest.mark.parametrize(
    "words", [["--only", "speed"], ["--peers", "kafka"], ["--rounds", "0"], ["--scale", "0"]]
)
def test_a_wrong_option_ends_the_start(words: list[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        options.parse(words)
    assert ended.value.code == 2


def test_readmes_table_sets_this_queue_beside_the_best_that_survives_a_kill() -> None:
    figures = {
        "worker": rates(own=[90.0], loop=[1000.0], forgetful=[30.0], keeper=[10.0]),
        "api": {"this API": [{"per_s": 60.0}], "bare aiohttp": [{"per_s": 80.0}]},
    }
    lines = summary.readme(concluded(figures)).splitlines()
    assert any("survives a SIGKILL | 90 | forgetful: 30 | 3.00 ×" in line for line in lines)
    assert any("keeps results as well | 90 | keeper: 10 | 9.00 ×" in line for line in lines)
    assert any("| 60 | bare aiohttp: 80 | 0.75 ×" in line for line in lines)
