"""HTTP server of a bundle: speech and voices for many clients at once."""
