"""Verifiers: one check of an answer in each file, called as `verify(item, answer)`, and the ladder that composes them.

May import: teacher, prompts, sandbox, runs.

An item is a dict, a row of the user's file with its gold; an answer is the text that an agent gave. A verifier is any
function of the two, plain or async, that returns a bool, a score from 0 to 1, a `Check` or a `Finding`.
"""
