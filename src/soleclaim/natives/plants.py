"""What a record tells of a plant, for its identity: the same in every family."""

from soleclaim.natives.transport import Fields
from soleclaim.registry.native import PlantDescription


def project_codes(record: Fields) -> tuple[tuple[str, str], ...]:
    """The national project code as an identifier, where ``projectCode`` tells it."""
    code = record.optional_text("projectCode")
    return (("cn_project_code", code),) if code else ()


def description_of(record: Fields, *, owner: str, region: str, capacity_mw: str = "") -> PlantDescription:
    """By the names of the record's fields. What cannot be read exactly is left out."""
    return PlantDescription(
        owner=record.told_text(owner),
        capacity_kw=record.told_kilowatts(capacity_mw) if capacity_mw else 0,
        region=record.told_text(region),
    )
