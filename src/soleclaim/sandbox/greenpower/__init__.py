"""A stand-in for a power exchange that settles green power."""

from soleclaim.sandbox.greenpower.app import create_app

__all__ = ["create_app"]
