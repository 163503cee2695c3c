"""Language models that answer: the OpenAI client, its cache, budget and prices. May import: runs, serving."""
