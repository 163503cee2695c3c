"""The stages of a run, from set-up to submission. May import: every room of Agent K; teacher, sandbox, runs."""
