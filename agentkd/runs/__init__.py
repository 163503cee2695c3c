"""Run directories: append-only records, the engine that fills them, and what the user sees meanwhile. May import
config, trace and errors.
"""
