"""Public benchmarks: test sets, clips, judging, scores, tables, page."""
