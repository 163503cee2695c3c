"""The score of predictions under a competition's metric, and decisions that raise it. May import: agent_k."""
