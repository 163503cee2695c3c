"""A model writes code, the code is run, the model is told what came of it. May import workspace and everything below
it.
"""
