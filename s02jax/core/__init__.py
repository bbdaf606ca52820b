"""Foundations that know nothing of speech: errors, files, trees, configs."""
