"""Run directories: append-only records, the engine that fills them, and the progress that the user sees. May import
config, trace and errors.
"""
