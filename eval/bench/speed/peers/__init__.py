"""One script per client, run with the interpreter of that client's own environment.

A script reads one JSON object from standard input, {url, model, prompts, in_flight, folder}, asks for every prompt with
at most `in_flight` requests open, and prints {"version": ..., "answers": ...} as its last line. It imports nothing of
agentkd (except `ask_agentkd`), because agentkd is not installed where the peers live; `folder` is for its caches.
"""
