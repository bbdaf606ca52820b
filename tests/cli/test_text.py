"""`s02 text`: shows how a text is read."""

import pytest

from s02jax.cli import run, text


def test_a_text_is_shown_with_what_is_read_as_what(capsys):
  show = ["--show", "Am 3. Mai um 14:30 Uhr 🎉", "--language", "de"]
  assert not run(text.main, show)
  first, *rest = capsys.readouterr().out.splitlines()
  assert first == "Am dritten Mai um vierzehn Uhr dreißig"
  assert rest == [
    "  0-9 date: Am 3. Mai -> Am dritten Mai",
    "  13-22 time: 14:30 Uhr -> vierzehn Uhr dreißig",
    "  23-24 dropped: 🎉 -> (not spoken)",
  ]


@pytest.mark.parametrize(
  ("argv", "fault"),
  [
    (["--show", "5"], "--show needs --language"),
    (["--show", "5", "--language", "xx"], "language 'xx' is unknown"),
    (["--corpus", "a", "--language", "en"], "--language belongs to --show"),
  ],
)
def test_a_fault_is_one_sentence(argv, fault, capsys):
  assert run(text.main, argv)
  assert fault in capsys.readouterr().err
