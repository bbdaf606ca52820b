"""Marks: tags, SSML, Markdown and subtitles as they are read."""

import pytest

from s02jax.core.errors import UserError
from s02jax.text.clean import clean
from s02jax.text.markup import reader
from s02jax.text.markup.document import ended


def said(text, markup, language="en"):
  return clean(reader.read(text, markup).text(language)).replace("\n", " ")


@pytest.mark.parametrize(
  ("written", "words", "dropped"),
  [
    ("Hi <b>you</b>!", "Hi you!", ("<b>",)),
    ("<en> ok </de>", "ok", ("<en>", "</de>")),
    ('a<break time="500ms"/>b', "a <#0.50#> b", ()),
    ("a <break strength='strong'/> b", "a <#1.00#> b", ()),
    ("a <break/> b<br>c<p class=x>d", "a <#0.50#> b c d", ()),
    ("AT&amp;T &lt;b&gt; R&D &#8203;x&nbsp;y", "AT&T <b> R&D x y", ()),
    ("a < b and c > d, 1<2", "a < b and c > d, 1<2", ()),
    ("<me@x.org> <https://x.org> <3", "<me@x.org> <https://x.org> <3", ()),
    ("one <!-- no --> two <#0.5#>", "one two <#0.5#>", ("<!--…-->",)),
  ],
)
def test_tags_act_or_are_left_out_by_name(written, words, dropped):
  assert said(written, "none") == words
  assert reader.read(written, "none").dropped == dropped


@pytest.mark.parametrize(
  ("written", "words"),
  [
    ("# A *title*\n\nText `x` **b**\ngoes on", "A title. Text x b goes on."),
    ("Title\n=====\n\nText!", "Title. Text!"),
    ("- one\n- two?\n\n3. three\n4. four", "one. two? 3: three. 4: four."),
    ("[a link](http://x.y) <https://x.y>", "a link https://x.y."),
    ("![a cat](cat.png \"title\")", "a cat."),
    ("|a|b|\n|-|-|\n|1|2 km|\n|||", "a, b. 1, 2 km."),
    ("```py\nx = 1\n\ny\n```", "x = 1 y."),
    ("> said\n>> he", "said. he."),
    ("a\n\n---\n\nb\\*c ~~d~~", "a. b*c d."),
    ("- [x] done\n- [ ] open", "done. open."),
    ("Wait <#1.5#> <b>now</b>", "Wait <#1.5#> now."),
    ("---\ntitle: T\n---\ntext", "text."),
    ("# 第一章\n\n你好", "第一章。 你好。"),
    ("snake_case and 2 * 3 * 4", "snake_case and 2 * 3 * 4."),
  ],
)  # fmt: skip
def test_markdown_is_read_as_text(written, words):
  assert said(written, "markdown") == words


@pytest.mark.parametrize(
  ("written", "words"),
  [
    ("<speak>Hi <break time='1.5s'/> you</speak>", "Hi <#1.50#> you"),
    ("<p><s>One</s><s>Two?</s></p><p>Three</p>", "One. Two? Three."),
    ("<sub alias='World Wide Web'>WWW</sub>", "World Wide Web"),
    ("<say-as interpret-as='characters'>A1</say-as>", "A one"),
    ("<say-as interpret-as='telephone'>12-3</say-as>", "one two, three"),
    ("<say-as interpret-as='ordinal'>3</say-as>", "third"),
    ("<say-as interpret-as='cardinal'>1984</say-as>",
     "one thousand nine hundred eighty-four"),
    ("<say-as interpret-as='date'>2024-05-03</say-as>", "2024-05-03"),
    ("<metadata>x</metadata>a &amp; <![CDATA[b]]>", "a & b"),
  ],
)  # fmt: skip
def test_ssml_acts(written, words):
  assert said(written, "ssml") == words
  assert reader.read(written, "ssml").dropped == ()


def test_what_ssml_a_request_has_not_is_named():
  found = reader.read(
    "<speak xml:lang='de-DE'><phoneme ph='x'>a</phoneme> <voice name='v'>b"
    "</voice> <prosody pitch='high' rate='fast'>c</prosody></speak>",
    "ssml",
  )
  assert found.text().split() == ["a", "b", "c"]
  assert found.dropped == (
    "<phoneme>", "<voice>", "<prosody pitch>",
    "<prosody rate> around a part of the text",
  )  # fmt: skip
  assert found.language == "de-DE"
  assert found.speed == 1.0


@pytest.mark.parametrize(
  ("rate", "speed"),
  [("fast", 1.25), ("120%", 1.2), ("+20%", 1.2), ("-20%", 0.8), ("1.5", 1.5)],
)
def test_a_rate_around_everything_is_the_speed(rate, speed):
  written = f"<speak> <prosody rate='{rate}'>a <break/> b.</prosody></speak>"
  assert reader.read(written, "ssml").speed == pytest.approx(speed)


SRT = """\ufeff1
00:00:01,000 --> 00:00:02,500
<i>Who is
there?</i>

2
00:00:03,000 --> 00:00:04,000 X1:40
- {\\an8}1984
- <font color="#fff">No</font>

3
00:00:05,000 --> 00:00:06,000
12
"""


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_of_subtitles_only_what_is_said_is_read(end):
  text = SRT.replace("\n", end)
  assert said(text, "srt") == "Who is there? 1984 No 12"
  assert reader.read(text, "srt").dropped == ()
  assert reader.read("note\n" + text, "srt").dropped == ("note 1",)


@pytest.mark.parametrize(
  ("text", "markup", "fault"),
  [
    ("a <break time='soon'/>", "none", "write seconds"),
    ("a <break strength='very'/>", "ssml", "strengths are"),
    ("<speak>a<b></speak>", "ssml", "not XML: mismatched tag in line 1"),
    ("a < b", "ssml", "not XML"),
    ("<!DOCTYPE x [<!ENTITY a 'b'>]><speak>&a;</speak>", "ssml", "DOCTYPE"),
    ("<prosody rate='wild'>a</prosody>", "ssml", "x-slow"),
    ("<a>" * 1100, "ssml", "1000 levels"),
    ("> " * 300 + "deep", "markdown", "100 levels"),
    ("no cues", "srt", "no cue"),
    ("a", "html", "unknown"),
  ],
)
def test_a_fault_is_one_sentence(text, markup, fault):
  with pytest.raises(UserError, match=fault) as error:
    reader.read(text, markup)
  assert "\n" not in str(error.value)


def test_entities_that_grow_are_refused():
  declared = "".join(
    f"<!ENTITY e{i} '{f'&e{i - 1};' * 10 if i else 'ha'}'>" for i in range(9)
  )
  with pytest.raises(UserError, match="DOCTYPE"):
    reader.read(f"<!DOCTYPE x [{declared}]><speak>&e8;</speak>", "ssml")


def test_a_suffix_tells_the_marks():
  kinds = [
    reader.kind_of(f"a.b/c{s}") for s in (".MD", ".srt", ".ssml", ".txt", "")
  ]
  assert kinds == ["markdown", "srt", "ssml", "none", "none"]


@pytest.mark.parametrize(
  ("text", "whole"),
  [("a", "a."), ("a. ", "a. "), ("(a)", "(a)."), ("a:", "a:"), ("—", "—"),
   ("5 %", "5 %"), ("नमस्ते", "नमस्ते।"), ("สวัสดี", "สวัสดี"), ("", "")],
)  # fmt: skip
def test_a_sentence_is_ended_once(text, whole):
  assert ended(text) == whole


@pytest.mark.parametrize("markup", ["none", "ssml"])
@pytest.mark.parametrize(
  ("written", "words"),
  [
    (
      'a <emotion name="sad">b c</emotion> d',
      "a <#emotion sad#> b c <#emotion#> d",
    ),
    (
      "<emotion name='sad' strength='0.6'>b</emotion>",
      "<#emotion sad:0.6#> b <#emotion#>",
    ),
    (
      '<emotion name="sad:0.5,happy:0.3">b</emotion>',
      "<#emotion sad:0.5,happy:0.3#> b <#emotion#>",
    ),
  ],
)
def test_an_emotion_holds_for_what_it_encloses(written, words, markup):
  assert said(written, markup) == words
  assert reader.read(written, markup).dropped == ()


@pytest.mark.parametrize("markup", ["none", "ssml"])
@pytest.mark.parametrize(
  "written",
  [
    "<emotion>b</emotion>",
    '<emotion name="">b</emotion>',
    '<emotion name="very sad">b</emotion>',
    '<emotion name="sad" strength="much">b</emotion>',
  ],
)
def test_an_emotion_without_a_meaning_is_one_sentence(written, markup):
  with pytest.raises(UserError, match="<emotion"):
    reader.read(written, markup)
