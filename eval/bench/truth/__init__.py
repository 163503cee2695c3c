"""How right: scores beside peers, and checks that must hold. May import: everything but cli."""
