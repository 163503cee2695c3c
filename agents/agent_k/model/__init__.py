"""A model writes code, and the code is run and tested. May import context and below."""
