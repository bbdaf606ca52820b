"""Natural corpus: speech synthesizers of free licences, in many voices."""
