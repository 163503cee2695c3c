"""Which distillation to choose: the table of earlier ones, and what it lets one expect of a new one. May import:
runs."""
