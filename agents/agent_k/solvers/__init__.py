"""Solvers: a spec in, out-of-fold and test predictions out (`python -m agentkd.agents.agent_k.solvers spec.json`)."""

from agentkd.agents.agent_k.solvers.portfolio import Candidate, portfolio

__all__ = ["Candidate", "portfolio"]
