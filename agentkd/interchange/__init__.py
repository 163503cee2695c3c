"""Traces in the formats of others: read into a run, written from one, and emitted as spans. One file a format.

May import: runs, report.
"""
