"""Report on a bundle: panel, recipes, judges of clips, requirements, page."""
