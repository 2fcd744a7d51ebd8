"""Worker processes that something ends or stops without their parent's word."""

from __future__ import annotations

from tests.support.fleet import Fleet
from tests.support.waiting import eventually


def once(fleet: Fleet, action: str) -> str:
    """A task that does something to its worker process when it is run for the first time."""
    mark = fleet.folder / "acted"
    return f"bash -c 'if ! test -e {mark}; then touch {mark}; {action}; fi'"


def test_a_process_that_its_task_terminates_is_replaced(fleet: Fleet) -> None:
    fleet.add([once(fleet, "kill $PPID; sleep 60")])
    ended = fleet.start().wait()
    assert ended.returncode == 0, ended.stderr
    said = "a worker process was stopped by SIGTERM, sent to it alone; starting another in its"
    assert said in ended.stderr
    assert fleet.table.states() == {"done": 1}


def test_without_replacement_a_worker_ends_well_with_its_items_todo(fleet: Fleet) -> None:
    fleet.guard = "replacement"
    fleet.add([once(fleet, "kill $PPID; sleep 60")])
    assert fleet.start().wait().returncode == 0
    assert fleet.table.states() == {"todo": 1}


def test_a_worker_whose_processes_are_terminated_again_and_again_says_so(fleet: Fleet) -> None:
    fleet.add(["bash -c 'kill $PPID; sleep 60'"])
    ended = fleet.start().wait()
    assert ended.returncode == 75
    assert "its items were released, and no other is started in its place" in ended.stderr
    assert fleet.table.states() == {"todo": 1}
    assert fleet.table.items()[0]["Attempts"] == 0


STOP = "kill -STOP $PPID"


def test_a_process_that_its_task_stops_is_continued(fleet: Fleet) -> None:
    fleet.add([once(fleet, STOP)])
    ended = fleet.start("--lease", "6").wait()
    assert ended.returncode == 0, ended.stderr
    assert "was stopped by a signal: continuing it before its leases expire" in ended.stderr
    assert fleet.table.states() == {"done": 1}
    assert fleet.table.items()[0]["Attempts"] == 1


def test_without_a_look_at_it_a_stopped_process_loses_its_item(fleet: Fleet) -> None:
    fleet.guard = "looks"
    fleet.add([once(fleet, STOP)])
    fleet.start("--lease", "2")
    eventually((fleet.folder / "acted").exists)
    fleet.start("--lease", "2", "--idle-timeout", "10").wait()
    assert fleet.table.states() == {"done": 1}
    assert fleet.table.items()[0]["Attempts"] == 2


def test_a_process_that_is_stopped_again_and_again_is_replaced(fleet: Fleet) -> None:
    fleet.add([f"bash -c 'while true; do {STOP}; sleep 0.01; done'"])
    ended = fleet.start("--lease", "2", "--max-attempts", "1").wait()
    assert ended.returncode == 1, ended.stderr
    assert "was stopped repeatedly; killing it" in ended.stderr
    assert fleet.table.items()[0]["Log"]["Status"] == "Execution Failed: abandoned after 1 claim"
