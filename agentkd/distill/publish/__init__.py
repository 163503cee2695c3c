"""Publishing a student: the model card, the hub, GGUF files.

May import: data, distill, tasks, runs, prompts, doubts.
"""
