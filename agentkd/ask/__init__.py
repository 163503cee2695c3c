"""One question at a time: a student with its knowledge base answers, with path and evidence, also behind a port.

May import: eval, data, publish, agents, tasks, retrievers, teacher, inference, serving, runs.
"""
