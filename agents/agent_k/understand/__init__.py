"""What the files and pages of a competition mean: roles, columns, task, split. May import contract and scoring."""
