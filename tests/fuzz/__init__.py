"""Seeded fuzzing of what comes from outside: results of code, archives, tables, replies, run directories."""
