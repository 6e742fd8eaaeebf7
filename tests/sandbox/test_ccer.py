"""The CCER stand-in: the public lists as they were measured, and the assumed participants' side."""

from typing import Any

import httpx
import pytest

Json = dict[str, Any]

LIST = "/api/projectmanage/open/getOpeningApply"
DETAIL = "/api/projectmanage/open/getOpeningApplyDetail"


def ask(http: httpx.Client, path: str, **body: object) -> Json:
    answer = http.post(path, json=body)
    assert answer.status_code == 200
    found: Json = answer.json()
    return found


def project(**changed: object) -> Json:
    return {
        "projectCode": "2509-320193-89-01-544060",
        "projectName": "国家电投揭阳神泉一（二期）91MW海上风电项目",
        "orgCustomerName": "国家电投集团",
        "projectType": "A0102",
        "projectTypeName": "并网海上风力发电",
        "methodologyNum": "CCER-01-002-V01",
        "provinceName": "广东省",
        "expectYearNum": 200_000,
        **changed,
    }


def added(http: httpx.Client, **changed: object) -> Json:
    answer = ask(http, "/api/assumed/projects", projects=[project(**changed)])
    assert answer["successful"], answer
    [found] = answer["dataInfo"]
    return dict(found)


def certified(http: httpx.Client, project_id: str, **changed: object) -> Json:
    reduction = {
        "projectInfoId": project_id,
        "startDate": "20240101",
        "endDate": "20241231",
        "certifiedNum": 100,
        **changed,
    }
    answer = ask(http, "/api/assumed/reductions", reductions=[reduction])
    assert answer["successful"], answer
    [found] = answer["dataInfo"]
    return dict(found)


def issue(http: httpx.Client, project_id: str, **changed: object) -> Json:
    order = {
        "projectInfoId": project_id,
        "startDate": "20240101",
        "endDate": "20241231",
        "issueNum": 40,
        "externalReference": "a:1",
        "fencingToken": 1,
        **changed,
    }
    return ask(http, "/api/assumed/issue", **order)


def applications(http: httpx.Client, data_type: str) -> list[Json]:
    found = []
    for page in range(1, 100):
        answer = ask(http, LIST, pageNumber=page, pageSize=50, dataType=data_type)
        found += answer["dataInfo"]
        if len(found) == answer["total"]:
            return found
    raise AssertionError("the list does not end")


def test_one_application_passes_through_several_lists(ccer: httpx.Client) -> None:
    project_id = added(ccer)["projectInfoId"]
    apply_id = certified(ccer, project_id, stage="public")["applyId"]
    [row] = [row for row in applications(ccer, "3") if row["applyId"] == apply_id]
    assert (row["applyStatus"], row["statusName"]) == ("03", "公示中")
    assert issue(ccer, project_id)["code"] == "REDUCTION_NOT_REGISTERED"

    assert ask(ccer, "/api/assumed/registrations", applications=[{"applyId": apply_id}])["successful"]
    assert apply_id not in [row["applyId"] for row in applications(ccer, "3")]
    [row] = [row for row in applications(ccer, "4") if row["applyId"] == apply_id]
    assert (row["applyStatus"], row["statusName"]) == (None, "已登记")
    assert row["projectInfoId"] is None

    first, second = (issue(ccer, project_id)["dataInfo"]["ccerId"] for _ in range(2))
    assert apply_id in [row["applyId"] for row in applications(ccer, "4")]
    issued = [row for row in applications(ccer, "5") if row["applyId"] == apply_id]
    assert [row["ccerId"] for row in issued] == [first, second]
    assert [row["statusName"] for row in issued] == ["已签发", "已签发"]


def test_status_in_the_request_is_ignored(ccer: httpx.Client) -> None:
    added(ccer)
    plain = ask(ccer, LIST, pageNumber=1, pageSize=50, dataType="2")
    assert ask(ccer, LIST, pageNumber=1, pageSize=50, dataType="2", applyStatus="07") == plain


def test_page_size_is_clamped_in_silence(ccer: httpx.Client) -> None:
    ask(ccer, "/api/assumed/projects", projects=[project() for _ in range(60)])
    answer = ask(ccer, LIST, pageNumber=1, pageSize=400, dataType="2")
    assert answer["total"] >= 60
    assert len(answer["dataInfo"]) == 50


def test_lists_without_content_are_empty(ccer: httpx.Client) -> None:
    for data_type in ("6", "7"):
        answer = ask(ccer, LIST, pageNumber=1, pageSize=50, dataType=data_type)
        assert (answer["total"], answer["dataInfo"]) == (0, [])


def test_detail_has_the_real_fields_and_insists_on_the_second_id(ccer: httpx.Client) -> None:
    registered = added(ccer, publicStartDate="20260717")
    ids = {"applyId": registered["applyId"], "projectInfoId": registered["projectInfoId"]}
    assert ask(ccer, DETAIL, dataType="2", **ids)["dataInfo"] == {
        "methodologyNum": "CCER-01-002-V01",
        "methodologyName": "并网海上风力发电",
        "provinceName": "广东省",
        "expectYearNum": 200_000,
        "certifiedNum": None,
        "publicStartDate": "20260717",
        "publicEndDate": None,
    }
    assert ask(ccer, DETAIL, dataType="2", applyId=ids["applyId"])["msg"] == "公示编号为空"
    reduction = certified(ccer, registered["projectInfoId"])
    ids = {"applyId": reduction["applyId"], "certificationId": reduction["certificationId"]}
    assert ask(ccer, DETAIL, dataType="4", **ids)["dataInfo"]["certifiedNum"] == 100


def test_certified_quantity_is_the_limit_of_all_its_issuances(ccer: httpx.Client) -> None:
    project_id = added(ccer)["projectInfoId"]
    certified(ccer, project_id)
    first = issue(ccer, project_id, externalReference="limit:1")["dataInfo"]["serialBlocks"][0]
    second = issue(ccer, project_id, externalReference="limit:2", issueNum=60)["dataInfo"]["serialBlocks"][0]
    assert first["series"] == second["series"]
    assert second["startNo"] == first["endNo"] + 1
    refused = issue(ccer, project_id, externalReference="limit:3", issueNum=1)
    assert (refused["code"], refused["externalReference"]) == ("EXCEEDS_CERTIFIED", "limit:3")


def test_reductions_of_one_project_never_overlap(ccer: httpx.Client) -> None:
    project_id = added(ccer)["projectInfoId"]
    certified(ccer, project_id)
    reduction = {"projectInfoId": project_id, "startDate": "20241231", "endDate": "20250101", "certifiedNum": 1}
    assert ask(ccer, "/api/assumed/reductions", reductions=[reduction])["code"] == "REDUCTION_OVERLAPS"
    reduction["startDate"] = "20250101"
    assert ask(ccer, "/api/assumed/reductions", reductions=[reduction])["successful"]


def test_bulk_registration_is_all_or_nothing(ccer: httpx.Client) -> None:
    chosen = "1500000000000009999"
    before = ask(ccer, LIST, pageNumber=1, pageSize=1, dataType="2")["total"]
    twice = [project(projectInfoId=chosen), project(projectInfoId=chosen)]
    assert ask(ccer, "/api/assumed/projects", projects=twice)["code"] == "PROJECT_EXISTS"
    assert ask(ccer, LIST, pageNumber=1, pageSize=1, dataType="2")["total"] == before


@pytest.mark.parametrize(
    "wrong",
    [
        {"projectCode": "2509-320193-89-01"},
        {"methodologyNum": "CCER-1-2-V1"},
        {"expectYearNum": -1},
        {"expectYearNum": True},
        {"projectName": ""},
        {"stage": "draft"},
        {"publicStartDate": "20260231"},
    ],
)
def test_field_that_cannot_be_is_refused_inside_http_200(ccer: httpx.Client, wrong: Json) -> None:
    answer = ask(ccer, "/api/assumed/projects", projects=[project(**wrong)])
    assert (answer["successful"], answer["code"]) == (False, "BAD_REQUEST")
    assert next(iter(wrong)) in answer["msg"]


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"\xff"])
def test_body_that_is_no_object_is_refused(ccer: httpx.Client, body: bytes) -> None:
    assert ccer.post("/api/assumed/issue", content=body).json()["code"] == "BAD_REQUEST"
