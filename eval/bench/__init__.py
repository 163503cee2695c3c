"""Benchmarks: `agentkd bench NAME`, one a file, each beside its peer in the same run. May import everything but cli."""
