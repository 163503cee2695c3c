"""Training data: traces as examples, examples as token ids, and a teacher's scores of these. May import agents, runs,
models, and what is below it in distill (resolve, student).
"""
