"""`distill --task images`: an image classifier into a smaller one. May import: everything but eval and cli."""
