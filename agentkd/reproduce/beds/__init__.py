"""Data of experiments: small, seeded, made or packaged, never downloaded. May import: agents, tasks, retrievers."""
