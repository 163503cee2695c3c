"""Where a competition comes from and a submission goes to: Kaggle or a folder. May import runs and errors."""
