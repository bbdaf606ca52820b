"""Models, one file each with its equations on top."""
