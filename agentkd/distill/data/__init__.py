"""Training data: traces as examples, examples as token ids, what of them is private, and a teacher's scores.

May import: methods, distill, agents, teacher, inference, tasks, runs, doubts.
"""
