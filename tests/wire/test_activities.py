"""Activities: joined by shared identifiers, held where identifiers contradict, listed in pages."""

import asyncio
import secrets

from soleclaim.api.common.v1.types_pb2 import Identifier
from soleclaim.api.lookup.v1 import activity_service_pb2 as activity_pb2
from soleclaim.api.lookup.v1 import issuance_lock_service_pb2 as lock_pb2
from soleclaim.core.activity_id import parse_activity_id
from soleclaim.core.errors import Reason
from tests.wire.conftest import (
    ARB,
    CCER,
    GEC,
    REGULATOR,
    Party,
    Wire,
    block,
    fresh,
    items_of,
    meter,
    project,
    reason_of,
    refused,
    to_begin,
    to_commit,
    told,
    wish,
)


def filing_code() -> tuple[str, str]:
    """A GEC filing code that no other test uses; an activity has at most one."""
    return "gec_filing_code", f"F{secrets.token_hex(8).upper()}"


def vcs_number() -> tuple[str, str]:
    """Of a scheme that may give one activity several values."""
    return "vcs", str(secrets.randbelow(9_000_000) + 1)


def native(registry: str, name: str) -> activity_pb2.NativeProjectRef:
    return activity_pb2.NativeProjectRef(registry=registry, native_project_id=name)


async def resolved(party: Party, registry: str, name: str) -> activity_pb2.Activity:
    request = activity_pb2.ResolveActivityRequest(native_project=native(registry, name))
    found: activity_pb2.Activity = await party("ResolveActivity", request)
    return found


async def test_a_shared_identifier_joins_two_registries_to_one_activity(wire: Wire, ccer: Party, gec: Party) -> None:
    shared, theirs = meter(), filing_code()
    first = await ccer.register(shared, display_name="张北风电场")
    second = await gec.register(shared, theirs, display_name="Zhangbei", country="CN", activity_type="wind")
    assert second.name == first.name
    assert parse_activity_id(first.name.removeprefix("activities/"))[:2] == "CN"
    # The first name stays; identifiers and projects add up.
    assert second.display_name == "张北风电场"
    assert {(each.scheme, each.value) for each in second.identifiers} == {shared, theirs}
    assert {each.registry for each in second.native_projects} == {"ccer", "gec"}
    assert second.create_time == first.create_time
    # Found under every name, by anybody.
    for party in (ccer, gec, await wire.party(ARB), await wire.party(REGULATOR)):
        for each in second.native_projects:
            assert await resolved(party, each.registry, each.native_project_id) == second
        for scheme, value in (shared, theirs):
            identifier = Identifier(scheme=scheme, value=value)
            found = await party("ResolveActivity", activity_pb2.ResolveActivityRequest(identifier=identifier))
            assert found == second
        assert await party("GetActivity", activity_pb2.GetActivityRequest(name=first.name)) == second
    unknown = activity_pb2.ResolveActivityRequest(identifier=Identifier(scheme="cdm", value="999999"))
    refusal = await refused(ccer("ResolveActivity", unknown), Reason.ACTIVITY_UNKNOWN)
    assert refusal.variables == {"what": "identifier cdm 999999"}


async def test_an_identifier_chain_joins_whatever_the_order(ccer: Party, gec: Party) -> None:
    one, two, three = meter(), filing_code(), vcs_number()
    a = await ccer.register(one, three)
    b = await gec.register(two, three)
    c = await ccer.register(two)
    assert a.name == b.name == c.name
    assert len(c.native_projects) == 3


async def test_contradicting_identifiers_open_a_review_case_and_are_refused(
    wire: Wire, ccer: Party, gec: Party
) -> None:
    left, right = meter(), meter()
    a, b = await ccer.register(left), await gec.register(right)
    request = project("ccer", ("vcs", "77"), identifiers=[Identifier(scheme=s, value=v) for s, v in (left, right)])
    refusal = await refused(ccer("RegisterActivity", request), Reason.IDENTITY_UNDER_REVIEW)
    assert refusal.code == "FAILED_PRECONDITION"
    case = refusal.variables["case"]
    assert refusal.message_en == (
        f"its identity is under review: records contradict each other or may be of one activity; review case {case}; "
        "wait until a person has decided the case; what is wrong in your own registration, correct and register again"
    )
    # Which activities it would have joined is nobody's business but the reviewer's.
    for hidden in (a.name, b.name, a.native_projects[0].native_project_id, b.native_projects[0].native_project_id):
        assert hidden not in str(refusal)
    # Asking again finds the same case; the project stays unknown and the activities apart.
    request.request_id = fresh()
    assert (await refused(ccer("RegisterActivity", request), Reason.IDENTITY_UNDER_REVIEW)).variables["case"] == case
    await refused(resolved(ccer, "ccer", request.native_project.native_project_id), Reason.ACTIVITY_UNKNOWN)
    ((count,),) = wire.sql(f"SELECT count(*) FROM review_case WHERE case_id = {int(case)}")  # noqa: S608
    assert count == 1
    for each, party in ((a, ccer), (b, gec)):
        name = each.native_projects[0].native_project_id
        assert (await resolved(party, party.code, name)).name == each.name


async def test_two_values_of_a_single_valued_scheme_contradict(ccer: Party, gec: Party) -> None:
    shared = meter()
    first = await ccer.register(shared, filing_code())
    await refused(gec.register(shared, filing_code()), Reason.IDENTITY_UNDER_REVIEW)
    await refused(gec.register(filing_code(), filing_code()), Reason.IDENTITY_UNDER_REVIEW)
    # Schemes that give one plant several numbers do not contradict.
    vcs = [vcs_number() for _ in range(2)]
    assert (await gec.register(shared, *vcs)).name == first.name


async def test_registering_again_changes_nothing(ccer: Party) -> None:
    request = project("ccer", meter())
    first = await ccer("RegisterActivity", request)
    cursor = await ccer.now()
    request.request_id = fresh()
    assert await ccer("RegisterActivity", request) == first
    assert await ccer.events(cursor) == []
    # A new identifier is added, and told.
    scheme, value = filing_code()
    request.request_id = fresh()
    request.identifiers.add(scheme=scheme, value=value)
    again = await ccer("RegisterActivity", request)
    assert (again.name, len(again.identifiers)) == (first.name, 2)
    assert len(await ccer.events(cursor)) == 1


async def test_a_registered_project_is_not_moved_to_another_activity(ccer: Party, gec: Party) -> None:
    request = project("ccer", meter())
    first = await ccer("RegisterActivity", request)
    other = meter()
    await gec.register(other)
    moved = project("ccer", other, native_project=request.native_project)
    await refused(ccer("RegisterActivity", moved), Reason.IDENTITY_UNDER_REVIEW)
    name = request.native_project.native_project_id
    assert (await resolved(ccer, "ccer", name)).name == first.name


async def test_items_of_a_batch_see_the_ones_before(ccer: Party) -> None:
    shared, code = meter(), filing_code()
    items = items_of(
        project("ccer", shared),
        project("ccer", shared, code),
        project("ccer", code),
        project("ccer", code, filing_code()),
        project("ccer", meter(), country="x"),
        project("gec", meter()),
    )
    batch = activity_pb2.BatchRegisterActivitiesRequest(request_id=fresh(), requests=items)
    results = (await ccer("BatchRegisterActivities", batch)).results
    expected = [None, None, None, Reason.IDENTITY_UNDER_REVIEW, Reason.INVALID_REQUEST, Reason.REGISTRY_NOT_YOURS]
    assert [reason_of(each) for each in results] == expected
    names = {each.activity.name for each in results[:3]}
    assert len(names) == 1
    assert told(results[4].error).violations[0].field == "requests[4].country"
    assert len(results[0].activity.native_projects) == 3


async def test_two_registries_that_meet_at_once_make_one_activity(wire: Wire) -> None:
    parties = [await wire.new_party(caller) for caller in (CCER, GEC, CCER, GEC)]
    for _ in range(6):
        shared = meter()
        answers = await asyncio.gather(*(party.register(shared) for party in parties))
        assert len({each.name for each in answers}) == 1
        found = await resolved(parties[0], "gec", answers[1].native_projects[-1].native_project_id)
        assert len(found.native_projects) == len(parties)


async def test_batches_that_share_identifiers_in_opposite_order_both_go_through(wire: Wire) -> None:
    parties = [await wire.new_party(caller) for caller in (CCER, GEC)]
    for _ in range(3):
        identifiers = [meter() for _ in range(40)]
        calls = []
        for i, party in enumerate(parties):
            order = identifiers[:: -1 if i else 1]
            items = items_of(*(project(party.code, each) for each in order))
            batch = activity_pb2.BatchRegisterActivitiesRequest(request_id=fresh(), requests=items)
            calls.append(party("BatchRegisterActivities", batch))
        left, right = await asyncio.gather(*calls)
        names = [[each.activity.name for each in answer.results] for answer in (left, right)]
        assert names[0] == names[1][::-1]
        assert len(set(names[0])) == 40


def joined(pages: list[list[str]]) -> list[str]:
    return [each for page in pages for each in page]


async def test_pages_give_every_activity_once_in_order_of_creation(own_wire: Wire) -> None:
    wire = own_wire
    names = await wire.activities(7, CCER)
    both = await wire.activities(3)
    party = await wire.party(CCER)

    async def pages(**query: object) -> list[list[str]]:
        found: list[list[str]] = []
        token = ""
        while True:
            request = activity_pb2.ListActivitiesRequest(page_token=token, **query)  # type: ignore[arg-type]
            page = await party("ListActivities", request)
            found.append([each.name for each in page.activities])
            token = page.next_page_token
            if not token:
                return found

    assert [len(each) for each in await pages(page_size=3)] == [3, 3, 3, 1]
    assert joined(await pages(page_size=3)) == [*names, *both]
    assert await pages() == [[*names, *both]]
    assert joined(await pages(page_size=2, registry="gec")) == both
    assert joined(await pages(page_size=2, registry="arb")) == []
    # What comes in between two pages is found by the second one.
    request = activity_pb2.ListActivitiesRequest(page_size=10)
    first = await party("ListActivities", request)
    late = await wire.activity(CCER)
    request.page_token = first.next_page_token
    assert [each.name for each in (await party("ListActivities", request)).activities] == [late]


async def test_pages_of_locks_stay_under_the_message_limit(own_wire: Wire) -> None:
    """Sixty-four blocks with long series each: a page of many such locks would never arrive."""
    party = await own_wire.party(CCER)
    activities = await own_wire.activities(200, CCER)
    wishes = items_of(*(wish("ccer", each, units=64) for each in activities))
    acquire = lock_pb2.BatchAcquireIssuanceLocksRequest(request_id=fresh(), requests=wishes)
    locks = [each.lock for each in (await party("BatchAcquireIssuanceLocks", acquire)).results]
    begin = lock_pb2.BatchBeginIssuancesRequest(request_id=fresh(), requests=items_of(*map(to_begin, locks)))
    await party("BatchBeginIssuances", begin)
    for start in range(0, len(locks), 50):
        commits = [
            to_commit(lock, *(block(f"{lock.name.partition('/')[2]:长>120}{i}", 1, 1) for i in range(64)))
            for lock in locks[start : start + 50]
        ]
        commit = lock_pb2.BatchCommitIssuancesRequest(request_id=fresh(), requests=items_of(*commits))
        assert all(each.HasField("lock") for each in (await party("BatchCommitIssuances", commit)).results)
    found: list[str] = []
    request = lock_pb2.ListIssuanceLocksRequest(page_size=1000)
    while True:
        page = await party("ListIssuanceLocks", request)
        assert page.issuance_locks
        found += [each.name for each in page.issuance_locks]
        assert all(len(each.issuances[0].blocks) == 64 for each in page.issuance_locks)
        request.page_token = page.next_page_token
        if not request.page_token:
            break
    assert found == sorted((each.name for each in locks), key=lambda name: int(name.partition("/")[2]))
