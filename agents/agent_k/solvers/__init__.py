"""Solvers: a spec in, out-of-fold and test predictions out (`python -m agentkd.agents.agent_k.solvers SPEC`).

May import: agent_k, workspace, understand, scoring, retrievers.
"""
