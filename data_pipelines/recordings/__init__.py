"""Raw recordings to a training corpus: cut, heard twice, checked, on Beam."""
