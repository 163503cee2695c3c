"""Agents of the user: run unchanged, in processes of their own, with their model calls through the teacher.

May import: tasks, teacher, verifiers, report, interchange, runs, serving.
"""
