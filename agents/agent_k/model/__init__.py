"""A model writes code, and the code is run and tested.

May import: agent_k, workspace, understand, scoring, teacher, sandbox, runs, prompts.
"""
