"""How fast: each beside its peer in the same run, with interleaved rounds. May import: everything but cli."""
