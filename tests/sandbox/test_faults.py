"""The fault switchboard, the same on every stand-in."""

import httpx
import pytest

from soleclaim.sandbox.faults import FAULTS

PAGE = "/api/v1/issuances?page=1&size=1"


def test_fault_is_used_up_and_its_hits_are_shown(gec: httpx.Client) -> None:
    gec.post("/_faults", json={"fault": "error_500", "times": 2, "path": "/api/v1/issuances"})
    statuses = [gec.get(PAGE).status_code for _ in range(3)]
    assert statuses == [500, 500, 200]
    expected = {
        "fault": "error_500",
        "path": "/api/v1/issuances",
        "remaining": 0,
        "hits": 2,
        "delay_s": 0.2,
        "after_work": False,
        "method": "",
    }
    assert gec.get("/_faults").json() == {"faults": [expected]}


def test_fault_of_another_method_does_not_strike(gec: httpx.Client) -> None:
    gec.post("/_faults", json={"fault": "error_500", "path": "/api/v1/issuances", "method": "POST"})
    assert gec.get(PAGE).status_code == 200
    assert gec.post("/api/v1/issuances", json={"orders": []}).status_code == 500


def test_fault_of_another_path_does_not_strike(gec: httpx.Client) -> None:
    gec.post("/_faults", json={"fault": "error_500", "path": "/api/v1/references"})
    assert gec.get(PAGE).status_code == 200


def test_standing_fault_ends_when_cleared(gec: httpx.Client) -> None:
    gec.post("/_faults", json={"fault": "html_200", "times": -1})
    for _ in range(3):
        assert "Please sign in" in gec.get(PAGE).text
    assert gec.get("/health").json() == {"status": "ok"}
    assert gec.delete("/_faults").json() == {"faults": []}
    assert gec.get(PAGE).json()["items"] == []


def test_faults_are_used_up_in_the_order_they_were_set(gec: httpx.Client) -> None:
    gec.post("/_faults", json={"fault": "html_200"})
    gec.post("/_faults", json={"fault": "error_500"})
    assert [gec.get(PAGE).status_code for _ in range(3)] == [200, 500, 200]


def test_cut_connection_ends_in_mid_answer(gec: httpx.Client) -> None:
    gec.post("/_faults", json={"fault": "cut_connection"})
    with pytest.raises(httpx.RemoteProtocolError):
        gec.get(PAGE)


def test_after_work_decides_whether_the_work_is_done(gec: httpx.Client) -> None:
    for after_work in (False, True):
        reference = f"after-work-{after_work}"
        gec.post("/_faults", json={"fault": "error_500", "after_work": after_work})
        gec.post("/api/v1/references/void", json={"externalReference": reference})
        status = gec.get("/api/v1/references", params={"externalReference": reference}).json()["status"]
        assert status == ("VOIDED" if after_work else "NOT_FOUND")


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {"fault": "gremlins"},
        {"fault": "slow", "times": "often"},
        {"fault": "slow", "delay_s": -1},
        {"fault": "slow", "delay_s": "long"},
        {"fault": "slow", "after_work": 1},
        {"fault": "slow", "path": 7},
    ],
)
def test_fault_that_is_not_understood_is_refused(gec: httpx.Client, wrong: dict[str, object]) -> None:
    answer = gec.post("/_faults", json=wrong)
    assert answer.status_code == 400
    assert answer.json()["error"]
    assert gec.get("/_faults").json() == {"faults": []}


def test_every_fault_can_be_set_on_every_stand_in(gec: httpx.Client, ccer: httpx.Client) -> None:
    for http in (gec, ccer):
        for name in sorted(FAULTS):
            http.post("/_faults", json={"fault": name}).raise_for_status()
        assert len(http.get("/_faults").json()["faults"]) == 19
