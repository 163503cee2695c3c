"""What a student learns beside the text of a trace: one loss, its inputs and its trainer a file. May import
distill.data and losses.
"""
