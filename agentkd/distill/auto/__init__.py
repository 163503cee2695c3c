"""`distill --method auto`: methods and options chosen by trials on a held-out part of the training data. May import:
images, distill, data, publish, inference, recommend, eval, tasks, runs."""
