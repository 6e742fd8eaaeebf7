"""Who calls: the identity of a connection (design section 8)."""

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

import grpc

from soleclaim.core.errors import DomainError, Reason
from soleclaim.core.identity import Caller, Role
from soleclaim.rpc.calls import CALLER_KEY

_CODE: Final = re.compile(r"[A-Za-z0-9_-]{1,32}")
_SPIFFE: Final = re.compile(r"spiffe://[a-z0-9._-]{1,255}/([^/]+)/([^/]+)")
_ROLES: Final = {role.value: role for role in Role}

Context = grpc.aio.ServicerContext[Any, Any]
"""A servicer context of any method."""


class IdentityError(ValueError):
    """The text names no caller; the message says why."""


def parse_caller(text: str) -> Caller:
    """``registry/gec`` as a caller (``IdentityError`` otherwise)."""
    role_name, _, code = text.partition("/")
    role = _ROLES.get(role_name)
    if role is None:
        raise IdentityError(f"role must be one of {', '.join(_ROLES)}")
    if not _CODE.fullmatch(code):
        raise IdentityError("code must be 1 to 32 characters A-Z a-z 0-9 _ -")
    return Caller(role, code)


def parse_identity(uri: str) -> Caller:
    """``spiffe://<domain>/<role>/<code>`` as a caller (``IdentityError`` otherwise)."""
    match = _SPIFFE.fullmatch(uri)
    if match is None:
        raise IdentityError("the URI SAN must be spiffe://<domain>/<role>/<code>")
    return parse_caller(f"{match[1]}/{match[2]}")


def is_secure(context: Context) -> bool:
    """Whether the connection is TLS."""
    return _is_tls(context.auth_context())


def caller_of(context: Context) -> Caller:
    """The caller of the current RPC; ``UNAUTHENTICATED`` when the connection names none.

    Over TLS it is the client certificate's only URI SAN, which the handshake has verified. Without TLS, which a
    server offers on loopback and by explicit flag only, it is what the metadata says.
    """
    properties = context.auth_context()
    try:
        return _certified(properties) if _is_tls(properties) else _told(context)
    except IdentityError as error:
        raise DomainError(Reason.UNAUTHENTICATED, detail=str(error)) from error


def _is_tls(properties: Mapping[str, Iterable[bytes]]) -> bool:
    return b"ssl" in properties.get("transport_security_type", ())


def _certified(properties: Mapping[str, Iterable[bytes]]) -> Caller:
    uris = tuple(properties.get("peer_uri", ()))
    if len(uris) != 1:
        raise IdentityError(f"the certificate has {len(uris)} URI SANs and must have one")
    return parse_identity(uris[0].decode("utf-8", "replace"))


def _told(context: Context) -> Caller:
    told = first_value(context, CALLER_KEY)
    if told is None:
        raise IdentityError(f"the metadata has no {CALLER_KEY}")
    return parse_caller(told)


def first_value(context: Context, key: str) -> str | None:
    """First text value of a key of the caller's metadata."""
    for name, value in context.invocation_metadata() or ():
        if name == key and isinstance(value, str):
            return value
    return None


def require_registry(caller: Caller, registry: str) -> None:
    """Refuse with ``REGISTRY_NOT_YOURS`` unless the caller is that registry."""
    if caller.role is not Role.REGISTRY or caller.code != registry:
        raise DomainError(Reason.REGISTRY_NOT_YOURS, caller=caller, registry=registry)


def own_registry(caller: Caller, asked: str) -> str | None:
    """Whose rows the caller may list, of those of ``asked`` (empty: of all); ``None``: all.

    A registry lists its own; ``REGISTRY_NOT_YOURS`` when it asks for another's.
    """
    if caller.role is not Role.REGISTRY:
        return asked or None
    require_registry(caller, asked or caller.code)
    return caller.code
