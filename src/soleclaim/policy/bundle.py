"""Reading a policy bundle and deciding by it. Pure: no clock, no network; the caller brings the bytes."""

import hashlib
import tomllib
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
    """A registry that may take part."""

    zh: Text
    en: Text


class Instrument(_Entry):
    """What a registry issues. One unit is ``base_units_per_unit`` base units of the measured outcome."""

    registry: Code
    base_unit: Literal["kWh", "kgCO2e", "kgce"]
    base_units_per_unit: Annotated[int, Field(ge=1, le=1_000_000)]
    attributes: Annotated[tuple[Code, ...], Field(min_length=1)]


class Rule(_Entry):
    """A statement that the declaration of a request must make (R98)."""

    requires: Literal["no_other_application", "no_claim_after_transfer"]
    zh: Text
    en: Text


class _Document(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    version: Text
    effective_from: date
    attributes: dict[Code, Attribute]
    registries: dict[Code, RegistryRow]
    instruments: dict[Code, Instrument]
    rules: dict[Code, Rule]

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
        if faults:
            raise ValueError("; ".join(faults))
        return self


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
    attribute_numbers: dict[str, tuple[int, ...]]
    """Per instrument: the numbers of the attributes it claims, ascending."""

    def unmet_rules(self, declaration: Declaration) -> tuple[str, ...]:
        """Ids of the rules that the declaration does not meet; empty when policy allows."""
        if all(declaration):
            return ()
        return tuple(rule_id for rule_id, rule in self.rules.items() if not getattr(declaration, rule.requires))

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
        faults = (f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors())
        raise BundleFault("; ".join(faults)) from error
    return Bundle(
        version=document.version,
        effective_from=document.effective_from,
        hash=hashlib.sha256(content).hexdigest(),
        registries=document.registries,
        instruments=document.instruments,
        rules=document.rules,
        attribute_numbers={
            code: tuple(sorted(document.attributes[attribute].number for attribute in instrument.attributes))
            for code, instrument in document.instruments.items()
        },
    )


def default_bundle() -> Bundle:
    """The bundle that comes with the program."""
    return read_bundle(resources.files("soleclaim.policy").joinpath("bundles", DEFAULT_BUNDLE).read_bytes())
