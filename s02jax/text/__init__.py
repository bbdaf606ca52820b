"""Text before the models: normalising, checking, cutting, tokenizing."""
