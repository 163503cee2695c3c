"""Training methods: one file per method, with its inputs, its teacher signal and loss, and its trainer. May import
distill.data and what is below it.
"""
