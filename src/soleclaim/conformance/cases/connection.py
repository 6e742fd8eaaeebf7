"""Category 1: who is let in, and who is not."""

from typing import Final

from soleclaim.api.registry.v1 import registry_service_pb2 as pb
from soleclaim.client import RegistryClient, RemoteRefusal, RemoteUnavailable, TlsFiles
from soleclaim.conformance.model import Case, Failed, Need, Text, case
from soleclaim.conformance.stand import Stand, given, reason_name, refusal_of
from soleclaim.core.errors import Reason
from soleclaim.core.identity import Caller, Role

TIMEOUT_S: Final = 5.0
_SHUT: Final = Text("nothing was answered", "未获任何应答")


@case(
    "1.1",
    Text("an operator's certificate is let in", "运营方证书可连接"),
    rule="design 8",
    sent=Text("GetRegistry with the operator's certificate", "以运营方证书调用 GetRegistry"),
    expected=Text("an answer", "有应答"),
)
async def operator_is_let_in(stand: Stand) -> Text:
    info = await stand.operator.call(stand.operator.registry.GetRegistry, pb.GetRegistryRequest())
    return Text(f"registry {info.code}", f"登记簿 {info.code}")


async def _is_shut_out(stand: Stand, tls: TlsFiles | None) -> Text:
    caller = None if tls else Caller(Role.OPERATOR, "conformance")
    async with RegistryClient(stand.target, tls, caller=caller) as client:
        try:
            info = await client.call(client.registry.GetRegistry, pb.GetRegistryRequest(), timeout_s=TIMEOUT_S)
        except RemoteUnavailable:
            return _SHUT
        except RemoteRefusal as refusal:
            if refusal.code in ("UNAUTHENTICATED", "PERMISSION_DENIED"):
                return Text(refusal.code, refusal.code)
            raise
    raise Failed(f"it answered: registry {info.code}", f"其作出了应答：登记簿 {info.code}")


@case(
    "1.2",
    Text("a connection without certificate is shut out", "无证书的连接被拒绝"),
    rule="design 8",
    sent=Text("GetRegistry in plaintext, claiming to be an operator", "以明文自称运营方调用 GetRegistry"),
    expected=Text("no answer", "无应答"),
)
async def plaintext_is_shut_out(stand: Stand) -> Text:
    return await _is_shut_out(stand, None)


@case(
    "1.3",
    Text("a certificate of an unknown authority is shut out", "未知机构签发的证书被拒绝"),
    rule="design 8",
    sent=Text(
        "GetRegistry with an operator's certificate of another authority", "以其他机构签发的运营方证书调用 GetRegistry"
    ),
    expected=Text("no answer", "无应答"),
)
async def stranger_is_shut_out(stand: Stand) -> Text:
    return await _is_shut_out(stand, stand.identities.stranger)


def _order(stand: Stand) -> pb.RequestIssuanceRequest:
    """What an operator would get, so that a target that looks at the caller too late is seen."""
    if not any(project.outcomes for project in stand.fixture.projects):
        project = stand.fixture.projects[0].id
        return pb.RequestIssuanceRequest(request_id=stand.request_id(), native_project_id=project)
    return stand.identified(stand.order(stand.spot()))


@case(
    "1.4",
    Text("a regulator may read and may not issue", "监管方可读取而不得签发"),
    rule="design 8; R83",
    sent=Text("RequestIssuance with a regulator's certificate", "以监管方证书调用 RequestIssuance"),
    expected=Text("ROLE_NOT_ALLOWED", "ROLE_NOT_ALLOWED"),
    needs=(Need.REGULATOR,),
)
async def regulator_may_not_issue(stand: Stand) -> Text:
    regulator = given(stand.regulator)
    await regulator.call(regulator.registry.ListIssuances, pb.ListIssuancesRequest())
    call = regulator.call(regulator.registry.RequestIssuance, _order(stand))
    return _told(await refusal_of(call, Reason.ROLE_NOT_ALLOWED))


@case(
    "1.5",
    Text("another registry may not issue here", "其他登记簿不得在此签发"),
    rule="design 8: a registry acts only for itself",
    sent=Text("RequestIssuance with another registry's certificate", "以其他登记簿证书调用 RequestIssuance"),
    expected=Text("REGISTRY_NOT_YOURS", "REGISTRY_NOT_YOURS"),
    needs=(Need.PEER,),
)
async def peer_may_not_issue(stand: Stand) -> Text:
    peer = given(stand.peer)
    call = peer.call(peer.registry.RequestIssuance, _order(stand))
    return _told(await refusal_of(call, Reason.REGISTRY_NOT_YOURS))


@case(
    "1.6",
    Text("another registry may not read the list of issuances", "其他登记簿不得读取签发清单"),
    rule="design 8",
    sent=Text("ListIssuances with another registry's certificate", "以其他登记簿证书调用 ListIssuances"),
    expected=Text("REGISTRY_NOT_YOURS", "REGISTRY_NOT_YOURS"),
    needs=(Need.PEER,),
)
async def peer_may_not_list(stand: Stand) -> Text:
    peer = given(stand.peer)
    call = peer.call(peer.registry.ListIssuances, pb.ListIssuancesRequest())
    return _told(await refusal_of(call, Reason.REGISTRY_NOT_YOURS))


def _told(refusal: RemoteRefusal) -> Text:
    name = reason_name(refusal)
    return Text(name, name)


CASES: Final[tuple[Case, ...]] = (
    operator_is_let_in,
    plaintext_is_shut_out,
    stranger_is_shut_out,
    regulator_may_not_issue,
    peer_may_not_issue,
    peer_may_not_list,
)
