"""Sources of competitions and targets of submissions: Kaggle or a folder.

May import: agent_k, runs, sandbox, teacher."""
