"""Completion scripts of shells, made of the help texts of all verbs.

The help is what every verb has, whether argparse or ml_collections reads its
options; so a script completes what `s02 VERB --help` shows.
"""

import contextlib
import dataclasses
import io
import re
from collections.abc import Callable, Sequence

from s02jax import cli
from s02jax.cli import bench

_OPTION = re.compile(
  r"^\s{2,4}(?:-\w, )?(--[a-zA-Z][\w-]*)(?:[ =]\{([^}\s]+)\})?", re.MULTILINE
)
_WORDS = re.compile(r"^\s{2}\{([\w,-]+)\}(?:\s|$)", re.MULTILINE)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Command:
  """Command line up to where options begin, and what may follow it."""

  words: tuple[str, ...]  # verb, or verb and sub-command
  line: str  # what it does; empty for a sub-command
  following: tuple[str, ...]  # sub-commands, or words that it takes
  options: dict[str, tuple[str, ...]]  # option -> its values, where few


def commands() -> list[Command]:
  """Reads the help of all verbs and of their sub-commands."""
  found = []
  for name, verb in cli.VERBS.items():
    whole = _command((name,), verb.line)
    if name == "bench":
      whole = dataclasses.replace(whole, following=tuple(bench.BENCHES))
    found.append(whole)
    if name != "completion":
      found += [_command((name, word), "") for word in whole.following]
  return found


def _command(words: tuple[str, ...], line: str) -> Command:
  """Reads the help of one command."""
  shown = io.StringIO()
  with contextlib.redirect_stdout(shown), contextlib.suppress(SystemExit):
    cli.module(words[0]).main([*words[1:], "--help"])
  text = shown.getvalue()
  listed = _WORDS.search(text)
  found = {
    name: tuple(values.split(",")) if values else ()
    for name, values in _OPTION.findall(text)
  }
  return Command(
    words=words,
    line=line,
    following=tuple(listed[1].split(",")) if listed else (),
    options={"--help": ()} | found,
  )


def script(shell: str, found: Sequence[Command]) -> str:
  """Script of one of SHELLS that completes these commands."""
  return SHELLS[shell](found)


def _bash(found: Sequence[Command]) -> str:
  """Script for bash 4 and newer."""
  verbs = " ".join(cli.VERBS)
  return f"""# Completion of s02 for bash, by `s02 completion bash`.
_s02() {{
  local cur=${{COMP_WORDS[COMP_CWORD]}} prev=${{COMP_WORDS[COMP_CWORD-1]}}
  local verb=${{COMP_WORDS[1]}} sub=${{COMP_WORDS[2]}} words=
  if (( COMP_CWORD == 1 )); then
    words="{verbs} --help --version"
  else
    case "$verb $prev" in
{_cases(found, _values, '      {}) words="{}" ;;')}
    esac
    [[ -z $words ]] && case "$verb $sub" in
{_cases(found, _rest, '      {}) words="{}" ;;')}
    esac
  fi
  COMPREPLY=( $(compgen -W "$words" -- "$cur") )
}}
complete -o default -F _s02 s02"""


def _zsh(found: Sequence[Command]) -> str:
  """Script for zsh."""
  verbs = "\n".join(
    f"      {_quoted(f'{name}:{verb.line}')}"
    for name, verb in cli.VERBS.items()
  )
  return f"""#compdef s02
# Completion of s02 for zsh, by `s02 completion zsh`.
_s02() {{
  local verb=$words[2] sub=$words[3] prev=$words[CURRENT-1]
  local -a verbs found
  if (( CURRENT == 2 )); then
    verbs=(
{verbs}
    )
    _describe verb verbs
    return
  fi
  case "$verb $prev" in
{_cases(found, _values, "    {}) found=({}) ;;")}
  esac
  if (( $#found )); then
    compadd -- $found
    return
  fi
  case "$verb $sub" in
{_cases(found, _rest, "    {}) found=({}) ;;")}
  esac
  compadd -- $found
  _files
}}
# A file of fpath is the function's first call; sourced, it only defines it.
if [[ $funcstack[1] == _s02 ]]; then
  _s02 "$@"
else
  compdef _s02 s02
fi"""


def _fish(found: Sequence[Command]) -> str:
  """Script for fish."""
  lines = ["# Completion of s02 for fish, by `s02 completion fish`."]
  for name, verb in cli.VERBS.items():
    lines.append(
      f"complete -c s02 -n __fish_use_subcommand -f -a {name}"
      f" -d {_quoted(verb.line)}"
    )
  for command in found:
    seen = "; and ".join(
      f"__fish_seen_subcommand_from {word}" for word in command.words
    )
    start = f"complete -c s02 -n '{seen}'"
    if command.following:
      words = " ".join(command.following)
      lines.append(
        f"complete -c s02 -n '{seen}; and not __fish_seen_subcommand_from"
        f" {words}' -f -a '{words}'"
      )
    for option, values in command.options.items():
      chosen = f" -x -a '{' '.join(values)}'" if values else ""
      lines.append(f"{start} -l {option[2:]}{chosen}")
  return "\n".join(lines)


SHELLS: dict[str, Callable[[Sequence[Command]], str]] = {
  "bash": _bash,
  "zsh": _zsh,
  "fish": _fish,
}

_Words = dict[str, Sequence[str]]  # pattern of a `case` -> words


def _values(found: Sequence[Command]) -> _Words:
  """Values of options, by verb and option."""
  return {
    f'"{command.words[0]} {option}"': values
    for command in found
    for option, values in command.options.items()
    if values
  }


def _rest(found: Sequence[Command]) -> _Words:
  """Sub-commands and options, by verb and sub-command; sub-commands first."""
  cases: _Words = {}
  for command in sorted(found, key=lambda command: -len(command.words)):
    words = " ".join(command.words)
    pattern = f'"{words}"' if command.words[1:] else f'"{words} "*'
    cases[pattern] = (*command.following, *command.options)
  return cases


def _cases(found: Sequence[Command], of: Callable, form: str) -> str:
  """Branches of a `case` in bash or zsh."""
  return "\n".join(form.format(k, " ".join(v)) for k, v in of(found).items())


def _quoted(text: str) -> str:
  """Text in single quotes of a shell."""
  return "'" + text.replace("'", "'\\''") + "'"
