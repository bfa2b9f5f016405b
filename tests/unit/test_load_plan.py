"""What the load is made of and how much of it: mails, courses, calibration, options, figures."""

import json
import subprocess
import sys
from itertools import islice
from pathlib import Path
from typing import cast

import pytest
from email_validator import validate_email

from loadtest.calibration import CalibrationError, calibrate, machine_percent_at, needed_rate
from loadtest.cluster import Policy, Usage, millicores
from loadtest.guard import is_reserved
from loadtest.mails import mails
from loadtest.options import parse
from loadtest.record import Calibration, Phase, Sample
from loadtest.recorder import ACCEPTED, Recorder, quantile
from loadtest.settings import RESERVED_DOMAIN, LoadSettings
from loadtest.shapes.lines import Point, users_at
from loadtest.web import SHAPES, command

ROOT = Path(__file__).resolve().parents[2]
POLICY = Policy(minimum=2, maximum=10, target_percent=70, request_m=50, up=(), down=(), down_window_s=300)


def _usage(total_m: float, stamp: int = 0) -> Usage:
    return Usage(by_pod_m={"a": total_m / 2, "b": total_m / 2}, scrapes=frozenset({f"{stamp}"}))


def _sample(machine_percent: float | None) -> Sample:
    return Sample(
        t=0, phase=Phase.IDLE, desired=2, ready=2, pods=2, ending=0, machine_percent=machine_percent
    )


def test_one_seed_gives_the_same_mails_and_another_gives_others() -> None:
    first, again, other = (list(islice(mails(seed, "example.com", "t"), 50)) for seed in (1, 1, 2))
    assert first == again
    assert first != other


def test_mails_vary_in_size_alphabet_and_recipient_and_none_equals_another() -> None:
    some = list(islice(mails(7, RESERVED_DOMAIN, "t"), 500))
    sizes = [len(mail["content"]) for mail in some]
    assert min(sizes) < 500
    assert max(sizes) > 8_000
    assert 1_000 < sum(sizes) / len(sizes) < 4_000
    assert any(not mail["subject"].isascii() for mail in some)
    assert len({mail["recipient"] for mail in some}) > 4
    assert len({mail["content"] for mail in some}) == len(some)


def test_every_recipient_is_an_address_at_a_reserved_domain() -> None:
    for mail in islice(mails(3, RESERVED_DOMAIN, "a1b2"), 100):
        address = validate_email(mail["recipient"], check_deliverability=False)
        assert is_reserved(address.domain)
        assert address.local_part.endswith("+a1b2")


@pytest.mark.parametrize("domain", ["example.com", "load.example.com", "EXAMPLE.org.", "a.test", "x.invalid"])
def test_reserved_domains_are_known(domain: str) -> None:
    assert is_reserved(domain)


@pytest.mark.parametrize("domain", ["notexample.com", "example.com.evil.io", "company.com", "test.io"])
def test_domains_that_someone_can_own_are_not_reserved(domain: str) -> None:
    assert not is_reserved(domain)


def test_users_follow_the_lines_between_points_and_end_after_the_last() -> None:
    points = ((0, 10), (10, 20), (10.5, 40), (20, 40))
    assert [users_at(t, points) for t in (0, 5, 9.99, 15, 20, 99)] == [10, 15, 20, 40, None, None]


@pytest.fixture(scope="module")
def shapes() -> dict[str, list[Point]]:
    """Points by shape; read in a process of its own, since Locust patches the one that imports it."""
    imports = [f"from loadtest.shapes.{name} import {name.title()}" for name in SHAPES]
    classes = ", ".join(name.title() for name in SHAPES)
    show = f"print(json.dumps({{s.__name__.lower(): list(s.points) for s in ({classes})}}))"
    program = ";".join(["import json", *imports, show])
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, check=True)
    return cast("dict[str, list[Point]]", json.loads(done.stdout))


@pytest.mark.parametrize("name", SHAPES)
def test_every_shape_starts_at_zero_goes_forward_and_has_an_end(
    shapes: dict[str, list[Point]], name: str
) -> None:
    points = shapes[name]
    seconds = [second for second, _ in points]
    assert seconds[0] == 0
    assert seconds == sorted(set(seconds))
    assert all(users >= 1 for _, users in points)
    assert users_at(seconds[-1], points) is None


def test_a_step_stays_level_for_a_minute(shapes: dict[str, list[Point]]) -> None:
    assert [users_at(t, shapes["step"]) for t in (1, 59, 61, 119, 241)] == [20, 20, 40, 40, 100]


def test_the_cost_of_a_mail_is_what_the_load_adds_over_idling() -> None:
    found = calibrate([_usage(8), _usage(12)], [_usage(50)], 10, ([_sample(20)], [_sample(30)]))
    assert found.idle_m_per_pod == pytest.approx(5)
    assert found.cpu_ms_per_mail == pytest.approx(4)
    assert machine_percent_at(found, 50) == pytest.approx(70)


@pytest.mark.parametrize(("idle", "busy", "rate"), [(10, 9, 10), (10, 50, 0)])
def test_a_measurement_that_shows_no_cost_is_refused(idle: float, busy: float, rate: float) -> None:
    with pytest.raises(CalibrationError, match="--calibration-rate"):
        calibrate([_usage(idle)], [_usage(busy)], rate, ([], []))


def test_without_metrics_there_is_no_calibration() -> None:
    with pytest.raises(CalibrationError, match="metrics-server"):
        calibrate([], [], 10, ([], []))


def test_the_needed_rate_keeps_all_replicas_above_the_target() -> None:
    calibration = Calibration(rate=8, idle_m_per_pod=5, busy_m=42, cpu_ms_per_mail=4)
    rate = needed_rate(calibration, POLICY)
    used_m = 10 * 5 + rate * 4
    assert used_m == pytest.approx(1.25 * 10 * 35)
    assert used_m / 9 > 1.1 * 35  # at nine the autoscaler, with its tolerance, still adds the tenth
    third_m = 5 * 5 + rate / 3 * 4
    assert third_m / 35 < 9


def test_workers_that_idle_above_the_target_cannot_be_calibrated() -> None:
    with pytest.raises(CalibrationError, match="request"):
        needed_rate(Calibration(rate=8, idle_m_per_pod=50, busy_m=90, cpu_ms_per_mail=4), POLICY)


@pytest.mark.parametrize(
    ("text", "value"), [("250m", 250), ("1", 1000), ("0.5", 500), ("7123456n", 7.123456), ("15u", 0.015)]
)
def test_cpu_quantities_are_read_down_to_billionths(text: str, value: float) -> None:
    assert millicores(text) == pytest.approx(value)


def test_quantiles_are_values_that_were_seen() -> None:
    values = [float(n) for n in range(1, 101)]
    assert [quantile(values, share) for share in (0.5, 0.95, 1.0)] == [50, 95, 100]
    assert quantile([], 0.5) is None


def test_the_recorder_writes_each_accepted_id_once(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path)
    recorder.accept("a")
    recorder.write(1)
    recorder.accept("b")
    recorder.write(1)
    recorder.write(0)
    assert [line.split("\t")[0] for line in (tmp_path / ACCEPTED).read_text().splitlines()] == ["a", "b"]


def test_the_proof_takes_thirty_seconds_of_baseline_and_a_short_one_five() -> None:
    assert parse([]).baseline_s == 30
    assert parse(["--short"]).baseline_s == 5
    assert parse(["--control"]).out.name == "load-control"


@pytest.mark.parametrize(
    "words", [["--rate", "0"], ["--api-url", "ftp://x"], ["--hold-s", "-1"], ["--nonsense"]]
)
def test_wrong_options_end_with_a_message(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse(words)
    assert words[0] in capsys.readouterr().err


def test_recipients_are_reserved_unless_a_domain_is_named() -> None:
    assert parse([]).domain == RESERVED_DOMAIN == LoadSettings().domain
    assert parse(["--i-know-this-sends-real-mail-to", "mine.org"]).domain == "mine.org"


def test_the_web_page_is_on_loopback_and_shapes_are_chosen_by_name() -> None:
    words = command(["--shape", "soak", "--port", "9000", "--users", "5"])
    assert words[words.index("--web-host") + 1] == "127.0.0.1"
    assert words[words.index("-f") + 1].endswith("shapes/soak.py")
    assert words[-2:] == ["--users", "5"]
