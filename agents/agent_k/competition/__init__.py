"""Where a competition comes from and where a submission goes: Kaggle or a folder. May import teacher and below."""
