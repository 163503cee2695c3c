"""`distill --corpus`: a language model that learns plain text. May import: corpus, distill, data, lessons, publish,
inference, runs, machine, prompts, report."""
