"""Text on its way to ids: normalising, checking, cutting, tokenizing."""
