"""One script per client, run with the interpreter of that client's own environment.

May import: nothing of agentkd, but for `ask_agentkd.py`: teacher, runs.

A script reads one JSON object from standard input, {url, model, prompts, in_flight, folder}, asks for every prompt with
at most `in_flight` requests open, and prints {"version": ..., "answers": ...} as its last line. agentkd is not
installed where the peers live. `folder` is for the script's caches.
"""
