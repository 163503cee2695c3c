"""Runs untrusted code, and reads the files that it leaves.

May import: no other room. It must run without third-party packages.

`open_sandbox` chooses among three kinds: `bubblewrap` (namespaces), `landlock` (file rights and a filter of system
calls) and `none` (no isolation, only limits). The last two hold the code under a supervisor process.
"""
