"""Sound and transcripts of recordings: cuts, fingerprints, voices, measures."""
