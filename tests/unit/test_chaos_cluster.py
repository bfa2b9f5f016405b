"""What chaos on a cluster concludes from what it sees there."""

from loadtest.chaos import schedule
from loadtest.chaos.cluster import FAULTS, recoveries
from loadtest.chaos.pods import Addresses
from loadtest.chaos.record import Kind
from tests.unit.test_chaos_account import fault, record, send


def test_a_mail_belongs_to_the_pod_that_had_the_address_at_the_time() -> None:
    addresses = Addresses()
    addresses.seen("10.0.0.5", "w-old", 100.0)
    addresses.seen("10.0.0.5", "w-new", 200.0)
    assert addresses.holder("10.0.0.5", 150.0) == "w-old"
    assert addresses.holder("10.0.0.5", 250.0) == "w-new"
    assert addresses.holder("10.0.0.5", 199.5) == "w-new", "seen up to a second after it came"
    assert addresses.holder("10.0.0.9", 150.0) == "10.0.0.9", (
        "a pod that nobody saw is no pod that was killed"
    )


def test_recovery_lasts_until_all_that_was_accepted_before_the_kill_is_delivered() -> None:
    made = record(send("a", 108.0, "w1"), faults=(fault(Kind.WORKER_KILL, 100.0),))
    assert [took_s for _, took_s in recoveries(made)] == [8.0]
    assert recoveries(record(send("a", 95.0))) == []


def test_every_fault_of_a_cluster_is_planned_as_often_as_it_says() -> None:
    plan = schedule.draw(3, 150.0, FAULTS, workers=2, apis=2, lease_s=10.0)
    assert {kind: sum(fault.kind is kind for fault in plan) for kind in FAULTS} == FAULTS
