"""Objectives on next-token distributions, from several papers and libraries. Each names its reduction and its shift.

May import: methods.
"""
