"""A corpus on disk and the rows that training reads from it."""
