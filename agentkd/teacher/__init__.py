"""Language models that answer: the client of the OpenAI protocol, its cache, budget and prices. May import runs,
models and serving.
"""
