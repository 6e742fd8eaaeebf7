"""CCER: China's voluntary greenhouse gas reductions. Quirks and assumptions: README.md beside this file."""
