"""Sound as arrays: recordings, spectra, loudness, effects, files, espeak-ng."""
