"""What a solver is given and what it leaves: files, maps, folds, checks, the submission file. May import contract,
scoring and understand.
"""
