"""Competitions whose files are not one row a test row: plain tables are made of them, and submissions turned back.

May import: agent_k, understand, runs.
"""
