"""`s02 text`: shows how a text is read."""

import pytest

from s02jax.cli import run
from s02jax.cli.corpora import text
from tests import tiny


def test_a_text_is_shown_with_what_is_read_as_what(capsys):
  show = ["--show", "Am 3. Mai um 14:30 Uhr 🎉", "--language", "de"]
  assert not run(text.main, show)
  first, *rest = capsys.readouterr().out.splitlines()
  assert first == "Am dritten Mai um vierzehn Uhr dreißig"
  assert rest == [
    "  warning: not spoken, for they are pictures: 🎉",
    "  0-9 date: Am 3. Mai -> Am dritten Mai",
    "  13-22 time: 14:30 Uhr -> vierzehn Uhr dreißig",
    "  23-24 dropped: 🎉 -> (not spoken)",
  ]


def test_every_step_is_shown(capsys):
  show = ["--show", "# DAS IST\u00adS\n\n1. **5** km", "--language", "de"]
  assert not run(text.main, [*show, "--markup", "markdown"])
  assert capsys.readouterr().out.splitlines() == [
    "Das ists. eins: fünf Kilometer.",
    "  clean: '# DAS ISTS\\n1. **5** km'",
    "  marks: 'DAS ISTS.\\n1: 5 km.'",
    "  capitals: 'Das ists.\\n1: 5 km.'",
    "  10-11 number: 1 -> eins",
    "  13-17 measure: 5 km -> fünf Kilometer",
  ]


def test_a_bundle_chooses_the_language_and_knows_its_characters(
  tmp_path, capsys
):
  tiny.bundle().write(tmp_path / "bundle")
  show = ["--show", "Hello Ж", "--bundle", str(tmp_path / "bundle")]
  assert not run(text.main, show)
  assert "never met these characters" in capsys.readouterr().out
  show[1] = "東京"
  assert run(text.main, show) == 2
  assert "none of en, es" in capsys.readouterr().err


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
