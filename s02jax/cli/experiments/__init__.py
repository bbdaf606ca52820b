"""Verbs that train many variants and compare them."""
