"""Signs of life beside the results of verbs: progress, fields of a config."""
