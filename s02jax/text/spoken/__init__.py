"""Text as it is spoken: numbers, dates, money, signs and the like in words.

`spoken` writes a text in the words that a reader says, in 32 languages;
`tokens` lists what it reads and how. Corpora and synthesis use it alike.
Exports (`s02jax.serving`) run without Babel and do not use it: there, texts are
to be in words.
"""

from s02jax.text.spoken.scan import Token, spoken, tokens

__all__ = ["Token", "spoken", "tokens"]
