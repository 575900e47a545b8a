"""Nouns: names, ids, LSNs, sources, states. Frozen, no I/O; everything above imports these."""
