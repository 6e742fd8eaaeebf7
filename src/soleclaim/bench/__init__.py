"""Measuring speed: always as a ratio against a named baseline in the same run (design section 9)."""
