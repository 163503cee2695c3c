"""Benchmarks, one file per `agentkd bench NAME`: speed/ and truth/; the mock server. May import: runs."""
