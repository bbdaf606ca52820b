"""Networks that others trained: recognisers, speaker vectors, quality."""
