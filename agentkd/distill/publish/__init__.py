"""Publishing a student: the model card, the hub, GGUF files.

May import: data, distill, teacher, inference, tasks, runs, prompts, doubts, recommend, interchange.
"""
