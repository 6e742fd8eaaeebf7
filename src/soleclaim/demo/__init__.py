"""The demonstration: two registries, one lookup, real records, five acts."""
