"""Training methods: a file per method with its inputs, loss and trainer, and the parts that methods share.

May import: methods, tokens, data, distill, teacher, inference, runs.
"""
