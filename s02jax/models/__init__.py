"""The models, one file each with its equations on top."""
