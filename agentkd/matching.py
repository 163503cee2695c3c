"""Names and answers: how they are cleaned, and when two of them are the same.

Everything here compares names, not ids, and is pure: no files, no errors. The rules, from strict to
lenient:

    clean_name   what a reader keeps of a name: NFC, single spaces, without marks that nobody sees
    exact_key    the same name in another encoding or case: NFKC, case-folded; punctuation and articles stay
    strict_key   the same name as people write it: "U.S." is "US", "the Beatles" are "Beatles", 8.50 is 8.5; but signs,
                 decimal points, + and # count, and so does an A at the end ("C++", "-5", "3.14", "Vitamin A")
    loose_key    `strict_key` without accents, and with one kind of dash and of quotation mark
    normalize    the rule of published evaluations, which deletes all punctuation and articles: 3.14 is 314

Identity is `exact_key`, or a looser one where it is unique. The matchers that turn these rules into scores are in
`agentkd.eval.metrics`.
"""

import re
import string
import unicodedata
from collections.abc import Iterable, Sequence
from decimal import Decimal
from functools import lru_cache

# ---- the published rule --------------------------------------------------------------------------------------------

_PUNCTUATION = str.maketrans("", "", string.punctuation)
_ARTICLES = re.compile(r"\b(?:a|an|the)\b")


def normalize(text: str) -> str:
    """Lower, delete ASCII punctuation, drop the words a/an/the, collapse white space: "The U.S.A." -> "usa".

    Source: the evaluation of Reasoning on Graphs (arXiv 2310.01061, github.com/RManLuo/reasoning-on-graphs), which
    GNN-RAG and GCR share and which goes back to SQuAD's. Punctuation is deleted, not replaced by a space ("Coca-Cola"
    -> "cocacola"), before the articles are dropped, as in the source. The source then also drops `<pad>`, but its
    brackets are gone by then, so that step has no effect: `<pad>` becomes the word "pad" here as it does there.

    A name of nothing but articles and punctuation ("$", "!!!", "The A") becomes "": see `normalized_key`.
    """
    return " ".join(_ARTICLES.sub(" ", text.lower().translate(_PUNCTUATION)).split())


@lru_cache(maxsize=1 << 16)
def normalized_key(name: str) -> str:
    """Return the form in which `strict-1`, the earlier `strict`, compares two names: `normalize`.

    Names of which that leaves nothing (the film "$", the band "!!!", "The The") keep their lower-case text, or each
    would equal all the others.
    """
    return normalize(name) or " ".join(name.lower().split())


# ---- cleaning ------------------------------------------------------------------------------------------------------

# Soft hyphen, zero-width space, word joiner, BOM, marks of direction. Joiners (U+200C, U+200D) shape letters and stay.
_UNSEEN = dict.fromkeys([0xAD, 0x200B, 0x200E, 0x200F, 0x2060, 0xFEFF, *range(0x202A, 0x202F), *range(0x2066, 0x206A)])


def clean_name(text: str) -> str:
    """Return a name as readers keep it: NFC, each run of white space one blank, none at the ends, no unseen marks."""
    if not text.isascii():
        text = unicodedata.normalize("NFC", text.translate(_UNSEEN))
    return " ".join(text.split())


_HYPHENS = dict.fromkeys([0x2010, 0x2011, 0x2212, 0xFE63, 0xFF0D], "-") | {0x2044: "/"}
_DASH = re.compile(r"[\u2012-\u2015](?=[.,]?\d)")  # a minus, or a range: 1914–1918
_RAISED = re.compile(r"(?<=\d)(?=[\u00b2\u00b3\u00b9\u2070\u2074-\u207f])")  # 10² is 10^2, not 102
_FRACTION = re.compile(r"(?<=\d)(?=[\u00bc-\u00be\u2150-\u215f])")  # 2½ is 2 1/2, not 21/2


def exact_key(name: str) -> str:
    """Return a name without what differs between encodings and cases alone: NFKC, case-folded.

    Punctuation and articles stay. Hyphens and minus signs are one, as are the digits of all scripts.
    """
    text = clean_name(name)
    if text.isascii():
        return text.casefold()
    text = _FRACTION.sub(" ", _RAISED.sub("^", text))
    text = _DASH.sub("-", unicodedata.normalize("NFKC", text.translate(_HYPHENS)).translate(_HYPHENS))
    text = "".join(str(unicodedata.decimal(char)) if char.isdecimal() else char for char in text).casefold()
    if not text.isascii():  # folding may decompose; the Turkish İ folds to i and a dot above
        text = unicodedata.normalize("NFKC", text.replace("i\u0307", "i"))
    return clean_name(text)


# ---- the strict rule -----------------------------------------------------------------------------------------------

_BEFORE_ARTICLES = frozenset("as at by for from in into is like of on to under upon with without".split())  # noqa: SIM905
_KEPT = "+#<>=%$^"
_DELETED = "".join(re.escape(char) for char in string.punctuation if char not in _KEPT)
_RUN = re.compile(f"[{_DELETED}]+")
_INITIAL = re.compile(r"a\. +[^\W\d_]{2,}(?:\s|$)")  # "A. Lincoln" is not Lincoln
_SIGN = re.compile(r"-?\.?$")
_DIGIT = re.compile(r"\d")
_THOUSANDS = re.compile(r"(?<!\d)(?<!\d[.,])([1-9]\d{0,2}(?:,\d{3})+)(?!,?\d)")
_NUMBER = re.compile(
    r"(?P<sign>[+-]?)(?P<currency>[$€£¥₹]?)(?P<digits>\d+(?:\.\d*)?|\.\d+)(?P<exponent>e[+-]?\d{1,3})?(?P<unit>\D*)"
)
_ENDS = "".join(char for char in string.punctuation if char not in _KEPT + "-.+/")


@lru_cache(maxsize=1 << 16)  # the same names of a knowledge base are compared over and over
def strict_key(name: str) -> str:
    """Return the form in which strict matching, the verifier and the faithfulness checker compare two names.

    - `exact_key` first: the case and the encoding do not matter.
    - A number, alone or with a unit or a currency, is compared by its value: 1,234 is 1234, 8.50 is 8.5, 1979.0 is
      1979; the unit counts, and so does the sign. Digits that begin with a further 0 are a name ("007").
    - Punctuation is deleted, but not + # < > = % $ ^, not between digits ("9/11"), not a sign or a decimal point
      before a digit, not a minus at the end of a word ("A-"), and not the point of an initial A ("A. Lincoln").
    - "the" is dropped; "an" but for the last word; "a" where it begins the name or follows a preposition ("on a
      chicken"), before a longer word.
    - A name of which that leaves nothing (the band "!!!", "The The") stays as it is; only a blank name has the key "".
    """
    text = exact_key(name)
    if _DIGIT.search(text) is None:
        return _strip_text(text) or text
    text = _THOUSANDS.sub(lambda match: match[1].replace(",", ""), text)
    words = _strip_text(text)
    return _number_key(text) or _number_key(words) or words or text


_LOOK_ALIKE = str.maketrans(
    dict.fromkeys("\u2012\u2013\u2014\u2015", "-")
    | dict.fromkeys("\u2018\u2019\u201a\u201b\u2032\u02bc\u02bb\u00b4`", "'")
    | dict.fromkeys("\u201c\u201d\u201e\u201f\u2033\u00ab\u00bb", '"')
)


def loose_key(name: str) -> str:
    """Return `strict_key` without accents ("Hernan Cortes"), and with one kind of dash and of quotation mark."""
    text = strict_key(name.translate(_LOOK_ALIKE))
    return "".join(char for char in unicodedata.normalize("NFKD", text) if not unicodedata.combining(char))


def _strip_text(text: str) -> str:
    """Delete the punctuation and the articles that do not count."""
    words = _RUN.sub(_counting, text).split()
    words = [word for i, word in enumerate(words) if word != "the" and (word != "an" or i == len(words) - 1)]
    kept = [word for i, word in enumerate(words) if word != "a" or not _is_article(words[:i], words[i + 1 :])]
    return " ".join(kept)


def _is_article(before: Sequence[str], after: Sequence[str]) -> bool:
    """Whether an "a" between two lists of words is an article, and not a letter as in "vitamin a deficiency"."""
    begins = not before or before[-1] in _BEFORE_ARTICLES
    return begins and bool(after) and len(after[0]) > 1 and after[0].isalpha()


def _counting(match: re.Match[str]) -> str:
    """Return the part of a run of punctuation that counts, by the characters on both sides."""
    run, text = match[0], match.string
    if run == "." and _INITIAL.match(text) and match.start() == 1:
        return run
    before, after = text[match.start() - 1 : match.start()], text[match.end() : match.end() + 1]
    if after.isdecimal():
        if before.isdecimal():
            return run
        sign = _SIGN.search(run)
        return sign[0] if sign and not before.isalnum() else ""
    if before.isalnum() and not after.isalnum():
        return run[: len(run) - len(run.lstrip("-"))]
    return ""


def _number_key(text: str) -> str:
    """Return a number as its value and unit; "" where the text is none."""
    match = _NUMBER.fullmatch(text.strip(_ENDS).rstrip("."))
    if match is None or re.match(r"0\d", match["digits"]):
        return ""
    unit = match["unit"]
    if unit.lstrip(" ") == unit and unit[:1] == "-" and not unit[1:2].isalpha():
        return ""  # "1979-" and "5-" are no plain numbers; "16-bit" is 16 bit
    value = _plain_value(match["digits"], match["exponent"] or "")
    sign = "-" if match["sign"] == "-" and value != "0" else ""
    unit = "/".join(_strip_text(part) for part in unit.split("/")).strip("/")
    return " ".join(f"{sign}{value} {match['currency']} {unit}".split())


def _plain_value(digits: str, exponent: str) -> str:
    """Return digits without superfluous zeros: "8.50" is "8.5", "1e3" is "1000". Exact for any length."""
    _, places, shift = Decimal(digits + exponent).as_tuple()
    assert isinstance(shift, int)
    text = "".join(map(str, places))
    if shift >= 0:
        return (text + "0" * shift).lstrip("0") or "0"
    text = text.rjust(1 - shift, "0")
    whole, part = text[:shift].lstrip("0") or "0", text[shift:].rstrip("0")
    return f"{whole}.{part}" if part else whole


def find_name(text: str, names: Iterable[str]) -> str | None:
    """Return the name that a text means: by `exact_key`, else by `strict_key`; None where that is not exactly one."""
    names = list(names)
    for key in (exact_key, strict_key):
        if found := [name for name in names if key(name) == key(text)]:
            return found[0] if len(found) == 1 else None
    return None


# ---- sets of answers -----------------------------------------------------------------------------------------------


def split_prediction(text: str) -> list[str]:
    """Return the answers in a model's output, one per line, stripped; blank lines are dropped, repeats stay."""
    return [line.strip() for line in text.split("\n") if line.strip()]


def strict_set(names: Iterable[str]) -> frozenset[str]:
    """Return the distinct strict keys of some names; blank names are dropped."""
    return frozenset(key for name in names if (key := strict_key(name)))


def strict_hits(predicted: Iterable[str], answers: Iterable[str]) -> list[str]:
    """Return the correct predicted answers in order, each distinct one once, spelt as predicted."""
    gold = strict_set(answers)
    first_spelling: dict[str, str] = {}
    for name in predicted:
        if (key := strict_key(name)) in gold:
            first_spelling.setdefault(key, name)
    return list(first_spelling.values())


def strict_precision_recall(predicted: frozenset[str], gold: frozenset[str]) -> tuple[float, float]:
    """Return precision and recall of two sets of strict keys, 0 to 1. Where both are empty, both are 1."""
    right, common = float(predicted == gold), len(predicted & gold)
    return common / len(predicted) if predicted else right, common / len(gold) if gold else right


def f1_of(precision: float, recall: float) -> float:
    """Return the harmonic mean of precision and recall; 0 where both are 0."""
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def strict_f1(predicted: Iterable[str], answers: Iterable[str]) -> float:
    """Return F1 of two sets of names, 0 to 1; 0 where nothing is shared."""
    found, wanted = strict_set(predicted), strict_set(answers)
    return 2 * len(found & wanted) / ((len(found) + len(wanted)) or 1)
