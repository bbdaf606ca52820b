"""Pipelines of normalisation, official and fair, in every language."""

import dataclasses
import random
import string
import unicodedata

import pytest

from s02jax.core.languages import BY_CODE, LANGUAGES
from s02jax.text import normalize
from s02jax.text.normalize import FAIR, OFFICIAL, numbers
from s02jax.text.normalize.fair import spoken_only

# As written, and as a reader would say the same words.
SENTENCES = {
  "zh": ("他說：「今年有105個人，漲了25%！」",
         "他说今年有一百零五个人涨了百分之二十五"),
  "en": ("On May 21st, O’Brien’s well-known café sold 1,250 cups (9.5% more).",
         "on may twenty first o'brien's well known café sold one thousand two"
         " hundred fifty cups nine point five percent more"),
  "yue": ("佢話：「我有3隻貓，仲有２隻狗㗎。」",
          "佢话我有三只猫仲有二只狗㗎"),
  "ja": ("ﾃﾚﾋﾞは３台、合計20万円です！", "テレビは三台合計二十万円です"),
  "ko": ("오늘은 3월 15일, 금요일입니다!", "오늘은 삼월 십오일 금요일입니다"),
  "ar": ("قالَ: «اشتريتُ ٣٠٠ كتابٍ، أليسَ كذلك؟»",
         "قال اشتريت ثلاثمائة كتاب اليس كذلك"),
  "es": ("¿Cuántos? ¡Compré 1.500 LIBROS, un 6,5 % más!",
         "cuántos compré mil quinientos libros un seis coma cinco por ciento"
         " más"),
  "tr": ("IĞDIR'da İPEK 21 lira; %9 arttı.",
         "ığdır'da ipek yirmi bir lira yüzde dokuz arttı"),
  "id": ("Jalan-jalan ke Bandung: 1.250 orang, naik 12%!",
         "jalan jalan ke bandung seribu dua ratus lima puluh orang naik dua"
         " belas persen"),
  "pt": ("Não! Subiu 6,5% — são 101 dias.",
         "não subiu seis vírgula cinco por cento são cento e um dias"),
  "fr": ("L’œuvre coûte 1 000 francs ; c’est 80 % de plus…",
         "l'oeuvre coûte mille francs c'est quatre vingts pour cent de plus"),
  "it": ("Dov’è l’AMICO? Ha 21 anni, «perché» no!",
         "dov'è l'amico ha ventuno anni perché no"),
  "nl": ("Het kost 3,5 euro; één rondje, vóór 1999!",
         "het kost drie komma vijf euro een rondje voor"
         " negentiennegenennegentig"),
  "vi": ("Xin chào! Hòa khỏe không? Có 105 quyển sách.",
         "xin chào hoà khoẻ không có một trăm lẻ năm quyển sách"),
  "de": ("Größe: 1.000 Straßen, 6,5 % mehr — seit 1999!",
         "grösse eintausend strassen sechs komma fünf prozent mehr seit"
         " neunzehnhundertneunundneunzig"),
  "ru": ("Ещё раз: «за́мок» стоит 21 рубль!",
         "еще раз замок стоит двадцать один рубль"),
  "uk": ("П’ЯТЬ із 5 об'єктів — це 100%.",
         "п'ять із п'ять об'єктів це сто відсотків"),
  "th": ("เขามีเเมว 3 ตัว และน้ำ ๒๑ ขวด!",
         "เขามีแมวสามตัวและน้ำยี่สิบเอ็ดขวด"),
  "pl": ("Źródło ma 25 metrów… „Świetnie”!",
         "źródło ma dwadzieścia pięć metrów świetnie"),
  "ro": ("Maşina şi 105 case, 9% în București!",
         "mașina și o sută cinci case nouă la sută în bucurești"),
  "el": ("Πόσα; Έχω 2.000 βιβλία· ΟΔΟΣ μου!",
         "πόσα έχω δύο χιλιάδες βιβλία οδος μου"),
  "cs": ("Příští týden: 105 lidí, „hezky“ a 6,5 %!",
         "příští týden sto pět lidí hezky a šest celá pět procent"),
  "fi": ("Äiti osti 21 omenaa; 1 000 euroa – halpaa!",
         "äiti osti kaksikymmentäyksi omenaa tuhat euroa halpaa"),
  "hi": ("क्या आपके पास ५ किताबें हैं? हाँ, १,००,००० रुपये।",
         "क्या आपके पास पाँच किताबें हैं हाँ एक लाख रुपये"),
  "bg": ("Здравей! Имам 5 КНИГИ, нали?", "здравей имам пет книги нали"),
  "hr": ("Đak ima 105 kuna; to je 9%!",
         "đak ima sto pet kuna to je devet posto"),
  "da": ("Æblet på øen koster 21 kroner – ikke sandt?",
         "æblet på øen koster enogtyve kroner ikke sandt"),
  "hu": ("Őszintén: 1000 forint „sok”? Igen, 25 %!",
         "őszintén ezer forint sok igen huszonöt százalék"),
  "ms": ("Beliau ada 5 ekor kucing, 9.5% lebih!",
         "beliau ada lima ekor kucing sembilan perpuluhan lima peratus lebih"),
  "nb": ("Én på 21 år – «Ærlig» talt: 100 %!",
         "en på tjueen år ærlig talt hundre prosent"),
  "sk": ("Ďakujem! Mám 105 kníh, čiže 25 %.",
         "ďakujem mám sto päť kníh čiže dvadsaťpäť percent"),
  "sv": ("Åsa köpte 21 äpplen; 1 000 kronor är mycket!",
         "åsa köpte tjugoett äpplen ettusen kronor är mycket"),
}  # fmt: skip
# A number in digits, and in words as they are written.
SPELLED = {
  "zh": ("5欧元。", "五欧元"),
  "en": ("5 euros", "Five euros."),
  "yue": ("5蚊。", "五蚊"),
  "ja": ("5ユーロ。", "五ユーロ"),
  "ko": ("5유로!", "오유로."),
  "ar": ("5 كتب", "خمسة كتب."),
  "es": ("5 euros", "Cinco euros."),
  "tr": ("5 avro", "Beş avro."),
  "id": ("5 euro", "Lima euro."),
  "pt": ("5 euros", "Cinco euros."),
  "fr": ("22 euros", "Vingt-deux euros."),
  "it": ("5 euro", "Cinque euro."),
  "nl": ("25 euro", "Vijfentwintig euro."),
  "vi": ("5 đồng", "Năm đồng."),
  "de": ("25 Euro", "Fünfundzwanzig Euro."),
  "ru": ("5 рублей", "Пять рублей."),
  "uk": ("5 гривень", "П'ять гривень."),
  "th": ("5 บาท", "ห้าบาท"),
  "pl": ("5 złotych", "Pięć złotych."),
  "ro": ("6 lei", "Șase lei."),
  "el": ("5 ευρώ", "Πέντε ευρώ."),
  "cs": ("5 korun", "Pět korun."),
  "fi": ("5 euroa", "Viisi euroa."),
  "hi": ("5 रुपये", "पाँच रुपये।"),
  "bg": ("5 лева", "Пет лева."),
  "hr": ("5 eura", "Pet eura."),
  "da": ("5 kroner", "Fem kroner."),
  "hu": ("5 forint", "Öt forint."),
  "ms": ("5 ringgit", "Lima ringgit."),
  "nb": ("5 kroner", "Fem kroner."),
  "sk": ("5 eur", "Päť eur."),
  "sv": ("5 kronor", "Fem kronor."),
}

EVERY_LANGUAGE = pytest.mark.parametrize(
  "row", LANGUAGES, ids=lambda row: row.code
)


def fair(text, code):
  return FAIR.reference(text, BY_CODE[code])


def official(text, code):
  return OFFICIAL.reference(text, BY_CODE[code])


# --------------------------------------------------------------------- fair


@EVERY_LANGUAGE
def test_a_sentence_reads_as_it_is_spoken(row):
  written, read = SENTENCES[row.code]
  assert fair(written, row.code) == read
  assert fair(read, row.code) == read
  decomposed = unicodedata.normalize("NFD", written)
  assert fair(decomposed, row.code) == read
  assert FAIR.hypothesis(written, row) == read


@EVERY_LANGUAGE
def test_digits_and_words_are_the_same(row):
  digits, words = SPELLED[row.code]
  assert fair(digits, row.code) == fair(words, row.code)


@EVERY_LANGUAGE
def test_every_language_spells_its_numbers(row):
  assert numbers.is_spoken(row.code)
  assert row.code in normalize.WORDS
  words = [fair(f"{number}", row.code) for number in (*range(130), 999, 54321)]
  assert len(set(words)) == len(words)
  assert not any(c.isdecimal() for word in words for c in word)


def test_a_language_without_number_words_has_its_digits_apart():
  row = dataclasses.replace(BY_CODE["en"], code="xx")
  assert not numbers.is_spoken("xx")
  assert FAIR.reference("Room 105, 9.5%!", row) == "room 1 0 5 9 5"


def test_another_language_takes_the_steps_that_its_row_names():
  row = dataclasses.replace(BY_CODE["ar"], code="fa", metric="wer")
  assert FAIR.reference("سـلام، ۵ کتاب؟", row) == "سلام پنج كتاب"


@pytest.mark.parametrize(
  ("code", "written", "read"),
  [
    ("en", "007", "zero zero seven"),
    ("en", "1234567890123", "one two three four five six seven eight nine"
                            " zero one two three"),
    ("en", "in 1999, 2,000 and 1,999", "in nineteen ninety nine two thousand"
                                       " and one thousand nine hundred ninety"
                                       " nine"),
    ("en", "2005 and 2024", "two thousand five and twenty twenty four"),
    ("en", "the 1,000th 3D film", "the one thousandth three d film"),
    ("en", "10:30", "ten thirty"),
    ("de", "24.12.2004", "vierundzwanzig zwölf zweitausendvier"),
    ("de", "1'000", "eintausend"),
    ("fr", "12 34 567", "douze trente quatre mille cinq cent soixante sept"),
    ("de", "3.500,5", "dreitausendfünfhundert komma fünf"),
    ("fr", "3,14", "trois virgule un quatre"),
    ("zh", "2003年有2003人", "二零零三年有二千零三人"),
    ("tr", "9% ve %9", "yüzde dokuz ve yüzde dokuz"),
    ("ar", "٦٫٥٪", "ستة فاصل خمسة بالمئة"),
    ("hi", "1,00,000", "एक लाख"),
  ],
)  # fmt: skip
def test_numbers_are_read_as_the_language_writes_them(code, written, read):
  assert fair(written, code) == read


@pytest.mark.parametrize(
  ("code", "one", "other"),
  [
    ("zh", "軟體", "软体"),
    ("yue", "啲嘢", "啲嘢。"),
    ("ja", "ＡＢＣｶﾞｽ", "abc ガス"),
    ("ar", "إلى أُمّي", "الى امي"),
    ("ar", "كتـــاب", "كتاب"),
    ("tr", "ISPARTA", "ısparta"),
    ("vi", "thủy, hòa", "thuỷ hoà"),
    ("th", "เเละ", "และ"),
    ("de", "STRASSE", "Straße"),
    ("el", "ΟΔΟΣ", "οδος"),
    ("ro", "ştiţi", "știți"),
    ("ru", "ёлка", "елка"),
    ("uk", "м\u02bcята", "м’ята"),
    ("fr", "sœur", "soeur"),
    ("en", "‘tis “rock ’n’ roll”", "tis rock n roll"),
    ("en", "co\xadop\u200berate ®", "cooperate"),
    ("hi", "क\u0958", "क\u0915\u093c"),
  ],
)
def test_two_spellings_of_one_word_are_equal(code, one, other):
  assert fair(one, code) == fair(other, code)


@pytest.mark.parametrize(
  ("code", "one", "other"),
  [
    ("en", "it's", "its"),
    ("fr", "à", "a"),
    ("vi", "ma", "má"),
    ("vi", "mùa", "muà"),
    ("hi", "कि", "की"),
    ("th", "ไม่", "ไม้"),
    ("ja", "かき", "がき"),
    ("tr", "kır", "kir"),
    ("uk", "її", "іі"),
    ("ru", "мой", "мои"),
    ("sv", "får", "far"),
    ("yue", "軟體", "软件"),
  ],
)
def test_what_is_heard_differently_stays_different(code, one, other):
  assert fair(one, code) != fair(other, code)


def test_no_punctuation_or_symbol_of_unicode_is_left():
  marks = [
    c
    for c in map(chr, range(0x110000))
    if unicodedata.category(c)[0] in "PS"
    and not any(d.isalnum() for d in unicodedata.normalize("NFKC", c))
    and c not in "™℠®©"
    and unicodedata.normalize("NFKC", c) not in {*"'’‘`′", " \u0301"}
  ]
  assert len(marks) > 7000
  texts = fair("x".join(f"a{mark}b" for mark in marks), "fi").split("x")
  # Not one of them needs its neighbours to be found out.
  assert set(texts) == {"a b"}


# ----------------------------------------------------------------- official


@EVERY_LANGUAGE
def test_official_knows_every_language(row):
  written, _ = SENTENCES[row.code]
  found = OFFICIAL.hypothesis(written, row)
  assert not set(found) & (set(string.punctuation) - {"'"})
  assert found != FAIR.hypothesis(written, row)
  assert any(c.isdecimal() for c in found)
  if row.metric == "cer":
    assert normalize.units(found, "wer") == normalize.units(found, "cer")
  else:
    assert found == found.lower()


def test_official_deletes_what_the_scripts_delete():
  assert official("Well-known, isn't it?", "en") == "wellknown isn't it"
  assert official("isn’t", "en") == "isnt"
  assert official(string.punctuation, "en") == "'"
  assert official("a   b    c", "en") == "a  b  c"  # one pass
  assert official("５０％", "zh") == "５ ０"
  assert official("Straße", "de") == "straße"


def test_official_simplifies_only_what_was_heard():
  zh = BY_CODE["zh"]
  assert OFFICIAL.hypothesis("軟體 OK", zh) == "软 件   O K"
  assert OFFICIAL.reference("軟體 OK", zh) == "軟 體   O K"
  assert OFFICIAL.hypothesis("軟體", BY_CODE["yue"]) == "軟 體"


@pytest.mark.parametrize(
  ("code", "written", "heard"),
  [
    ("ar", "كيف حالك؟", "كيف حالك"),
    ("zh", "有１００人", "有100人"),
    ("es", "¿Qué?", "qué"),
    ("hi", "हाँ।", "हाँ"),
    ("fr", "«oui»", "oui"),
    ("en", "five euros", "5 euros"),
    ("ko", "3월", "삼월"),
  ],
)
def test_only_the_fair_pipeline_forgives(code, written, heard):
  assert fair(written, code) == fair(heard, code)
  assert official(written, code) != official(heard, code)


# -------------------------------------------------------------------- units


def test_units_are_words_or_characters():
  assert normalize.units("ein wort", "wer") == ["ein", "wort"]
  assert normalize.units("하나 둘", "cer") == ["하", "나", "둘"]


def test_marks_stand_on_letters_and_words_end_at_anything_else():
  # The rule, character by character.
  rng = random.Random(0)
  for _ in range(2000):
    text = "".join(rng.choices("aß'ا \u0301\u0e4c\u093f-\u00ad9.٣", k=12))
    kept = [" "]
    for char in text:
      kind = unicodedata.category(char)
      if kind == "Cf" or (kind[0] == "M" and kept[-1] in " '"):
        continue
      kept.append(char if char == "'" or kind[0] in "LMN" else " ")
    words = (word.strip("'") for word in "".join(kept).split())
    expected = " ".join(word for word in words if word)
    assert spoken_only(text) == expected, ascii(text)
