"""Classes of written forms that every language has, read by its templates.

Addresses, phone numbers, dates, times, money, measures, shares, fractions and
plain numbers. What is particular to a language comes from the section [rules]
of its table, and goes before these within each class.
"""

import re
import unicodedata
from collections.abc import Iterator, Mapping
from typing import TypeVar

from s02jax.text.spoken import patterns
from s02jax.text.spoken.numbers import Numbers
from s02jax.text.spoken.patterns import AFTER, BEFORE, MARKS, Compiler, Rule
from s02jax.text.spoken.table import Table, form

# Classes in the order in which they are tried.
KINDS = (
  "verbatim", "address", "special", "phone", "date", "time", "money",
  "measure", "percent", "fraction", "ordinal", "hashtag", "abbreviation",
  "roman", "minus", "number", "symbol", "dropped",
)  # fmt: skip
_S = r"[ \t\u00a0\u202f\u2009]?"
VULGAR = "¼½¾⅐⅑⅒⅓⅔⅕⅖⅗⅘⅙⅚⅛⅜⅝⅞"
# Pictographs and what modifies them; the rule is one: they are not spoken.
DROPPED = (
  "\u200d\u20e3\ufe0e\ufe0f\u231a-\u23ff\u25a0-\u25ff\u2600-\u27bf"
  "\u2b00-\u2bff\u3030\u303d\u3297\u3299\U0001f000-\U0001faff"
  "\U000e0020-\U000e007f"
)
_Entry = TypeVar("_Entry")
_ENDING_PERIOD = re.compile(
  rf"""\s*["'”’»)\]]*(?:$|\n)|\s+["'“‘«„(¿¡]*[{patterns.UPPER}]"""
)


def ends_sentence(match: re.Match[str]) -> bool:
  """Whether what follows a match is the end, or begins with a capital."""
  return _ENDING_PERIOD.match(match.string, match.end()) is not None


class Classes:
  """Rules of one language, in the order in which they are tried."""

  def __init__(self, table: Table):
    """Compiles the table's rules and the ones that all languages share."""
    self.table, self.numbers = table, Numbers(table)
    self.compiler = Compiler(table, self.numbers)
    self.number = patterns.number(table)
    unknown = set(table.rules) - set(KINDS)
    if unknown:
      raise ValueError(f"{table.code}.toml: no class {sorted(unknown)[0]!r}")

  def rules(self) -> list[Rule]:
    """All rules; the first that matches reads a place."""
    shared = list(self._shared())
    found = []
    for kind in KINDS:
      own = self.table.rules.get(kind, {})
      found += [self.compiler.rule(kind, a, b) for a, b in own.items()]
      found += [rule for rule in shared if rule.kind == kind]
    return found

  def _shared(self) -> Iterator[Rule]:
    """Rules of the classes that all languages have."""
    yield Rule("verbatim", re.compile(r"<#[^<>]{0,80}#>"), lambda m: m[0], "<")
    yield from self._addresses()
    yield from self._phones()
    yield from self._dates()
    yield from self._times()
    yield from self._money()
    yield from self._measures()
    yield from self._fractions()
    yield from self._tags()
    yield from self._abbreviations()
    yield from self._plain()
    yield from self._symbols()

  def _render(self, name: str, **found: str | None) -> str:
    """Words of one of the table's templates."""
    return self.compiler.render(self.table.patterns[name], found)

  # -------------------------------------------------------------- addresses

  def _addresses(self) -> Iterator[Rule]:
    """Rules of addresses on the internet and names of files."""
    name = r"[a-zA-Z0-9](?:[\w-]{0,61}[a-zA-Z0-9])?"
    domains = "|".join(self.table.domains)
    endings = "|".join(self.table.extensions)
    path = r"(?:[/?#][\w/.?=&%#~+@:-]{0,200}[\w/])?"
    before = r"(?<![a-zA-Z0-9_.@-])"
    host = rf"{name}(?:\.{name}){{1,9}}"
    end = rf"(?![\w-]|\.\w|(?u:{patterns.LETTER}))"
    found = (
      rf"{before}(?:https?://|www\.){host}(?::\d{{1,5}})?{path}/?",
      rf"{before}[a-zA-Z0-9][\w.+-]{{0,63}}@{host}",
      rf"{before}(?:{name}\.){{1,4}}(?:{domains}){end}{path}",
      rf"{before}{name}\.(?:{endings}){end}",
    )
    for regex in found:
      compiled = re.compile(regex, re.ASCII)
      for starts in ("word", "digit"):
        yield Rule(
          "address", compiled, self._address, starts, (_ADDRESS_AHEAD,)
        )

  def _address(self, match: re.Match[str]) -> str:
    """Words of an address: its words, with names for the signs between."""
    text = re.sub(r"^https?://", "", match[0]).rstrip("/")
    made = []
    for part in re.findall(r"[^\W\d_]+|\d+|[^\w]|_", text):
      if part.isdecimal():
        made.append(self.numbers.read(part, "bare"))
      else:
        made.append(self.table.signs.get(part, part if part.isalpha() else ""))
    if self.table.numbers.get("joined"):
      return patterns.joined(made)
    return " ".join(part for part in made if part)

  def _tags(self) -> Iterator[Rule]:
    """Rules of hashtags and of names with @."""
    for sign, name in (("#", "hashtag"), ("@", "mention")):
      yield Rule(
        "hashtag",
        re.compile(rf"(?<![\w{sign}]){sign}(?=[^\W\d_])([\w{MARKS}]+)"),
        lambda m, name=name: self._tag(name, m[1]),
        sign,
      )

  def _tag(self, name: str, words: str) -> str:
    """Words of a tag, parted where lower case meets upper case or digits."""
    parts = re.findall(
      rf"[A-Z]?(?:[^\W\dA-Z_]|[{MARKS}])+|[A-Z]+(?![^\W\dA-Z_])|\d+|[A-Z]",
      words,
    )
    read = [self.numbers.read(p, "bare") if p.isdecimal() else p for p in parts]
    return self._render(name, w=" ".join(read))

  # ----------------------------------------------------------------- phones

  def _phones(self) -> Iterator[Rule]:
    """Rules of phone numbers: with a country's code, or grouped as one."""
    gap = r"[ \u00a0./-]"
    common = (
      rf"\+\d{{1,3}}(?:{gap}?\(?\d{{1,12}}\)?){{1,6}}",
      rf"\(\d{{2,5}}\){gap}?\d{{3,12}}(?:{gap}\d{{2,9}}){{0,5}}",
      rf"0\d{{1,4}}{gap}\d{{3,12}}(?:{gap}\d{{2,9}}){{0,5}}",
      r"\d{3}[-. ]\d{3}[-. ]\d{4}",
      r"\d{3}-\d{3,4}-\d{4}",
      r"\d{3}-\d{4}",
    )
    for pattern in (*self.table.phone.get("patterns", ()), *common):
      compiled = re.compile(BEFORE + pattern + r"(?![\d]|[.:/,-]\d)")
      for starts in ("digit", "+("):
        yield Rule("phone", compiled, self._phone, starts)

  def _phone(self, match: re.Match[str]) -> str | None:
    """Words of a phone number, a comma between its groups."""
    groups = re.findall(r"\d+", match[0])
    if not 7 <= sum(map(len, groups)) <= 15:
      return None
    reading = self.table.phone.get("reading", "digits")
    words = [self.numbers.read(group, reading) for group in groups]
    plus = self.table.symbols.get("+", "") if match[0].startswith("+") else ""
    gap = "" if self.table.numbers.get("joined") or not plus else " "
    words[0] = f"{plus}{gap}{words[0]}"
    return self.table.phone.get("gap", ", ").join(words)

  # --------------------------------------------------------- dates and times

  def _dates(self) -> Iterator[Rule]:
    """Rules of dates in digits, in the language's own order."""
    short = self.table.locale.date_formats["short"].pattern
    order = "".join(c for c in short if c in "dMy").lower()
    month_first = order.find("m") < order.find("d") and order[:1] != "y"
    first = "{m}/{d}" if month_first else "{d}/{m}"
    for written in (
      "{Y}-{m}-{d}", "{Y}/{m}/{d}", "{Y}.{m}.{d}", "{d}.{m}.{Y}",
      "{d}. {m}. {Y}", "{d}-{m}-{Y}", first + "/{Y}", first + "/{y}",
      "{d}.{m}.{y}",
    ):  # fmt: skip
      yield self._checked_date(written)

  def _checked_date(self, written: str) -> Rule:
    """Rule of a date; two digits of a year stand for 1950 to 2049."""
    rule = self.compiler.rule("date", written, self.table.patterns["date"])

    def read(match: re.Match[str]) -> str:
      found = match.groupdict()
      if "y" in found:
        year = int(found["y"])
        found["Y"] = str(year + (2000 if year < 50 else 1900))
      return self._render("date", **found)

    return Rule("date", rule.regex, read, rule.starts)

  def _times(self) -> Iterator[Rule]:
    """Rules of times of day with a colon."""
    seconds = self.table.patterns["seconds"]
    yield self.compiler.rule("time", "{H}:{M}:{S}", seconds)
    for written in ("{H}:{M}", "{H}：{M}"):
      rule = self.compiler.rule("time", written, self.table.patterns["time"])
      yield Rule("time", rule.regex, self._time, rule.starts)

  def _time(self, match: re.Match[str]) -> str:
    name = "hour" if match["M"] == "00" else "time"
    return self._render(name, H=match["H"], M=match["M"])

  # ------------------------------------------------------ money and measures

  def _money(self) -> Iterator[Rule]:
    """Rules of amounts, the currency before or after them."""
    symbols = patterns.any_of(self.table.currency_symbols)
    magnitude = patterns.any_of(self.table.magnitudes) or "(?!)"
    amount = (
      rf"(?P<n>{self.number})(?:{_S}[–—-]{_S}(?P<to>{self.number})|,[–—-]+)?"
      rf"(?:{_S}(?P<magnitude>{magnitude}){AFTER})?"
    )
    sign = rf"(?P<sign>{symbols})"
    word = rf"(?<!{patterns.LETTER})"
    after = re.compile(rf"{BEFORE}{amount}{_S}{sign}{AFTER}")
    yield Rule("money", after, self._amount, "digit")
    before = re.compile(rf"(?:{word}|(?<=[A-Z])(?=[$€£])){sign}{_S}{amount}")
    firsts = "".join(
      {s[0] for s in self.table.currency_symbols if not s[0].isalpha()}
    )
    words = [s for s in self.table.currency_symbols if s[0].isalpha()]
    yield Rule("money", before, self._amount, firsts)
    yield Rule("money", before, self._amount, "word", (patterns.any_of(words),))

  def _amount(self, match: re.Match[str]) -> str | None:
    """Words of an amount."""
    iso = self._symbol(self.table.currency_symbols, match["sign"])
    currency = self.table.currencies.get(iso)
    if currency is None:
      return None
    number = self.numbers.parse(match["n"])
    if match["to"]:
      first = self.numbers.read(number)
      number = self.numbers.parse(match["to"])
      gap = "" if self.table.numbers.get("joined") else " "
      start = f"{first}{gap}{self.table.patterns['range']}{gap}"
    else:
      start = ""
    found: dict[str, str] = {}
    if match["magnitude"]:
      forms = self._symbol(self.table.magnitudes, match["magnitude"])
      found["magnitude"] = form(forms, self._plural(number))
      found["currency"] = form(currency.forms, self.table.plural("1000000"))
      found["n"] = self._counted(number, forms.get("reading", "number"))
      return start + self._render("money_big", **found)
    whole, _, decimals = number.partition(".")
    if decimals and not decimals.strip("0"):
      number, decimals = whole, ""
    if len(decimals) == 2 and currency.sub_forms:
      found["c"] = self._counted(decimals, currency.sub_reading)
      found["sub"] = form(currency.sub_forms, self._plural(decimals))
      if not whole.strip("0") and "money_sub" in self.table.patterns:
        return start + self._render("money_sub", **found)
      number = whole if "money_parts" in self.table.patterns else number
    found["currency"] = form(currency.forms, self._plural(number))
    found["n"] = self._counted(number, currency.reading)
    parted = number == whole and "c" in found
    return start + self._render("money_parts" if parted else "money", **found)

  def _plural(self, number: str) -> str:
    """Plural category of a number in ASCII."""
    return self.table.plural(number.lstrip("0") or "0")

  def _counted(self, number: str, reading: str) -> str:
    """Words of a number before a noun; a leading zero is none."""
    whole, mark, decimals = number.partition(".")
    whole = whole.lstrip("0") or "0"
    return self.numbers.read(whole + mark + decimals, reading)

  def _symbol(self, words: Mapping[str, _Entry], written: str) -> _Entry:
    """Entry of a table for a word as it was written."""
    if written in words:
      return words[written]
    return {patterns.key(k): v for k, v in words.items()}[patterns.key(written)]

  def _measures(self) -> Iterator[Rule]:
    """Rules of numbers with a unit, and of percentages."""
    units = sorted(self.table.units, key=len, reverse=True)
    symbols = "|".join(re.escape(u).replace(r"\ ", f"{_S}") for u in units)
    # Words alone: "5 k m" is hardly five thousand meters.
    large = [m for m in self.table.magnitudes if len(m) > 2 or not m.isascii()]
    magnitude = patterns.any_of(large) or "(?!)"
    yield Rule(
      "measure",
      re.compile(
        rf"{BEFORE}(?P<n>{self.number})(?:{_S}(?P<magnitude>{magnitude}))??"
        rf"{_S}(?P<unit>{symbols})(?!{patterns.LETTER}|[²³])"
      ),
      self._measure,
      "digit",
    )
    sign = "[%٪％]"
    for regex, starts in (
      (rf"{BEFORE}(?P<n>{self.number}){_S}{sign}", "digit"),
      (rf"{sign}{_S}(?P<n>{self.number})", "%٪％"),
    ):
      yield Rule("percent", re.compile(regex), self._percent, starts)

  def _measure(self, match: re.Match[str]) -> str:
    """Words of a number with its unit."""
    symbol = match["unit"]
    unit = (
      self.table.units.get(symbol)
      or self.table.units[re.sub(r"\s", " ", symbol)]
    )
    number = self.numbers.parse(match["n"])
    if match["magnitude"]:
      gap = "" if self.table.numbers.get("joined") else " "
      forms = self._symbol(self.table.magnitudes, match["magnitude"])
      counted = self._counted(number, forms.get("reading", "number"))
      words = f"{counted}{gap}{form(forms, self._plural(number))}"
      number = "1000000"
    else:
      words = self._counted(number, unit.reading)
    words = form(unit.forms, self._plural(number)).replace("{0}", words)
    return _period(words, match)

  def _percent(self, match: re.Match[str]) -> str:
    number = self.numbers.parse(match["n"])
    return self._render("percent", n=self._counted(number, "number"))

  def _fractions(self) -> Iterator[Rule]:
    """Rules of fractions, in characters of their own or with a slash."""
    vulgar = rf"(?P<v>[{VULGAR}])"
    whole = rf"(?P<n>\d{{1,9}}){_S}"
    parts = r"(?P<a>\d{1,9})[/⁄](?P<b>\d{1,9})(?![\d/⁄])"
    for regex, starts in (
      (rf"{BEFORE}{whole}{vulgar}", "digit"),
      (rf"{BEFORE}(?:(?P<n>\d{{1,9}}) )?{parts}", "digit"),
      (vulgar, VULGAR),
    ):
      yield Rule("fraction", re.compile(regex), self._fraction, starts)

  def _fraction(self, match: re.Match[str]) -> str | None:
    """Words of a fraction, None where a slash parts something else."""
    found = match.groupdict()
    if found.get("v"):
      a, b = unicodedata.normalize("NFKC", found["v"]).split("⁄")
    else:
      a, b = found["a"], found["b"]
    n, written = found.get("n"), f"{a}/{b}"
    words = self.table.fractions.get(f"{n} {written}")
    if words:
      return words
    words = self.table.fractions.get(written)
    if words is None:
      if int(a) >= int(b) or int(b) > 100 or b[0] == "0":
        return None
      words = self._render("fraction", a=a, b=b)
    return self._render("mixed", n=n, f=words) if n else words

  # ---------------------------------------------------------- words and signs

  def _abbreviations(self) -> Iterator[Rule]:
    """Rule of the table's abbreviations."""
    table = self.table.abbreviations
    if not table:
      return
    written = patterns.any_of(table)
    words = {patterns.key(w): spoken for w, spoken in table.items()}
    exact = {w.replace(" ", "") for w in table}
    # In scripts without spaces one letter and a period may be the end of a
    # word, or a part of a longer abbreviation.
    letters = [w for w in table if re.fullmatch(r"\w\.", w)]
    long = patterns.any_of(set(table) - set(letters)) or "(?!)"
    run = f"[{patterns.RUNNING}]"
    one = rf"(?<!{run})(?:{patterns.any_of(letters) or '(?!)'})(?!{run}+\.)"
    regex = re.compile(rf"{BEFORE}(?:{long}|{one})(?!{patterns.LETTER})")

    def read(match: re.Match[str]) -> str:
      spoken = words[patterns.key(match[0])]
      if re.sub(r"\s", "", match[0]) not in exact:  # it begins a sentence
        spoken = spoken[0].upper() + spoken[1:]
      return _period(spoken, match)

    yield Rule("abbreviation", regex, read, "word", (written,))

  def _plain(self) -> Iterator[Rule]:
    """Rules of numbers that stand alone: the last ones, they leave no digit."""
    yield Rule(
      "minus",
      re.compile(rf"(?:(?<![\w)\]%°{MARKS}])[-−]|(?<![^\s(])–)(?=\d)"),
      lambda m: self.table.patterns["minus"],
      "-−–",
    )
    dotted = re.compile(rf"{BEFORE}\d+(?:\.\d+){{1,9}}(?!\d)")
    strict = re.compile(rf"{BEFORE}(?P<n>{self.number})(?!\d)(?![.,:/]\d)")
    yield Rule("number", strict, self._bare, "digit")
    yield Rule("number", dotted, self._dotted, "digit")
    loose = re.compile(rf"(?P<n>{self.number})(?!\d)")
    yield Rule("number", loose, self._bare, "digit")
    yield Rule("number", re.compile(r"(?P<n>\d+)"), self._bare, "digit")

  def _bare(self, match: re.Match[str]) -> str:
    """Words of a number that nothing is known of."""
    written = match["n"]
    reading = "bare" if written.isdecimal() else "number"
    return self.numbers.read(self.numbers.parse(written), reading)

  def _dotted(self, match: re.Match[str]) -> str:
    """Words of a version or a section, such as 2.0.1."""
    point = self.table.signs.get(".", self.table.number.point)
    dot = self.table.numbers.get("dot", point)
    gap = "" if self.table.numbers.get("joined") else " "
    parts = match[0].split(".")
    words = [self.numbers.read(part, "bare") for part in parts]
    return f"{gap}{dot}{gap}".join(words)

  def _symbols(self) -> Iterator[Rule]:
    """Rules of single characters: by the table, of numbers, pictographs."""
    for sign, words in self.table.symbols.items():
      quoted = re.escape(sign[0])
      regex = re.compile(rf"(?<!{quoted}){re.escape(sign)}(?!{quoted})")
      if sign == "+":
        regex = re.compile(r"(?<!\+\+)\+(?!\+\+)")
      elif sign in "<>":
        regex = re.compile(rf"(?<=[\d ]){sign}(?= ?\d)")
      elif sign == "~":
        regex = re.compile(r"(?<!\w)~(?= ?\d)")
      yield Rule("symbol", regex, lambda m, words=words: words, sign[0])
    # A joiner behind a sign of a word belongs to that word.
    dropped = re.compile(rf"(?!(?<=[{MARKS}])\u200d)[{DROPPED}]+")
    yield Rule("dropped", dropped, lambda m: "", "pictograph")
    yield Rule("number", re.compile(r"."), self._numeral, "numeral")

  def _numeral(self, match: re.Match[str]) -> str | None:
    """Words of one numeric character, such as ① or Ⅳ."""
    plain = unicodedata.normalize("NFKC", match[0])
    if re.fullmatch(r"\d+", plain):
      digits = "".join(str(unicodedata.decimal(c)) for c in plain)
      return self.numbers.read(digits, "bare")
    if re.fullmatch(r"[IVXLCivxlc]+", plain):
      return self.numbers.read(str(patterns.roman(plain.upper())))
    value = unicodedata.numeric(match[0], 0.5)
    if value == int(value) and value >= 0:
      return self.numbers.read(str(int(value)))
    return None


def _period(words: str, match: re.Match[str]) -> str:
  """Words without the period at their end, unless a sentence ends there too."""
  if not words.endswith(".") or _ENDING_PERIOD.match(match.string, match.end()):
    return words
  return words[:-1]


# Looks ahead for a sign of an address within the word that begins here.
_ADDRESS_AHEAD = r"(?=[a-zA-Z0-9][\w.+-]{0,63}(?:@|://|\.[a-zA-Z]))"
