"""Who calls: the identity in a certificate's URI SAN (design section 8)."""

from dataclasses import dataclass
from enum import Enum


class Role(Enum):
    """What a caller may be. The value is the path segment in ``spiffe://<domain>/<role>/<code>``."""

    REGISTRY = "registry"
    REGULATOR = "regulator"
    OPERATOR = "operator"


@dataclass(frozen=True, slots=True)
class Caller:
    """An authenticated caller. ``code`` is a registry's code or the person's or body's name."""

    role: Role
    code: str

    def __str__(self) -> str:
        return f"{self.role.value}/{self.code}"
