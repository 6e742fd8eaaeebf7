"""soleclaim 唯一申明: one mitigation outcome, one claim."""
