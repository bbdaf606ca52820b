"""Errors for the person at the keyboard, and the exit codes they lead to."""

import sys
from collections.abc import Callable

# Exit code of a training that a SIGTERM stopped after saving.
STOPPED = 143
# Exit code of a failure that another try may not meet (EX_TEMPFAIL).
PASSING = 75


class UserError(Exception):
  """Bad input. The message is one sentence: what, where, and the remedy.

  Attributes:
    code: exit code of the program that it ends.
  """

  code = 2


class PassingError(UserError):
  """Failure that may pass by itself, such as storage that does not answer."""

  code = PASSING


def run(
  main: Callable[[list[str]], int | None], argv: list[str] | None = None
) -> int:
  """Runs a command; a UserError becomes one line on stderr and its code.

  Args:
    main: function of the arguments; returns an exit code, or None for 0.
    argv: arguments; those of this process where absent.

  Returns:
    Exit code: that of `main`, 2 for a UserError, PASSING for one that may pass
    by itself, 130 for ^C.
  """
  try:
    return main(sys.argv[1:] if argv is None else argv) or 0
  except UserError as error:
    print(f"s02: {error}", file=sys.stderr)
    return error.code
  except KeyboardInterrupt:
    print("s02: stopped by the keyboard.", file=sys.stderr)
    return 130
