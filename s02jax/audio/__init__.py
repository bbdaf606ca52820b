"""Sound as arrays: spectra, loudness, effects, files, espeak-ng."""
