"""Whether what is proven is also what was asked, for runs without gold: doubts by rule, and a person's review.

A knowledge base proves that answers are at the end of a path, not that the path is the one that the question means.
May import: retrievers, runs.
"""
