"""Registries that no longer run: read-only history from published tables. See the README beside it."""
