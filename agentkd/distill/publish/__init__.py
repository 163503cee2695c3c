"""What leaves the house: the model card, the hub, GGUF files. May import distill.data, runs and models."""
