"""`distill --task clients`: classifiers of several owners of images learn from each other's predictions (KnFu, FedMD).

May import: images, methods, runs, distill, prompts, report."""
