"""One script per AutoML system, run with the interpreter of the peers' own environment.

May import: nothing of agentkd.

A script reads one JSON object from standard input (the job that `automl_peers.run_peer` describes), writes its
predictions to `out` (columns `TARGET value` or `TARGET CLASS`), and prints {"cv": ..., "model": ...} as its last line.
"""
