"""What verbs show beside their results: progress, the fields of a config."""
