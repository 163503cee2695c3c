"""Modulation recognition: pulses, constellations, a generator of I/Q signals, and the networks of ClST and SKD.

May import: methods.
"""
