"""The one exception whose message is meant for the person at the keyboard."""


class UserError(Exception):
  """Bad input. The message is one sentence: what, where, and the remedy."""
