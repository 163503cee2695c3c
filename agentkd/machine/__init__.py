"""What this computer has, what fits into its memory, and what a run costs. May import runs, models, serving, teacher,
retrievers and sandbox.
"""
