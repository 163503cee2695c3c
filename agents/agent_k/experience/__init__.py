"""What earlier competitions taught: cases with their candidates, whom to trust, and in which order to try candidates.
May import: agent_k, runs."""
