"""A stand-in for an emission trading system: the national one or a pilot."""

from soleclaim.sandbox.ets.app import create_app

__all__ = ["create_app"]
