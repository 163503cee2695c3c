"""Training data: verified traces as examples, and what a teacher scores on them. May import agents (the forms of
prompts), runs and models.
"""
