"""What an adapter must be told: one TOML file, checked whole, every fault named at once."""

import tomllib
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Final, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from soleclaim.registry.instruments import INSTRUMENTS, Instrument
from soleclaim.registry.lease import LeaseTimes
from soleclaim.registry.recovery import RecoveryTimes
from soleclaim.registry.workflow import Limits

_OVER_CLIENT: Final = timedelta(seconds=5)
"""The adapter gives a native call up this much later than the native client does by itself."""


class ConfigFault(Exception):
    """The configuration cannot be used; the message names every fault and its place."""


def _host_port(text: str) -> str:
    host, separator, port = text.rpartition(":")
    if not separator or not host or not port.isascii() or not port.isdigit() or int(port) > 65_535:
        raise ValueError("must be HOST:PORT, for example 127.0.0.1:7400")
    return text


HostPort = Annotated[str, AfterValidator(_host_port)]
Code = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,32}$")]
Seconds = Annotated[float, Field(gt=0, le=86_400)]


class _Section(BaseModel):
    """Unknown keys are faults: a misspelt limit must not be silently a default."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class RegistrySection(_Section):
    """``[registry]``. The instrument is stated only for registries that the policy bundle does not know."""

    code: Code
    instrument: Code | None = None
    base_unit: Annotated[str, Field(pattern=r"^(kWh|kgCO2e|kgce)$")] | None = None
    base_units_per_unit: Annotated[int, Field(ge=1)] = 1000

    @model_validator(mode="after")
    def _states_its_instrument(self) -> Self:
        if self.code in INSTRUMENTS:
            if self.instrument or self.base_unit:
                raise ValueError(f"instrument and base_unit of registry {self.code} are known; leave them out")
        elif not (self.instrument and self.base_unit):
            raise ValueError(
                f"the policy bundle has no instrument of registry {self.code}: state instrument and base_unit here,"
                " or add a table [instruments.…] to the bundle"
            )
        return self

    def known_instrument(self) -> Instrument:
        """The instrument, from the table or as stated."""
        if self.code in INSTRUMENTS:
            return INSTRUMENTS[self.code]
        return Instrument(self.instrument or "", self.base_unit or "", self.base_units_per_unit)


class ServerSection(_Section):
    """``[server]``. ``advertised``: where others reach this adapter; it stands in the directory."""

    listen: HostPort
    advertised: HostPort | None = None
    reflection: bool = False
    grace_s: Seconds = 10


class TlsSection(_Section):
    """``[tls]``. Paths are relative to the configuration file."""

    authority: Path
    certificate: Path
    key: Path


class JournalSection(_Section):
    """``[journal]``."""

    url: str


class LookupSection(_Section):
    """``[lookup]``."""

    target: HostPort
    timeout_s: Seconds = 15


class PeersSection(_Section):
    """``[peers]``: other registries, asked in dry runs."""

    timeout_s: Seconds = 3


class NativeSection(_Section):
    """``[native]``. ``longest_under_way_s``: how long a call may still take effect after it was given up."""

    kind: str
    url: str
    key_id: str | None = None
    secret_file: Path | None = None
    timeout_s: Seconds = 10
    longest_under_way_s: Seconds = 60
    calls_at_once: Annotated[int, Field(ge=1, le=64)] = 4
    send_within_s: Seconds = 60
    """Latest native call after Begin."""
    ca_file: Path | None = None


class LeaseSection(_Section):
    """``[lease]``."""

    ttl_s: Seconds = 15
    renew_every_s: Seconds = 3

    @model_validator(mode="after")
    def _leaves_room(self) -> Self:
        if self.renew_every_s * 3 > self.ttl_s:
            raise ValueError("ttl_s must be at least three times renew_every_s, so that one renewal may fail")
        return self


class RecoverySection(_Section):
    """``[recovery]``."""

    poll_s: Seconds = 1
    first_pause_s: Seconds = 1
    longest_pause_s: Seconds = 30
    longest_review_pause_s: Seconds = 60
    longest_review_wait_s: Annotated[float, Field(gt=0, le=10 * 366 * 86_400)] = 30 * 86_400
    """From acceptance; an issuance that is under review for longer is refused."""
    batches_at_once: Annotated[int, Field(ge=1, le=64)] = 4


class ReportingSection(_Section):
    """``[reporting]``: only for native registries that know who is inside their cap or market."""

    report_every_s: Seconds = 3600


class MetricsSection(_Section):
    """``[metrics]``: Prometheus over HTTP; none when the section is left out."""

    listen: HostPort


class AdapterConfig(_Section):
    """The whole file."""

    registry: RegistrySection
    server: ServerSection
    tls: TlsSection | None = None
    journal: JournalSection
    lookup: LookupSection
    native: NativeSection
    peers: PeersSection = PeersSection()
    lease: LeaseSection = LeaseSection()
    recovery: RecoverySection = RecoverySection()
    reporting: ReportingSection = ReportingSection()
    metrics: MetricsSection | None = None

    def limits(self) -> Limits:
        """Times of the irreversible part."""
        return Limits(
            send_within=timedelta(seconds=self.native.send_within_s),
            native_call=timedelta(seconds=self.native.timeout_s) + _OVER_CLIENT,
            native_calls_at_once=self.native.calls_at_once,
            review_wait=timedelta(seconds=self.recovery.longest_review_wait_s),
        )

    def lease_times(self) -> LeaseTimes:
        """Times of the lease."""
        return LeaseTimes(
            ttl=timedelta(seconds=self.lease.ttl_s), renew_every=timedelta(seconds=self.lease.renew_every_s)
        )

    def recovery_times(self) -> RecoveryTimes:
        """Times of recovery."""
        return RecoveryTimes(
            poll=timedelta(seconds=self.recovery.poll_s),
            first_pause=timedelta(seconds=self.recovery.first_pause_s),
            longest_pause=timedelta(seconds=self.recovery.longest_pause_s),
            longest_review_pause=timedelta(seconds=self.recovery.longest_review_pause_s),
            batches_at_once=self.recovery.batches_at_once,
        )


def load_config(path: Path) -> AdapterConfig:
    """Read and check; ``ConfigFault`` with every fault."""
    try:
        document: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except tomllib.TOMLDecodeError as error:
        raise ConfigFault(f"{path}: is not TOML: {error}") from error
    _resolve(document, path.parent)
    try:
        return AdapterConfig.model_validate(document)
    except ValidationError as error:
        faults = [
            f"  {'.'.join(map(str, each['loc'])) or 'file'}: {each['msg'].removeprefix('Value error, ')}"
            for each in error.errors(include_input=False, include_url=False)
        ]
        raise ConfigFault(f"{path} has {len(faults)} fault(s):\n" + "\n".join(faults)) from error


def _resolve(document: dict[str, Any], folder: Path) -> None:
    """Make the paths in the file relative to the file."""
    for section, keys in (("tls", ("authority", "certificate", "key")), ("native", ("ca_file", "secret_file"))):
        table = document.get(section)
        if isinstance(table, dict):
            table.update({key: folder / table[key] for key in keys if isinstance(table.get(key), str)})
