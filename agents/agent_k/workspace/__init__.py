"""The inputs and outputs of solvers: files, maps, folds, checks, the submission file.

May import: agent_k, scoring, understand, runs.
"""
