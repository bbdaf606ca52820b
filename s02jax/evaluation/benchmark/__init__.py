"""Public benchmarks: datasets, clips, judging, scores, tables, page."""
