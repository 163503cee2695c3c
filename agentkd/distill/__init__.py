"""Distillation: verified traces into a student. Above runs, models and agents; below eval and the command line."""
