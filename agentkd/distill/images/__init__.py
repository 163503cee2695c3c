"""`distill --task images`: an image classifier into a smaller one. May import: methods, distill, inference, recommend,
runs, prompts, report."""
