"""Publishing a student: the model card, the hub, GGUF files.

May import: data, distill, teacher, tasks, runs, prompts, doubts.
"""
