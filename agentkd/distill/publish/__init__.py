"""Publishing a student: the model card, the hub, GGUF files. May import distill.data and what is below it."""
