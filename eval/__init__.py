"""Evaluation: scores of answers, the checker of faithfulness, the grader of competitions.

May import: everything but bench and cli.
"""
