"""The fixture: what the operator of a registry tells the kit about the native side and the adapter, as TOML or JSON."""

import json
import tomllib
from datetime import date
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self
from zoneinfo import ZoneInfo

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from soleclaim.core.period import Period
from soleclaim.natives import KINDS
from soleclaim.natives.civil import period_of_days

FAULTS: Final = ("answer_lost", "not_done", "done_late", "garbled", "slow", "down")


class FixtureFault(Exception):
    """The fixture cannot be used; the message names every fault and its place."""


class _Section(BaseModel):
    """Unknown keys are faults: a misspelt hook must not silently be none."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Days(_Section):
    """A civil period in the fixture's time zone; both days inclusive."""

    first: date
    last: date

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.first > self.last:
            raise ValueError("first must not lie after last")
        return self

    def period(self, zone: ZoneInfo) -> Period:
        """As half-open instants."""
        return period_of_days(self.first, self.last, zone)


class Outcome(Days):
    """A measured outcome; ``units`` of the instrument can be issued for exactly these days."""

    units: Annotated[int, Field(ge=4)]


class Project(_Section):
    """A native project. ``identifiers``: (scheme, value) that other registries know it by too."""

    id: Annotated[str, Field(min_length=1, max_length=128)]
    outcomes: tuple[Outcome, ...] = ()
    identifiers: tuple[tuple[str, str], ...] = ()


class Faults(_Section):
    """Faults of the native side. Each is a JSON body POSTed to ``url``; DELETE there ends them all.

    ``answer_lost``: the next issue call is done and never answered. ``not_done``: it is neither. ``done_late``: it is
    done after the caller gave up. ``garbled``: it is done, and the answer cannot be read. ``slow``: its answer takes a
    second or more. ``down``: every call fails, until ended.
    """

    url: str
    answer_lost: dict[str, Any] | None = None
    not_done: dict[str, Any] | None = None
    done_late: dict[str, Any] | None = None
    garbled: dict[str, Any] | None = None
    slow: dict[str, Any] | None = None
    down: dict[str, Any] | None = None


class Native(_Section):
    """How the kit sees what stands in the native registry: through one of our clients, or an address of yours.

    ``key_id`` and ``secret_file``: for a client that signs. ``issuances_url``: GET, ``{project}`` replaced, gives
    ``{"issuances": [{"reference", "fencing_token", "units", "first", "last"}]}``.
    """

    kind: str | None = None
    url: str | None = None
    key_id: str | None = None
    secret_file: Path | None = None
    issuances_url: str | None = None
    faults: Faults | None = None

    @field_validator("kind")
    @classmethod
    def _is_known(cls, kind: str | None) -> str | None:
        if kind is not None and kind not in KINDS:
            raise ValueError(f"there is no native client {kind}, only {', '.join(sorted(KINDS))}")
        return kind

    @model_validator(mode="after")
    def _has_its_address(self) -> Self:
        if (self.kind is None) != (self.url is None):
            raise ValueError("give kind and url together, or issuances_url alone")
        return self


class Adapter(_Section):
    """How the adapter is started, killed and started again.

    ``start``: a command that runs it in the foreground; the kit starts and kills it. In it ``{target}``, ``{lookup}``,
    ``{authority}``, ``{certificate}`` and ``{key}`` are replaced. Or ``kill`` and ``restart``: commands that end.
    """

    start: tuple[str, ...] = ()
    kill: tuple[str, ...] = ()
    restart: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if bool(self.kill) != bool(self.restart) or (self.start and self.kill):
            raise ValueError("give start, or kill and restart together")
        return self


class Lookup(_Section):
    """How a lookup that is not the kit's own is killed and started again: commands that end."""

    kill: Annotated[tuple[str, ...], Field(min_length=1)]
    restart: Annotated[tuple[str, ...], Field(min_length=1)]


class CertificatePair(_Section):
    """PEM files."""

    certificate: Path
    key: Path


class Certificates(_Section):
    """Certificates of your own authority, where its key cannot be given to the kit."""

    authority: Path
    operator: CertificatePair
    lookup: CertificatePair | None = None
    """For the kit's own lookup."""
    peer: CertificatePair | None = None
    """Of the registry ``peer``."""
    regulator: CertificatePair | None = None


class Peer(_Section):
    """Another registry of the policy bundle, which the kit plays itself at the lookup."""

    registry: str
    instrument: str


class Fixture(_Section):
    """The whole file."""

    registry: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,32}$")]
    time_zone: str
    projects: Annotated[tuple[Project, ...], Field(min_length=1)]
    unmeasured: Days
    """A period for which no project is measured."""
    unknown_project: str
    """A project id, in the registry's form, that does not exist."""
    holder: str = ""
    """Name of the owner of the projects: must never be told to another registry."""
    peer: Peer
    native: Native = Native()
    adapter: Adapter = Adapter()
    lookup: Lookup | None = None
    certificates: Certificates | None = None
    patience_s: Annotated[float, Field(gt=0, le=3600)] = 120
    """Longest time until an issuance in doubt is settled, or a restarted adapter answers."""

    @field_validator("time_zone")
    @classmethod
    def _is_a_zone(cls, name: str) -> str:
        try:
            ZoneInfo(name)
        except (KeyError, ValueError, OSError) as error:
            raise ValueError(f"{name} is no IANA time zone, for example Asia/Shanghai") from error
        return name

    @property
    def zone(self) -> ZoneInfo:
        """The zone of the registry's civil periods."""
        return ZoneInfo(self.time_zone)


def load_fixture(path: Path) -> Fixture:
    """Read and check a TOML or JSON file; ``FixtureFault`` with every fault."""
    text = path.read_text(encoding="utf-8-sig")
    try:
        document: dict[str, Any] = json.loads(text) if path.suffix == ".json" else tomllib.loads(text)
    except (tomllib.TOMLDecodeError, json.JSONDecodeError) as error:
        kind: Literal["JSON", "TOML"] = "JSON" if path.suffix == ".json" else "TOML"
        raise FixtureFault(f"{path}: is not {kind}: {error}") from error
    try:
        return Fixture.model_validate(document)
    except ValidationError as error:
        faults = [
            f"  {'.'.join(map(str, each['loc'])) or 'file'}: {each['msg'].removeprefix('Value error, ')}"
            for each in error.errors(include_input=False, include_url=False)
        ]
        raise FixtureFault(f"{path} has {len(faults)} fault(s):\n" + "\n".join(faults)) from error
