"""The lookup: one identifier per activity, one issuance lock per outcome."""
