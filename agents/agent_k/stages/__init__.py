"""The stages of a run, each with its unit test, from set-up to submission. May import every room of Agent K but graph
and run.
"""
