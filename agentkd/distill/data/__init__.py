"""Training data: traces as examples, examples as token ids, and a teacher's scores of these.

May import: distill, agents, teacher, inference, tasks, runs, doubts.
"""
