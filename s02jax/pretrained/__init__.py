"""Networks that others trained: recognisers, speaker vectors, speech quality.

`judges` holds one protocol for each kind, `registry` makes a judge from its
spec. No third-party package is imported before its judge is made.
"""
