"""What is measured beside accuracy: likeness of features, overlap of segments, exposure of canaries.

May import: methods.
"""
