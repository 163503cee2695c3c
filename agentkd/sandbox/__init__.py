"""Running code that nobody has read, and reading what it leaves. May import errors; must run without third-party
packages.
"""
