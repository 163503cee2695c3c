"""Run directories: append-only records, the engine that fills them, and progress for the user.

May import: no other room.
"""
