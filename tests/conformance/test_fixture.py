"""What an operator writes is checked whole, and every fault is named with its place."""

import json
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from soleclaim.conformance.families import fixture_of
from soleclaim.conformance.fixture import FixtureFault, load_fixture
from soleclaim.conformance.model import Need
from soleclaim.conformance.native_side import NativeSide, Record
from soleclaim.parts.examples import EXAMPLES
from soleclaim.parts.stand_ins import NativeSystem

NOWHERE = "http://127.0.0.1:1"
GOOD = """
registry = "mine"
time_zone = "Asia/Shanghai"
unknown_project = "P-0"

[unmeasured]
first = 2025-09-01
last = 2025-09-30

[peer]
registry = "gec"
instrument = "GEC"

[[projects]]
id = "P-1"
identifiers = [["cn_project_code", "2409-440000-89-01-000001"]]
outcomes = [{ first = 2025-03-01, last = 2025-03-31, units = 10 }]
"""


def test_small_fixture_is_enough_and_offers_no_hook(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(GOOD, encoding="utf-8")
    fixture = load_fixture(path)
    assert NativeSide(fixture).offers() == set()
    assert str(fixture.projects[0].outcomes[0].period(fixture.zone)) == "2025-02-28T16:00:00Z/2025-03-31T16:00:00Z"


def test_fixture_may_be_json(tmp_path: Path) -> None:
    path = tmp_path / "mine.json"
    fixture = fixture_of(NativeSystem(EXAMPLES["gec"], NOWHERE, NOWHERE), ["adapter"])
    path.write_text(fixture.model_dump_json(exclude_none=True), encoding="utf-8")
    assert load_fixture(path) == fixture


def test_hooks_of_a_known_kind_meet_every_native_need() -> None:
    offers = NativeSide(fixture_of(NativeSystem(EXAMPLES["ccer"], NOWHERE, NOWHERE), [])).offers()
    faults = {Need.ANSWER_LOST, Need.NOT_DONE, Need.DONE_LATE, Need.GARBLED, Need.SLOW, Need.DOWN}
    assert offers == faults | {Need.NATIVE_RECORDS}


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ('time_zone = "Asia/Shangai"', "time_zone"),
        ('registri = "mine"', "registri"),
        ("last = 2025-08-31", "unmeasured"),
        ('[native]\nkind = "nobody"\nurl = "http://127.0.0.1:1"', "native.kind"),
        ('[native]\nkind = "gec"', "native"),
        ('[adapter]\nkill = ["kill", "1"]', "adapter"),
        ('[lookup]\nkill = ["kill", "1"]', "lookup.restart"),
        ("units = 10", "projects.0.outcomes.0.units"),
    ],
)
def test_every_mistake_is_named_with_its_place(tmp_path: Path, wrong: str, named: str) -> None:
    key = wrong.partition(" =")[0]
    lines = [line for line in GOOD.splitlines() if not line.startswith(f"{key} =")]
    text = "\n".join(lines)
    if wrong == "units = 10":
        text = GOOD.replace(wrong, "units = 0")
    elif wrong.startswith("["):
        text = f"{GOOD}\n{wrong}\n"
    elif key == "last":
        text = GOOD.replace("last = 2025-09-30", wrong)
    else:
        text = f"{wrong}\n{text}"
    path = tmp_path / "wrong.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(FixtureFault, match=rf"(?m)^  {named}\b"):
        load_fixture(path)


async def test_native_records_may_come_from_an_address_of_the_operator(tmp_path: Path) -> None:
    row = {"reference": "mine-1", "fencing_token": 7, "units": 3, "first": "2025-03-01", "last": "2025-03-31"}
    (tmp_path / "P-1").write_text(json.dumps({"issuances": [row]}), encoding="utf-8")
    handler = partial(SimpleHTTPRequestHandler, directory=str(tmp_path))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        path = tmp_path / "mine.toml"
        address = f"http://127.0.0.1:{server.server_port}/{{project}}"
        path.write_text(f'{GOOD}\n[native]\nissuances_url = "{address}"\n', encoding="utf-8")
        fixture = load_fixture(path)
        records = await NativeSide(fixture).records("P-1")
        server.shutdown()
        thread.join()
    assert records == [Record("mine-1", 7, fixture.projects[0].outcomes[0].period(fixture.zone), 3)]
