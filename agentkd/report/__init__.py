"""report.html: one self-contained page from a run directory. May import runs, trace and eval.metrics."""
