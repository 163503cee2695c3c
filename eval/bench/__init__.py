"""Benchmarks, one file per `agentkd bench NAME`: speed/ and truth/. May import everything but cli."""
