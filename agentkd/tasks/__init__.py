"""Questions with their gold answers kept apart. May import: retrievers, runs."""

NAMES = ("geo", "webqsp", "cwq", "metaqa", "pathquestion", "kgqagen", "sql", "math")
