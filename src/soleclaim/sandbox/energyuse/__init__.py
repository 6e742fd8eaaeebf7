"""A stand-in for an energy-use exchange, which exchanges files."""

from soleclaim.sandbox.energyuse.app import create_app

__all__ = ["create_app"]
