"""What this computer can run, and what a run would cost. May import serving, teacher, retrievers and sandbox."""
