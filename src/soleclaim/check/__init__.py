"""The checker: proves the invariants of design section 6 over stores, journals and native registries.

An independent reading: plain SQL of its own, and none of the code that wrote what it reads.
"""
