"""`distill --task vision-language`: a model that answers questions about images into a smaller one of its vocabulary.
May import: images, methods, data, distill, inference, tasks, runs, prompts, report."""
