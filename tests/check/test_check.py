"""Every way in which an invariant can be broken is planted by hand, and found. A check that cannot fail is a defect."""

import json
from pathlib import Path

import httpx
import pytest

from soleclaim.check.findings import INVARIANTS, KINDS, CannotLook
from soleclaim.check.natives import NativeTarget
from soleclaim.check.source import open_snapshot
from soleclaim.sandbox.server import running
from tests.check.conftest import (
    ABORTED,
    BEGUN,
    CODE,
    COMMITTED,
    FEBRUARY,
    GRANTED,
    JANUARY,
    KEY,
    MOVED,
    RELEASED,
    SUPPLEMENTED,
    World,
    series_key,
)

SERIES = f"{CODE}202501-1T"
"""What the first lock issued, serials 1 to 100."""
HALF = (JANUARY[0] + 1, FEBRUARY[0] + 1)


def test_nothing_is_found_where_all_holds(world: World) -> None:
    findings = world.check()
    assert findings.violations == []
    assert findings.not_looked == []
    # Every invariant looked at something: silence about nothing proves nothing.
    assert {name for name, seen in findings.looked_at.items() if not seen.total()} == set()


def test_empty_stores_hold(empty_world: World) -> None:
    assert empty_world.kinds() == []


class TestSettlements:
    """Certificates that moved with power: I3 once more."""

    @staticmethod
    def settle(world: World, number: int, start: int, end: int, *, state: int = 1, live: bool = True) -> None:
        """A line for serials of the series that the first lock issued."""
        world.lookup.insert(
            "settlement_line", number=number, registry="gp-bj", settlement_id=f"L{number}", corrects="",
            native_project_id="p", contract="c", start_us=JANUARY[0], end_us=JANUARY[1], energy_kwh=1_000,
            buyer_code="b", create_us=1,
        )  # fmt: skip
        world.lookup.insert(
            "settlement_standing", number=number, registry="gp-bj", chain=f"L{number}", state=state, look_us=1
        )
        world.lookup.insert(
            "settlement_block", number=number, series=SERIES, series_key=series_key("gec", SERIES),
            start_serial=start, end_serial=end, live=live,
        )  # fmt: skip

    def test_certificates_that_moved_once_hold(self, world: World) -> None:
        self.settle(world, 1, 1, 10)
        self.settle(world, 2, 11, 20)
        findings = world.check()
        assert (findings.violations, findings.facts) == ([], [])
        assert findings.looked_at["I3"]["certificates moved"] == 2

    def test_a_certificate_that_moved_twice_is_found_and_names_both_lines(self, world: World) -> None:
        world.lookup.unguard()
        self.settle(world, 1, 1, 10)
        self.settle(world, 2, 10, 20)
        [violation] = world.check().violations
        assert (violation.kind, violation.variables["line"], violation.variables["other"]) == (
            "MOVED_TWICE", "L2", "gp-bj L1",
        )  # fmt: skip

    def test_a_line_whose_standing_and_ranges_disagree_is_found(self, world: World) -> None:
        self.settle(world, 1, 1, 10, live=False)
        self.settle(world, 2, 11, 20, state=4)
        assert [each.kind for each in world.check().violations] == ["MOVED_WRONGLY", "MOVED_WRONGLY"]

    def test_certificates_that_were_never_issued_are_found(self, world: World) -> None:
        self.settle(world, 1, 91, 110)
        assert [each.kind for each in world.check().violations] == ["MOVED_UNISSUED"]

    def test_a_contradiction_is_a_fact_for_a_person_and_no_violation(self, world: World) -> None:
        self.settle(world, 1, 1, 10)
        self.settle(world, 2, 5, 15, state=2, live=False)
        findings = world.check()
        assert findings.violations == []
        [fact] = findings.facts
        assert (fact.kind, fact.variables["line"], fact.variables["other"]) == ("SETTLEMENTS_CONTRADICT", "L2", "L1")
        assert "L1" in fact.told("zh")


class TestFacts:
    """What breaks no invariant and a person must settle."""

    @staticmethod
    def cover(
        world: World, registry: str = "cea", *, key: int = 9, number: int = 1, inside: str = "", end: int | None = None
    ) -> None:
        world.lookup.insert(
            "native_project", registry=registry, native_project_id=f"unit-{key}", activity_key=key, country="CN"
        )
        world.lookup.insert(
            "coverage_statement", number=number, registry=registry, statement_id=f"S{number}", corrects="",
            native_project_id=f"unit-{key}", registration="{}", inside=inside, boundary="全厂", sector="",
            start_us=JANUARY[0], end_us=end, withdrawn=False, create_us=1,
        )  # fmt: skip
        world.lookup.insert("coverage_in_force", number=number)

    def test_a_credit_issued_inside_a_boundary_is_told_and_no_violation(self, world: World) -> None:
        world.lock(2, 20, period=FEBRUARY, registry="arb", instrument="ARBOC")
        self.cover(world, key=KEY)
        findings = world.check(natives={}, journals={})
        assert findings.violations == []
        [fact] = findings.facts
        assert (fact.kind, fact.variables["lock"], fact.variables["covering"]) == ("ISSUED_INSIDE_BOUNDARY", "2", "cea")
        assert fact.variables["rule"] in fact.told("zh")
        assert findings.as_json("en")["facts"] == [{"kind": fact.kind, "message": fact.told("en"), **fact.variables}]

    def test_a_part_of_a_covered_unit_is_inside_it_and_an_own_unit_is_not(self, world: World) -> None:
        world.lock(2, 20, period=FEBRUARY, registry="arb", instrument="ARBOC")
        self.cover(world, "eur-zj", key=KEY, inside="unit-9", end=FEBRUARY[0])
        world.lookup.run("DELETE FROM coverage_in_force")
        self.cover(world, "eur-zj", number=2)
        assert world.check(natives={}, journals={}).facts == []
        world.lookup.insert("coverage_in_force", number=1)
        [fact] = world.check(natives={}, journals={}).facts
        assert fact.variables["covered"].endswith("/..")
        world.lookup.run("UPDATE issuance_lock SET registry = 'eur-zj' WHERE lock_id = 2")
        assert world.check(natives={}, journals={}).facts == []


class TestI1:
    def test_two_locks_on_one_outcome(self, world: World) -> None:
        world.lock(2, 20, period=HALF, registry="ccer", instrument="CCER")
        assert world.kinds() == ["GRANTED_WHILE_CLAIMED", "LOCKS_OVERLAP"]

    def test_locks_that_only_touch_hold(self, world: World) -> None:
        world.lock(2, 20, period=FEBRUARY, registry="arb", instrument="ARBOC")
        assert world.kinds() == []

    def test_disjoint_slices_hold(self, world: World) -> None:
        world.lookup.run("UPDATE segment SET slice_end = 1000")
        world.lookup.run("UPDATE issuance_lock SET slice_end = 1000")
        world.lock(2, 20, registry="arb", instrument="ARBOC")
        world.lookup.run("UPDATE segment SET slice_start = 1000 WHERE lock_id = 2")
        world.lookup.run("UPDATE issuance_lock SET slice_start = 1000 WHERE lock_id = 2")
        assert world.kinds() == []

    def test_overlap_of_the_past_is_found_though_one_lock_has_ended(self, world: World) -> None:
        world.lock(2, 20, registry="arb", instrument="ARBOC", units=0)
        world.lookup.run("UPDATE segment SET live = ? WHERE lock_id = 2", False)
        world.lookup.run("UPDATE issuance_lock SET state = 6, issuance_count = 0 WHERE lock_id = 2")
        world.lookup.run("DELETE FROM issuance WHERE lock_id = 2")
        world.lookup.run("DELETE FROM unit_block WHERE lock_id = 2")
        world.lookup.run("UPDATE history_entry SET kind = ? WHERE entry_id = 22", ABORTED)
        assert world.kinds() == ["GRANTED_WHILE_CLAIMED"]

    def moved(self, world: World, period: tuple[int, int]) -> None:
        """A lock of another activity that a merge brought here."""
        world.lock(2, 20, registry="arb", instrument="ARBOC", period=period, key=KEY + 1)
        for table in ("issuance_lock", "segment"):
            world.lookup.run(f"UPDATE {table} SET activity_key = ? WHERE lock_id = 2", KEY)  # noqa: S608  the names are our own tables
        world.history(30, MOVED, 2, 20)

    def test_a_lock_that_a_merge_moved_is_followed(self, world: World) -> None:
        self.moved(world, FEBRUARY)
        assert world.kinds() == []

    def test_a_lock_that_a_merge_moved_onto_a_claimed_outcome(self, world: World) -> None:
        self.moved(world, JANUARY)
        assert world.kinds() == ["GRANTED_WHILE_CLAIMED", "LOCKS_OVERLAP"]

    def test_what_two_activities_claimed_each_before_their_merge_holds(self, world: World) -> None:
        self.moved(world, JANUARY)
        world.lookup.run("UPDATE segment SET live = ? WHERE lock_id = 2", False)
        world.lookup.run("UPDATE issuance_lock SET state = 6, issuance_count = 0, issued_units = 0 WHERE lock_id = 2")
        world.lookup.run("DELETE FROM issuance WHERE lock_id = 2")
        world.lookup.run("DELETE FROM unit_block WHERE lock_id = 2")
        world.lookup.run("UPDATE history_entry SET kind = ? WHERE entry_id = 22", ABORTED)
        assert world.kinds() == []

    def test_lock_whose_segment_is_gone(self, world: World) -> None:
        world.lookup.run("DELETE FROM segment")
        assert world.kinds() == ["LOCK_NOT_COVERED"]

    def test_lock_whose_segment_is_not_live(self, world: World) -> None:
        world.lookup.run("UPDATE segment SET live = ?", False)
        assert world.kinds() == ["LOCK_NOT_COVERED"]

    def test_lock_whose_segment_is_too_short(self, world: World) -> None:
        world.lookup.run("UPDATE segment SET period_end_us = period_end_us - 1")
        assert world.kinds() == ["LOCK_NOT_COVERED"]

    def test_live_segment_of_a_lock_that_is_not_there(self, world: World) -> None:
        world.segment(99, period=FEBRUARY)
        assert world.kinds() == ["SEGMENT_WITHOUT_LOCK"]


class TestI2:
    def test_native_issuance_without_a_lock(self, world: World) -> None:
        world.issue_natively("by-hand", 1, month="2025-02")
        assert world.kinds() == ["ISSUED_WITHOUT_LOCK"]

    def test_native_issuance_whose_lock_was_given_back(self, world: World) -> None:
        world.lock(2, 20, period=FEBRUARY)
        world.issue_natively("gec-2", 20, month="2025-02")
        world.entry(2, 20, month="02")
        world.lookup.run("UPDATE issuance_lock SET state = 4, issuance_count = 0, issued_units = 0 WHERE lock_id = 2")
        world.lookup.run("DELETE FROM issuance WHERE lock_id = 2")
        world.lookup.run("DELETE FROM unit_block WHERE lock_id = 2")
        findings = world.check()
        hints = [each.variables["hint"] for each in findings.violations if each.kind == "ISSUED_WITHOUT_LOCK"]
        assert hints == ["lock 2 is RELEASED"]

    def test_native_issuance_under_a_lock_still_being_issued_holds(self, world: World) -> None:
        world.lock(2, 20, period=FEBRUARY)
        world.issue_natively("gec-2", 20, month="2025-02")
        world.entry(2, 20, month="02", stage="SENDING")
        world.lookup.run("UPDATE issuance_lock SET state = 2, issuance_count = 0, issued_units = 0 WHERE lock_id = 2")
        world.lookup.run("DELETE FROM issuance WHERE lock_id = 2")
        world.lookup.run("DELETE FROM unit_block WHERE lock_id = 2")
        world.lookup.run("DELETE FROM history_entry WHERE entry_id = 22")
        assert world.kinds() == []

    def test_committed_issuance_that_the_native_registry_does_not_have(self, world: World) -> None:
        world.lock(2, 20, period=FEBRUARY)
        world.entry(2, 20, month="02")
        assert world.kinds() == ["NOT_IN_NATIVE_REGISTRY"]

    def test_two_locks_with_one_reference(self, world: World) -> None:
        world.lock(2, 20, period=FEBRUARY, reference="gec-1")
        assert "REFERENCE_ON_TWO_LOCKS" in world.kinds()

    def test_two_native_issuances_under_one_reference(self, world: World, tmp_path: Path) -> None:
        """CCER does not guard its references; a call that ran twice shows here."""
        project = {
            "projectInfoId": "1500000000000000777",
            "projectCode": "2509-320193-89-01-544060",
            "projectName": "one",
            "orgCustomerName": "its owner",
            "projectType": "A0102",
            "projectTypeName": "风力发电",
            "methodologyNum": "CCER-01-002-V01",
            "provinceName": "江苏省",
            "expectYearNum": 1000,
        }
        dates = {"projectInfoId": project["projectInfoId"], "startDate": "20250201", "endDate": "20250228"}
        order = {**dates, "issueNum": 100, "externalReference": "ccer-2", "fencingToken": 20}
        world.lock(2, 20, period=FEBRUARY, registry="ccer", instrument="CCER", reference="ccer-2")
        with running("ccer", tmp_path / "native-ccer.db") as url:
            for path, body in (
                ("projects", {"projects": [project]}),
                ("reductions", {"reductions": [{**dates, "certifiedNum": 1000}]}),
                ("issue", order),
                ("issue", order),
            ):
                httpx.post(f"{url}/api/assumed/{path}", json=body, trust_env=False).raise_for_status()
            findings = world.check(natives={"ccer": NativeTarget("ccer", url)})
        assert "ISSUED_TWICE" in {each.kind for each in findings.violations}

    @pytest.mark.parametrize(
        ("change", "field"),
        [
            ("UPDATE issuance SET native_issuance_id = 'GEC000000000009'", "native issuance id"),
            ("UPDATE unit_block SET start_serial = 2, end_serial = 101", "serials"),
        ],
    )
    def test_lookup_and_native_registry_differ(self, world: World, change: str, field: str) -> None:
        world.lookup.run(change)
        differing = [each for each in world.check().violations if each.kind == "DIFFERS_FROM_NATIVE"]
        assert [each.variables["field"] for each in differing] == [field]

    def test_units_and_period_differ(self, world: World) -> None:
        world.lock(2, 20, period=(FEBRUARY[0], FEBRUARY[1] - 1), units=99)
        world.issue_natively("gec-2", 20, month="2025-02", units=100)
        differing = {each.variables.get("field") for each in world.check().violations}
        assert {"period end", "units", "serials"} <= differing


class TestI3AndI4:
    def test_blocks_that_overlap(self, world: World) -> None:
        world.block(1, 10, 50, 150, series=f"{CODE}202501-1T")
        assert "BLOCKS_OVERLAP" in world.kinds()

    def test_block_inside_a_longer_one_two_before_it(self, world: World) -> None:
        world.block(1, 10, 200, 900, series="long")
        world.block(1, 10, 300, 310, series="long")
        world.block(1, 10, 800, 950, series="long")
        overlaps = [each for each in world.check().violations if each.kind == "BLOCKS_OVERLAP"]
        assert [(each.variables["start"], each.variables["before"]) for each in overlaps] == [
            ("300", "900"),
            ("800", "900"),
        ]

    def test_same_serials_of_two_registries_hold(self, world: World) -> None:
        world.lock(2, 20, period=FEBRUARY, registry="arb", instrument="ARBOC")
        world.lookup.run("UPDATE unit_block SET series = 'same'")
        kinds = world.kinds()
        assert "BLOCKS_OVERLAP" not in kinds

    def test_disputed_serials_that_no_dispute_names(self, world: World) -> None:
        world.lookup.run(
            "INSERT INTO disputed_block (lock_id, token, registry, series, series_key, start_serial, end_serial)"
            " VALUES (1, 10, 'gec', 'S', 1, 5, 6)"
        )
        assert "SERIALS_NOT_IN_DISPUTE" in world.kinds()

    def test_block_that_ends_before_it_starts(self, world: World) -> None:
        if world.lookup.postgres:
            pytest.skip("PostgreSQL's range type refuses such a row by itself")
        world.block(1, 10, 900, 800, series="reversed")
        assert "BLOCK_REVERSED" in world.kinds()

    def test_blocks_that_do_not_add_up(self, world: World) -> None:
        world.lookup.run("UPDATE unit_block SET end_serial = 99")
        assert "BLOCKS_COUNT_WRONG" in world.kinds()

    def test_block_under_no_issuance(self, world: World) -> None:
        world.block(1, 11, 1, 5, series="stray")
        assert world.kinds() == ["BLOCK_WITHOUT_ISSUANCE"]

    def test_issuance_under_a_lock_of_another_registry(self, world: World) -> None:
        world.lookup.run("UPDATE issuance_lock SET registry = 'ccer', instrument = 'CCER'")
        assert "ISSUANCE_WITHOUT_LOCK" in world.kinds()

    def test_lock_that_counts_other_than_the_ledger(self, world: World) -> None:
        world.lookup.run("UPDATE issuance_lock SET issued_units = 90")
        assert world.kinds() == ["LEDGER_SUM_WRONG"]


class TestI6:
    def test_more_issued_than_measured(self, world: World) -> None:
        world.lookup.run("UPDATE outcome SET quantity = 99999")
        assert world.kinds() == ["MORE_THAN_MEASURED"]

    def test_exactly_what_was_measured_holds(self, world: World) -> None:
        world.lookup.run("UPDATE outcome SET quantity = 100000")
        assert world.kinds() == []

    def test_carried_in_counts(self, world: World) -> None:
        world.lookup.run("UPDATE outcome SET quantity = 99001")
        world.lookup.run("UPDATE issuance_lock SET carried_in = 999")
        assert world.kinds() == []

    def test_more_carried_in_than_remained(self, world: World) -> None:
        world.lookup.run("UPDATE outcome SET quantity = 100400")
        world.lock(2, 20, period=FEBRUARY, carried_in=401)
        world.outcome(500_000, period=FEBRUARY)
        world.entry(2, 20, month="02")
        world.issue_natively("gec-2", 20, month="2025-02")
        assert world.kinds() == ["CARRIED_TOO_MUCH"]

    def test_a_whole_unit_carried_in(self, world: World) -> None:
        world.lookup.run("UPDATE issuance_lock SET carried_in = 1000")
        assert world.kinds() == ["CARRIED_TOO_MUCH"]

    def test_policy_that_is_not_at_hand_is_not_silence(self, world: World) -> None:
        world.lookup.run("UPDATE policy_bundle SET hash = 'another'")
        findings = world.check()
        assert findings.violations == []
        assert "policy bundle another" in findings.not_looked[0]


class TestI7:
    def test_token_that_does_not_rise(self, world: World) -> None:
        world.history(50, GRANTED, 2, 9)
        world.history(51, RELEASED, 2, 9)
        assert world.kinds() == ["TOKEN_NOT_RISING"]

    @pytest.mark.parametrize(
        ("entries", "expected"),
        [
            ([(50, BEGUN, 10)], "a second begin under a used token"),
            ([(50, COMMITTED, 10)], "a commit that was not begun"),
            ([(50, SUPPLEMENTED, 50), (51, BEGUN, 10), (52, COMMITTED, 10)], "begin with the token before"),
            ([(50, RELEASED, 10)], "release of what was issued"),
        ],
        ids=lambda each: each if isinstance(each, str) else "",
    )
    def test_step_that_the_grant_does_not_allow(
        self, world: World, entries: list[tuple[int, int, int]], expected: str
    ) -> None:
        assert expected
        for entry_id, kind, token in entries:
            world.history(entry_id, kind, 1, token)
        assert "STEP_WITHOUT_GRANT" in world.kinds()

    def test_abort_without_evidence(self, world: World) -> None:
        world.lookup.run("UPDATE history_entry SET kind = ?, detail = '' WHERE kind = ?", ABORTED, COMMITTED)
        assert "STEP_WITHOUT_GRANT" in world.kinds()

    def test_supplement_under_a_rising_token_holds(self, world: World) -> None:
        for entry_id, kind in ((50, SUPPLEMENTED), (51, BEGUN), (52, COMMITTED)):
            world.history(entry_id, kind, 1, 50)
        world.lookup.run("UPDATE issuance_lock SET token = 50, issued_units = 150, issuance_count = 2")
        world.lookup.insert(
            "issuance",
            registry="gec",
            native_issuance_id="GEC000000000002",
            lock_id=1,
            token=50,
            reference="gec-more",
            units=50,
            commit_us=1,
        )
        world.block(1, 50, 101, 150, series=f"{CODE}202501-1T")
        world.issue_natively("gec-more", 50, units=50)
        assert world.kinds() == ["NOT_IN_JOURNAL"]

    def test_lock_in_a_state_that_its_history_does_not_tell(self, world: World) -> None:
        world.lookup.run("DELETE FROM history_entry WHERE kind = ?", COMMITTED)
        assert world.kinds() == ["STATE_NOT_IN_HISTORY"]

    def test_lock_that_moved_to_another_activity_without_history(self, world: World) -> None:
        world.lookup.run("UPDATE issuance_lock SET activity_key = activity_key + 1")
        world.lookup.run("UPDATE segment SET activity_key = activity_key + 1")
        assert world.kinds() == ["LOCK_MOVED_SILENTLY"]

    def test_lock_without_history(self, world: World) -> None:
        world.lookup.run("DELETE FROM history_entry")
        assert world.kinds() == ["STATE_NOT_IN_HISTORY"]

    def test_native_record_under_another_token(self, world: World) -> None:
        world.lookup.run("UPDATE issuance_lock SET token = 11")
        world.lookup.run("UPDATE issuance SET token = 11")
        world.lookup.run("UPDATE unit_block SET token = 11")
        world.lookup.run("UPDATE history_entry SET token = 11")
        world.journal.run("UPDATE issuance SET fencing_token = 11")
        assert world.kinds() == ["TOKEN_DIFFERS_NATIVELY"]


class TestI10:
    def test_request_without_an_answer(self, world: World) -> None:
        world.lookup.run("UPDATE request SET answer = NULL")
        assert world.kinds() == ["ANSWER_MISSING"]

    def test_answer_about_a_lock_that_is_not_there(self, world: World) -> None:
        world.answer("request-99", 99, 10, JANUARY)
        assert world.kinds() == ["ANSWER_DIFFERS"]

    def test_answer_with_another_period(self, world: World) -> None:
        world.answer("request-99", 1, 10, FEBRUARY)
        assert world.kinds() == ["ANSWER_DIFFERS"]

    def test_answer_with_a_token_never_given(self, world: World) -> None:
        world.answer("request-99", 1, 11, JANUARY)
        assert world.kinds() == ["ANSWER_DIFFERS"]

    def test_request_stored_twice(self, world: World) -> None:
        if world.journal.postgres:
            world.batch(9, "request-1")
            assert world.kinds() == ["REQUEST_TWICE"]
        else:
            world.lookup.run("ALTER TABLE request RENAME TO request_before")
            world.lookup.run(
                "CREATE TABLE request AS SELECT * FROM request_before UNION ALL SELECT * FROM request_before"
            )
            assert world.kinds() == ["REQUEST_TWICE"]

    def test_refused_though_it_was_issued(self, world: World) -> None:
        world.journal.run("UPDATE issuance SET stage = 'REFUSED'")
        world.journal.run("UPDATE issuance_history SET stage = 'REFUSED'")
        assert world.kinds() == ["ANSWERED_OTHERWISE"]

    def test_waiting_though_it_was_issued(self, world: World) -> None:
        for table in ("issuance", "issuance_history"):
            world.journal.run(f"UPDATE {table} SET stage = 'UNDER_REVIEW'")  # noqa: S608  our own table names
        assert world.kinds() == ["ANSWERED_OTHERWISE"]

    def test_waiting_and_issued_nowhere_holds(self, world: World) -> None:
        world.entry(9, 90, stage="UNDER_REVIEW", month="09")
        assert world.kinds() == []

    def test_answered_with_other_serials(self, world: World) -> None:
        world.journal.run("UPDATE issuance SET blocks = '[[\"S\", 1, 100]]'")
        assert world.kinds() == ["ANSWERED_OTHERWISE"]

    def test_answer_that_changed(self, world: World) -> None:
        world.journal.run("UPDATE issuance_history SET stage = 'REFUSED'")
        assert world.kinds() == ["ANSWER_CHANGED"]

    def test_issuance_that_no_journal_knows(self, world: World) -> None:
        world.journal.run("DELETE FROM issuance_history")
        world.journal.run("DELETE FROM issuance")
        assert world.kinds() == ["NOT_IN_JOURNAL"]


class TestOutOfReach:
    """What could not be looked at is said, and is never "no violations"."""

    def test_native_registry_that_does_not_answer(self, world: World) -> None:
        findings = world.check(natives={"gec": NativeTarget("gec", "http://127.0.0.1:9")})
        assert findings.violations == []
        assert "native registry gec" in findings.not_looked[0]

    def test_native_registry_that_loses_rows(self, world: World) -> None:
        world.post("/_faults", {"fault": "lost_rows", "path": "/api/v1/issuances"})
        assert "native registry gec" in world.check().not_looked[0]

    def test_store_that_is_not_there(self, world: World, tmp_path: Path) -> None:
        findings = world.check(lookup_url=f"sqlite+aiosqlite:///{tmp_path / 'nothing.db'}")
        assert "does not exist" in findings.not_looked[0]
        assert not (tmp_path / "nothing.db").exists()

    def test_store_of_another_kind(self, world: World) -> None:
        assert "lookup store" in world.check(lookup_url=world.journal.url).not_looked[0]

    def test_file_that_is_no_database(self, world: World, tmp_path: Path) -> None:
        (tmp_path / "text.db").write_text("not a database, whatever its name says" * 100)
        assert world.check(lookup_url=f"sqlite+aiosqlite:///{tmp_path / 'text.db'}").not_looked

    def test_registry_without_its_own_side_is_named(self, world: World) -> None:
        findings = world.check(natives={}, journals={})
        assert findings.violations == []
        assert any("registry gec: 1 issuances not compared" in note for note, _ in findings.notes)


def test_a_store_is_opened_to_read_only(world: World) -> None:
    # PostgreSQL refuses it twice over: a cursor takes no such statement, and the transaction only reads.
    with (
        open_snapshot("store", world.lookup.url, tables=()) as snapshot,
        pytest.raises(CannotLook, match=r"(?i)read-?only|syntax"),
    ):
        list(snapshot.rows("DELETE FROM request"))


def test_a_snapshot_does_not_move(world: World) -> None:
    with open_snapshot("store", world.lookup.url, tables=("request",)) as snapshot:
        world.answer("request-99", 1, 10, JANUARY)
        assert list(snapshot.rows("SELECT COUNT(*) FROM request")) == [(1,)]


def test_every_kind_of_violation_is_planted_here() -> None:
    source = Path(__file__).read_text(encoding="utf-8")
    assert {kind for kind in KINDS if kind not in source} == set()
    assert {kind.invariant for kind in KINDS.values()} == set(INVARIANTS)


def test_result_is_one_json_document(world: World) -> None:
    world.lookup.run("UPDATE outcome SET quantity = 1")
    document = world.check().as_json("zh")
    assert document["violations"] == 1
    assert document["complete"] is True
    assert json.loads(json.dumps(document))["found"][0]["kind"] == "MORE_THAN_MEASURED"


def test_activity_is_named_as_people_write_it(world: World) -> None:
    world.lookup.run("UPDATE outcome SET quantity = 1")
    (violation,) = world.check().violations
    assert violation.variables["activity"].startswith("activities/CN")
    assert KEY == 7
