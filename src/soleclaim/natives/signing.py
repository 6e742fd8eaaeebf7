"""Requests signed with HMAC-SHA256: what is signed, and by which headers the registry checks it."""

import hashlib
import hmac
import secrets
import time
from collections.abc import Generator
from typing import Final

import httpx

from soleclaim.natives.settings import NativeSettings, SettingsFault

ALGORITHM: Final = "HMAC-SHA256"


def now_s() -> int:
    """Unix seconds by the clock of this machine."""
    return int(time.time())


class Signature(httpx.Auth):
    """Signs each request anew, over method, path, query, hash of the body, the time here and a nonce."""

    requires_request_body = True

    def __init__(self, key_id: str, secret: bytes) -> None:
        self._key_id = key_id
        self._secret = secret

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """Add the headers; there is no second try."""
        path, _, query = request.url.raw_path.decode("ascii").partition("?")
        at, nonce = str(now_s()), secrets.token_hex(16)
        digest = hashlib.sha256(request.content).hexdigest()
        signed = "\n".join((ALGORITHM, self._key_id, request.method, path, query, digest, at, nonce))
        request.headers["X-Key-Id"] = self._key_id
        request.headers["X-Timestamp"] = at
        request.headers["X-Nonce"] = nonce
        request.headers["X-Signature"] = hmac.new(self._secret, signed.encode(), hashlib.sha256).hexdigest()
        yield request


def signature_of(settings: NativeSettings) -> Signature:
    """By the key that the settings name; ``SettingsFault`` names what is missing."""
    if not settings.key_id:
        raise SettingsFault(f"key_id is missing: registry {settings.registry} takes signed requests only")
    if settings.secret_file is None:
        raise SettingsFault(f"secret_file is missing: registry {settings.registry} takes signed requests only")
    try:
        secret = settings.secret_file.read_bytes().rstrip()
    except OSError as error:
        raise SettingsFault(f"secret_file {settings.secret_file} cannot be read: {error.strerror}") from error
    if not secret:
        raise SettingsFault(f"secret_file {settings.secret_file} is empty")
    return Signature(settings.key_id, secret)


def clock_fault(server_time_s: int) -> str:
    """What to tell people when the registry finds our clock wrong; ``server_time_s``: Unix seconds by its own."""
    ahead_s = now_s() - server_time_s
    way = "ahead of" if ahead_s > 0 else "behind"
    return f"the clock of this machine is {abs(ahead_s)} s {way} the registry's; set it right"
