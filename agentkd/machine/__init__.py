"""The hardware of this computer, the models that fit into its memory, and the cost of a run.

May import: runs, serving, teacher, retrievers, sandbox.
"""
