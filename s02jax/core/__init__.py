"""Foundations without speech: errors, files, trees, configs, start-up.

Only `languages` and `rates` hold facts of speech, which every room needs.
"""
