"""A bundle's own page: panel, recipes, judges of clips, requirements."""
