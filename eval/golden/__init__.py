"""Golden cases: numbers of other people's implementations, held against ours in value and gradient.

`check.py` reads a file of cases and compares; the other files turn a case's inputs into the arguments of our functions,
and convert reductions. May import: methods, features, tokens, metrics, signals, eval.
"""
