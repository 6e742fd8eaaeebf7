"""Dated rules as data: which instrument claims which attributes, and what a request must meet."""
