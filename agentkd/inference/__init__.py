"""Language models whose weights this process holds: opening, output layer, constrained answers.

May import: runs, teacher.
"""
