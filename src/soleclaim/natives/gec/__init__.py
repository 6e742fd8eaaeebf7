"""GEC: China's green electricity certificates. Quirks and assumptions: README.md beside this file."""
