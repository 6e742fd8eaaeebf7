"""The registries there is a stand-in for, as targets of the kit: the fixture that follows from an example of each."""

from collections.abc import Sequence
from typing import Final

from soleclaim.conformance.fixture import Adapter, Days, Faults, Fixture, Native, Outcome, Peer, Project
from soleclaim.parts import examples
from soleclaim.parts.examples import EXAMPLES, Example, Filing, Result
from soleclaim.parts.stand_ins import NativeSystem
from soleclaim.policy.bundle import default_bundle

COUNT: Final = 36
"""Projects; each with two outcomes. The cases use up some sixty."""
UNITS: Final = 6
"""Units measured for each project and period: whole units, nothing is carried on."""
UNKNOWN: Final = 99
"""A number that no project has."""

NATIVE_TIMEOUT_S: Final = 2.5
"""The adapter gives a native call up after this."""
UNDER_WAY_S: Final = 2.0
SLOW_S: Final = 1.2
LATE_S: Final = 3.3
"""Later than the time-out, and before a call can no longer be under way."""
PATIENCE_S: Final = 60.0

FAMILIES: Final = {example.family: example for example in reversed(EXAMPLES.values())}
"""The first registry of each family; ``soleclaim conformance --kind`` plays it unless ``--registry`` names another."""


def filings(example: Example) -> list[Filing]:
    """All projects of a registry, told apart by name: from each other, and from those of other registries."""
    results = [Result(days, UNITS) for days in example.desk.measured]
    return [example.filing(number, results, name=f"{example.name}{number:03d}") for number in range(1, COUNT + 1)]


def peer_of(example: Example) -> Peer:
    """Another registry of the bundle whose instrument claims the same, and counts in another unit: so its outcomes
    are no other figures of the same thing.
    """
    bundle = default_bundle()
    own = next(code for code, row in bundle.instruments.items() if row.registry == example.registry)
    claimed = set(bundle.attribute_numbers[own])
    for code, row in bundle.instruments.items():
        if claimed & set(bundle.attribute_numbers[code]) and row.base_unit != bundle.instruments[own].base_unit:
            return Peer(registry=row.registry, instrument=code)
    raise LookupError(f"no registry of the bundle stands in the way of {example.registry}")


def fixture_of(native: NativeSystem, start: Sequence[str]) -> Fixture:
    """The fixture for a stand-in that was filled with ``filings``, and an adapter started by ``start``."""
    example = native.example
    return Fixture(
        registry=example.registry,
        time_zone="Asia/Shanghai",
        projects=tuple(map(_project, filings(example))),
        unmeasured=_days(example.desk.unmeasured),
        unknown_project=example.project.format(n=UNKNOWN),
        holder=example.owner,
        peer=peer_of(example),
        native=Native(
            kind=example.family,
            url=native.url,
            key_id=native.key_id,
            secret_file=native.secret_file,
            faults=_faults(native),
        ),
        adapter=Adapter(start=tuple(start)),
        patience_s=PATIENCE_S,
    )


def _days(days: examples.Days) -> Days:
    return Days(first=days.first, last=days.last)


def _project(filing: Filing) -> Project:
    outcomes = tuple(Outcome(first=days.first, last=days.last, units=units) for days, units in filing.results)
    return Project(id=filing.id, outcomes=outcomes, identifiers=(("cn_project_code", filing.project_code),))


def _faults(native: NativeSystem) -> Faults | None:
    """The switchboard that every stand-in has."""
    if not native.desk_url:
        return None
    url, issue_path = f"{native.desk_url}/_faults", native.example.desk.issue_path
    if native.example.by_files:
        # No call can fail where none is made; an order is done, and nobody says so.
        return Faults(url=url, answer_lost={"fault": "lost_ack", "path": "/order-", "times": 1})
    down = {"fault": "error_500", "path": "/", "times": -1}
    if not issue_path:
        return Faults(url=url, down=down)
    # By method: where lists are read at the same path, only issuing is meant.
    once = {"path": issue_path, "method": "POST", "times": 1}
    return Faults(
        url=url,
        answer_lost={"fault": "timeout_after_work", **once},
        not_done={"fault": "timeout_before_work", **once},
        done_late={"fault": "late_work", "delay_s": LATE_S, **once},
        garbled={"fault": "html_200", "after_work": True, **once},
        slow={"fault": "slow", "delay_s": SLOW_S, **once},
        down=down,
    )
