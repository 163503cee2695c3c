"""Distillation: verified traces into a student. May import: everything but eval and cli."""
