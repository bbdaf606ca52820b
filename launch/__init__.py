"""Launchers: they start `s02 train` on many processes; and the demo."""
