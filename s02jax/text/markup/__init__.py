"""Texts with marks as they are read: tags, SSML, Markdown, subtitles.

`reader.read` turns any of them into a `document.Document`.
"""
