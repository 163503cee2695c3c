"""A model writes code, the code is run, and the model learns of the outcome. May import context and below."""
