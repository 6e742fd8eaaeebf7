"""Described projects side by side in a review case: where they stand, and how far from each other."""

from collections.abc import Mapping, Sequence
from typing import Final

from soleclaim.api.lookup.v1 import activity_service_pb2 as activity_pb2
from soleclaim.api.lookup.v1 import review_service_pb2 as pb2
from soleclaim.core.activity_id import ActivityKey
from soleclaim.identity.places import NOWHERE, Place, distance_km, read_place
from soleclaim.identity.record import Description
from soleclaim.lookup.grpc.convert import to_plant
from soleclaim.lookup.ports import DescribedProject
from soleclaim.lookup.service.reviews import ReviewFile

MAP_ZOOM: Final = 14
"""Shows a few kilometres around."""


def fill_projects(
    message: pb2.ReviewCase, file: ReviewFile, described: Mapping[ActivityKey, Sequence[DescribedProject]]
) -> None:
    """Set the projects of each candidate beside the registration that waits."""
    waiting = file.case.registration.description
    place = _place(waiting) if waiting else NOWHERE
    for candidate, (likeness, _) in zip(message.candidates, file.candidates, strict=True):
        candidate.projects.extend(_to_project(each, place) for each in described.get(likeness.key, ()))


def _to_project(project: DescribedProject, waiting: Place) -> pb2.DescribedProject:
    distance = distance_km(waiting, _place(project.description))
    return pb2.DescribedProject(
        native_project=activity_pb2.NativeProjectRef(
            registry=project.registry, native_project_id=project.native_project_id
        ),
        display_name=project.description.name,
        description=to_plant(project.description),
        map_uri=map_uri(project.description),
        distance_km=None if distance is None else round(distance, 3),
    )


def map_uri(description: Description) -> str:
    """A map with a mark where the plant stands, for a person to open; nothing here does. Empty: no place is known."""
    spots = _place(description).spots
    if not spots:
        return ""
    latitude, longitude = f"{spots[0].latitude:.6f}", f"{spots[0].longitude:.6f}"
    return f"https://www.openstreetmap.org/?mlat={latitude}&mlon={longitude}#map={MAP_ZOOM}/{latitude}/{longitude}"


def _place(description: Description) -> Place:
    """The position as written; a writing fault, which matching guesses at, is no position to show to a person."""
    place = read_place(description.latitude, description.longitude, description.country)
    return NOWHERE if place.repaired else place
