"""Emission trading systems: the national one and the pilots. See the README beside it."""
