"""Migrations of the lookup's store."""
