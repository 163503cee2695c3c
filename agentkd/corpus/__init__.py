"""Texts without questions: read as a stream, scored by models, selected. May import: methods, inference, runs."""
