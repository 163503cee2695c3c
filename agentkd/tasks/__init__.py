"""Questions with their gold answers kept apart. May import retrievers (the knowledge base), matching and runs."""
