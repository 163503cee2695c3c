"""The meaning of a competition's files and pages: roles, columns, task, split. May import: agent_k, scoring."""
