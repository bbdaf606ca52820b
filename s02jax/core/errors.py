"""Errors meant for the person at the keyboard, and exit codes."""


class UserError(Exception):
  """Bad input. The message is one sentence: what, where, and the remedy."""


STOPPED = 143
