"""Telling activities apart and together. Here: by strong identifiers only; pure."""
