"""Reading a policy bundle and deciding by it. Pure: no clock, no network; the caller brings the bytes."""

import hashlib
import tomllib
from collections import Counter
from dataclasses import dataclass
from datetime import date
from importlib import resources
from typing import Annotated, Final, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

DEFAULT_BUNDLE: Final = "2026-11.toml"

Code = Annotated[str, StringConstraints(pattern=r"[A-Za-z0-9_-]{1,32}")]
Text = Annotated[str, StringConstraints(min_length=1, max_length=512)]


class BundleFault(ValueError):
    """The bundle cannot be used; the message names every fault in it."""


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    basis: Text


class Attribute(_Entry):
    """A part of an outcome that an instrument can claim (design section 4)."""

    number: Annotated[int, Field(ge=1, le=30)]
    zh: Text
    en: Text


class RegistryRow(_Entry):
    """A registry that may take part. ``settles``: the registry whose units it moves with power; empty: none."""

    zh: Text
    en: Text
    settles: Code | Literal[""] = ""


class Instrument(_Entry):
    """What a registry issues. One unit is ``base_units_per_unit`` base units of the measured outcome."""

    registry: Code
    base_unit: Literal["kWh", "kgCO2e", "kgce"]
    base_units_per_unit: Annotated[int, Field(ge=1, le=1_000_000)]
    attributes: Annotated[tuple[Code, ...], Field(min_length=1)]
    measured: bool = True
    """Whether it is issued on a measured result, which then bounds its units (I6). An allocation is none."""


class Rule(_Entry):
    """A statement that the declaration of a request must make (R98)."""

    requires: Literal["no_other_application", "no_claim_after_transfer"]
    zh: Text
    en: Text


class Boundary(_Entry):
    """The rule that what lies inside these registries' caps or markets may not be issued again (R88, R91).

    Its code is the rule's id. ``attribute``: what an instrument must claim to be refused. ``policy_override``:
    instruments whose own scheme's rules lack the exclusion; it is applied to them all the same.
    """

    scheme: Literal["emission_trading", "energy_use"]
    registries: Annotated[tuple[Code, ...], Field(min_length=1)]
    attribute: Code
    effective_from: date
    effective_to: date | None = None
    """The first day on which it is in force no more."""
    policy_override: tuple[Code, ...] = ()
    zh: Text
    en: Text

    def is_in_force(self, day: date) -> bool:
        """Whether a decision of that day follows it."""
        return self.effective_from <= day and (self.effective_to is None or day < self.effective_to)


class _Document(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    version: Text
    effective_from: date
    attributes: dict[Code, Attribute]
    registries: dict[Code, RegistryRow]
    instruments: dict[Code, Instrument]
    rules: dict[Code, Rule]
    boundaries: dict[Code, Boundary]

    @model_validator(mode="after")
    def _references_resolve(self) -> "_Document":
        faults = []
        for code, instrument in self.instruments.items():
            if instrument.registry not in self.registries:
                faults.append(f"instruments.{code}.registry: {instrument.registry} is not in [registries]")
            faults += [
                f"instruments.{code}.attributes: {attribute} is not in [attributes]"
                for attribute in instrument.attributes
                if attribute not in self.attributes
            ]
        if len({attribute.number for attribute in self.attributes.values()}) != len(self.attributes):
            faults.append("attributes: two attributes share a number")
        issuing = {instrument.registry for instrument in self.instruments.values()}
        faults += [
            f"registries.{code}.settles: {row.settles} issues nothing"
            for code, row in self.registries.items()
            if row.settles and row.settles not in issuing
        ]
        faults += self._faults_of_boundaries()
        if faults:
            raise ValueError("; ".join(faults))
        return self

    def _faults_of_boundaries(self) -> list[str]:
        faults = [f"boundaries.{code}: a rule has this id too" for code in self.boundaries if code in self.rules]
        for code, row in self.boundaries.items():
            named = (
                ("registries", row.registries, self.registries.keys()),
                ("attribute", (row.attribute,), self.attributes.keys()),
                ("policy_override", row.policy_override, self.instruments.keys()),
            )
            faults += [
                f"boundaries.{code}.{key}: {each} is not in the bundle"
                for key, codes, known in named
                for each in codes
                if each not in known
            ]
        covering = Counter(each for row in self.boundaries.values() for each in row.registries)
        faults += [f"boundaries: registry {each} is named twice" for each, count in covering.items() if count > 1]
        return faults


class Declaration(NamedTuple):
    """What the applicant declared (R98)."""

    no_other_application: bool
    no_claim_after_transfer: bool


@dataclass(frozen=True, slots=True)
class Bundle:
    """The rules in force. ``hash`` is the SHA-256 of the file, hexadecimal."""

    version: str
    effective_from: date
    hash: str
    registries: dict[str, RegistryRow]
    instruments: dict[str, Instrument]
    rules: dict[str, Rule]
    boundaries: dict[str, Boundary]
    attribute_numbers: dict[str, tuple[int, ...]]
    """Per instrument: the numbers of the attributes it claims, ascending."""
    boundary_of: dict[str, str]
    """Per registry that runs a cap or market: the id of its boundary rule."""

    def unmet_rules(self, declaration: Declaration) -> tuple[str, ...]:
        """Ids of the rules that the declaration does not meet; empty when policy allows."""
        if all(declaration):
            return ()
        return tuple(rule_id for rule_id, rule in self.rules.items() if not getattr(declaration, rule.requires))

    def boundaries_against(self, instrument: str, day: date) -> tuple[str, ...]:
        """Ids of the boundary rules that may refuse an instrument on that day."""
        claims = self.instruments[instrument].attributes
        return tuple(code for code, row in self.boundaries.items() if row.attribute in claims and row.is_in_force(day))

    def instruments_of(self, registry: str) -> tuple[str, ...]:
        """Codes of what a registry issues, in order."""
        return tuple(sorted(code for code, row in self.instruments.items() if row.registry == registry))


def read_bundle(content: bytes) -> Bundle:
    """Parse and check a bundle (TOML, UTF-8). ``BundleFault`` names all faults at once."""
    try:
        document = _Document.model_validate(tomllib.loads(content.decode("utf-8-sig")))
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise BundleFault(f"not a TOML file in UTF-8: {error}") from error
    except ValidationError as error:
        faults = (
            f"{'.'.join(map(str, each['loc']))}: {each['msg']}".removeprefix(": Value error, ")
            for each in error.errors()
        )
        raise BundleFault("; ".join(faults)) from error
    return Bundle(
        version=document.version,
        effective_from=document.effective_from,
        hash=hashlib.sha256(content).hexdigest(),
        registries=document.registries,
        instruments=document.instruments,
        rules=document.rules,
        boundaries=document.boundaries,
        boundary_of={each: code for code, row in document.boundaries.items() for each in row.registries},
        attribute_numbers={
            code: tuple(sorted(document.attributes[attribute].number for attribute in instrument.attributes))
            for code, instrument in document.instruments.items()
        },
    )


def default_bundle() -> Bundle:
    """The bundle that comes with the program."""
    try:
        return read_bundle(resources.files("soleclaim.policy").joinpath("bundles", DEFAULT_BUNDLE).read_bytes())
    except BundleFault as error:
        raise BundleFault(f"soleclaim/policy/bundles/{DEFAULT_BUNDLE}: {error}") from error
