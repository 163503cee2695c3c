"""Find the metric that a competition's pages ask for, by the wordings that Kaggle's pages use."""

from __future__ import annotations

import re

_SQUARED = r"(?:mean|average) squared?"
_F_BETA = r"\bf ?\\?(?:beta\b|β)(?: ?score| ?measure)?"
_BETA = rf"{_F_BETA}[^.;]{{0,40}}?(?:beta|β)(?: is| of)? ?=? ?"
WORDINGS: dict[str, tuple[str, ...]] = {
    # A longer match wins over one inside it: "balanced accuracy" over "accuracy". Texts are lower case, with single
    # spaces in place of hyphens, underscores and markup.
    "rmsle": (
        r"\brmsle\b",
        rf"root {_SQUARED} log(?:arithmic|arithm)?\w* error",
        rf"(?:\brmse\b|root {_SQUARED} (?:error|deviation))[^.;]{{0,60}}?"
        r"\blog(?:arithm|s|\b|\()[^.;]{0,120}?\blog\w*",
        rf"(?:\brmse\b|root {_SQUARED} (?:error|deviation))[^.;]{{0,40}}?\blog1p transformed",
    ),
    "msle": (r"\bmsle\b", rf"\b{_SQUARED} log(?:arithmic|arithm)?\w* error"),
    "mean_columnwise_rmse": (
        r"\bmcrmse\b",
        rf"mean column ?wise (?:\brmse\b|root {_SQUARED} error)(?: rmse)?",
        rf"(?:average|mean) (?:of )?(?:the )?(?:\brmses?\b|root {_SQUARED} errors?) "
        r"(?:of|over|across) (?:all |the )?\w* ?(?:columns|targets)",
    ),
    "rmse": (r"\brmse\b", rf"root {_SQUARED} (?:error|deviation)(?: rmse)?", r"\brms error\b"),
    "mse": (r"\bmse\b", rf"\b{_SQUARED} error(?: mse)?"),
    "smape": (r"\bsmape\b", r"symmetric mean absolute percent\w* error(?: smape)?"),
    "mape": (r"\bmape\b", r"mean absolute percent\w* error(?: mape)?"),
    "rmspe": (r"\brmspe\b", rf"root {_SQUARED} percent\w* error(?: rmspe)?"),
    "medae": (r"\bmedae\b", r"median absolute (?:error|deviation)(?: medae)?"),
    "mae": (
        r"\bmae\b",
        r"(?:mean|average) absolute (?:error|deviation)(?: mae)?",
        r"\bpinball(?: loss| score)?|\bquantile (?:loss|score)",
    ),
    "r2": (r"\br2\b", r"\br ?\^ ?2\b", r"\br squared\b", r"coefficient of determination", r"r²"),
    "pearson": (r"\bpearson(?:'s)?(?: product moment)?(?: correlation)?",),
    "spearman": (r"\bspearman(?:'s)?(?: rank)?(?: correlation)?",),
    "normalized_gini": (r"\b(?:normali[sz]ed )?gini(?: coefficient| index| score)?",),
    "balanced_logloss": (r"\bbalanced (?:log(?:arithmic)? ?loss|cross entropy)",),
    "multiclass_logloss": (
        r"multi ?(?:class|nomial) (?:logarithmic loss|log ?loss|cross entropy|loss)",
        r"categorical cross ?entropy",
    ),
    "logloss": (
        r"\blog ?loss\b",
        r"logarithmic loss(?: log ?loss)?",
        r"(?:binary )?cross ?entropy",
        r"negative log likelihood",
    ),
    "mean_columnwise_auc": (
        r"mean column ?wise (?:\b(?:roc )?auc\b|area under (?:the )?(?:roc|receiver))[^.;]{0,60}?(?:curve)?",
        r"average of the individual aucs of each",
        r"(?:average|mean) (?:of )?(?:the )?(?:roc )?aucs? (?:of|over|across) "
        r"(?:all |each |the )?\w* ?(?:columns?|targets?|labels?)",
    ),
    "multiclass_auc": (
        r"(?:macro(?: averaged?)?|multi ?class|one vs rest|ovr)(?: averaged?)? "
        r"(?:roc )?(?:auc|area under the roc(?: curve)?)",
        r"\bauc\b[^.;]{0,40}?one (?:vs|versus|against)(?: the)? rest",
    ),
    "auc": (
        r"\b(?:roc )?auc(?: ?roc)?\b(?: score)?",
        r"area under (?:the )?(?:roc|receiver operating(?: characteristics?)?)(?: roc)?(?: curve)?(?: auc)?",
        r"area under (?:the )?curve(?: auc)?",
        r"\broc curve\b",
        r"\bau ?roc\b(?: score)?",
    ),
    "map@k": (
        r"\bmap ?@ ?\w+",
        r"\bmap at (?:\d+|k)\b",
        r"\bmapk\b",
        r"mean average precision (?:@|at) ?(?:the )?(?:top )?\w+(?: map ?@ ?\w+)?",
    ),
    "average_precision": (
        r"(?<!mean )average precision(?: score)?",
        r"\b(?:pr ?auc|auprc|auc ?pr)\b",
        r"area under (?:the )?precision recall(?: curve)?",
    ),
    "brier": (r"\bbrier(?: score| loss)?",),
    "qwk": (r"\bqwk\b", r"quadratic(?:ally)? weighted (?:cohen'?s )?kappa", r"quadratic kappa"),
    "kappa": (r"\bcohen'?s? kappa(?: score| coefficient)?", r"\bkappa(?: score| coefficient| statistic)"),
    "mcc": (r"\bmcc\b", r"matthews?'? correlation(?: coefficient)?(?: mcc)?"),
    "f1_macro": (
        r"\bmacro(?: averaged?)? f ?1?(?: ?score| ?measure)?\b",
        r"\bf ?1?(?: ?score| ?measure) ?(?:with )?macro(?: averag\w+)?\b",
        r"\b(?:mean|average)(?: of)?(?: the)? (?:per class|class wise) f ?1?(?: ?scores?)?\b",
        r"\b(?:mean|average) f ?1?(?: ?score)? (?:of|over|across) (?:all |the |each )?(?:\w+ )?class\w*",
        r"\bf1 macro\b",
    ),
    "f1_micro": (
        r"\bmicro(?: averaged?)? f ?1?(?: ?score| ?measure)?\b",
        r"\bf ?1?(?: ?score| ?measure) ?(?:with )?micro(?: averag\w+)?\b",
        r"\bf1 micro\b",
    ),
    "f1_weighted": (
        r"\bweighted(?: averaged?)? f ?1(?: ?score| ?measure)?\b",
        r"\bf ?1(?: ?score| ?measure)? ?(?:with )?weighted(?: averag\w+)?\b",
    ),
    "f1_samples": (
        r"\bmean f ?1?(?: ?score| ?measure)\b",
        r"\b(?:example|sample)s? (?:based|averaged?) f ?1(?: ?score)?",
    ),
    "f2": (r"\bf ?2\b(?: ?score| ?measure)?", rf"{_BETA}2\b"),
    "f0.5": (r"\bf ?0\.5\b(?: ?score| ?measure)?", rf"{_BETA}0\.5\b"),
    "jaccard": (r"\bjaccard(?: index| score| similarity| coefficient)*",),
    "f1": (rf"{_BETA}1\b", _F_BETA, r"\bf ?1\b(?: ?score| ?measure)?", r"\bf ?(?:score|measure)\b"),
    "hamming": (r"\bhamming(?: loss| distance)?",),
    "balanced_accuracy": (
        r"\bbalanced (?:categori[sz]ation |classification )?accuracy",
        r"(?:mean|average) (?:of )?(?:the )?(?:per class|class wise) (?:recall|accurac)\w*",
        r"\bmacro(?: averaged?)? recall\b|\bunweighted average recall\b",
        r"(?:mean|average) (?:recall|accuracy) (?:of|over|across) (?:all |the |each )?class\w*",
    ),
    "accuracy": (
        r"\b(?:categori[sz]ation |classification |prediction |overall )?accuracy(?: score)?",
        r"(?:percentage|fraction|proportion|share|number) of [^.;]{0,60}?(?:correct\w*|right)\b",
        r"(?:mis ?classification|classification error)(?: rate)?",
        r"(?<!word )(?<!character )(?<!label )(?<!learning )(?<!equal )\berror rate",
    ),
    "precision": (r"\bprecision\b",),
    "recall": (r"\brecall\b",),
}
_UNKNOWN = (  # metrics that are only known without their weights, levels or betas
    r"\bweighted (?:\w+ ){0,2}?(?:mae|rmse|mse|mape|smape|(?:mean|root) (?:squared?|absolute|mean)|"
    r"log(?:arithmic)? ?loss|auc|accuracy|pinball|quantile)\w*",
    r"\bpinball(?: loss| score)?|\bquantile (?:loss|score)",
    rf"{_F_BETA}(?![^;]{{0,40}}?(?:beta|β)(?: is| of)? ?=? ?(?:0\.5|1|2)\b(?!\.\d))(?!\w| score| measure)",
    r"\bnormali[sz]ed (?:rmse|mae|mse|root mean squared? error|mean absolute error)",
)
_KIN = {  # metrics with the same name for another task
    "auc": ("mean_columnwise_auc", "multiclass_auc"),
    "multiclass_auc": ("auc",),
    "mean_columnwise_auc": ("auc",),
    "multiclass_logloss": ("logloss",),
    "rmse": ("mean_columnwise_rmse",),
    "f1_samples": ("f1", "f1_macro"),
    "f1": ("f1_macro",),
    "f2": ("f2_samples",),
    "normalized_gini": ("gini",),
}
_ASIDE = {"precision", "recall"}  # come last: pages mostly name them to explain F1
_PATTERNS = [(name, re.compile(pattern)) for name, patterns in WORDINGS.items() for pattern in patterns]
_HEADING = re.compile(
    r"^[ ]{0,3}(?P<hashes>#{1,6})[ \t]*(?P<after>[^\n]+)$"
    r"|^[ \t]*<h(?P<number>[1-6])[^>]*>(?P<inside>.+?)</h[1-6]>"
    r"|^(?P<above>[^\n|]{1,80})\n(?P<line>={3,}|-{3,})[ \t]*$"
    r"|^[ \t]*(?:\*\*|__)(?P<bold>[^*\n]{1,80})(?:\*\*|__)[ \t]*$",
    re.M,
)
_ABOUT = {
    5: re.compile(r"(?:the )?(?:evaluation|scoring|competition)?(?: ?metrics?| criteri(?:a|on)| methods?| function)?"),
    2: re.compile(r".*(?:evaluat|metric|scor(?:e|ing)|goal).*"),
}
"""Weights of headings that announce how submissions are evaluated. A sentence that says so weighs 4, and what follows
that word half a point more."""
_HINT = 20
LONGEST = 2000  # characters of a sentence; pages are foreign texts, and patterns may be slow on long ones
_SAID = re.compile(
    r"\b(?:evaluated?|evaluation metric|scored|judged|ranked|measured|metric (?:is|for|used)|score is|known as|"
    r"leaderboard|competition metric)\b"
)
_ASKED = re.compile(
    r"\b(?:evaluated?|evaluating|scored|judged|ranked|measured) (?:on|by|using|with|against|according|based)\b"
)
_UNLIKE = re.compile(  # words right before something that is not the metric
    r"(?:\bnot(?: use| on| by)?|\binstead of|\brather than|\bunlike\b(?: \w+){0,4}|\bwhen|\bprevious(?: \w+){0,4}|"
    r"\blast (?:year|time|edition)(?: \w+){0,4}) $"
)


def find_metrics(text: str, hint: str = "") -> list[str]:
    """Names of METRICS that a competition's pages (Markdown or HTML) mention, the likeliest first.

    `hint` is the host's own name, if any ("CategorizationAccuracy"). It counts most; then sentences that say how
    submissions are evaluated (above all what follows that word), then sections with such a heading, then the rest;
    earlier mentions first. A name right after "not", "instead of" or "last year" comes last. Names may not fit the
    task: take the first that does."""
    found: dict[str, float] = {}
    place = 0
    for weight, sentence in [(_HINT, split_hint(hint)), *split_sentences(text)]:
        said = None if weight == _HINT else _SAID.search(sentence)
        asked = _ASKED.search(sentence)
        for name, start, _ in find_wordings(sentence):
            rank = weight - (place + start) * 1e-7
            rank += 0 if said is None else 4.5 if asked and start > asked.start() else 4
            rank -= (2 if name in _ASIDE else 0) + (5 if _is_denied(sentence[:start]) else 0)
            found[name] = max(found.get(name, -9.0), rank)
        place += len(sentence)
    ordered = sorted(found, key=lambda name: -found[name])
    return list(dict.fromkeys([*ordered, *(kin for name in ordered for kin in _KIN.get(name, ()))]))


def find_unknown_metric(text: str, hint: str = "") -> str:
    """A metric that the pages ask for and METRICS lacks, such as "weighted mae"; "" for none.

    Only sentences and sections on evaluation are searched."""
    said = [split_hint(hint), *(one for about, one in split_sentences(text) if about or speaks_of_metric(one))]
    found = (re.search(pattern, sentence) for sentence in said for pattern in _UNKNOWN)
    return next((match[0] for match in found if match), "")


def find_top_k(text: str) -> int:
    """The k of "MAP@k" in the pages, 0 if they give none."""
    match = re.search(r"(?:\bmap|mean average precision) ?(?:@|at) ?(?:the )?(?:top )?(\d+)", _strip_markup(text))
    return int(match[1]) if match else 0


def find_wordings(sentence: str) -> list[tuple[str, int, int]]:
    """(name, start, end) of the wordings that are not part of a longer one."""
    spans = [(m.start(), m.end(), name) for name, pattern in _PATTERNS for m in pattern.finditer(sentence)]
    return [
        (name, start, end)
        for start, end, name in spans
        if not any(s <= start and end <= e and e - s > end - start for s, e, _ in spans)
    ]


def split_sentences(text: str) -> list[tuple[int, str]]:
    """(weight of the section by _ABOUT, else 0; plain sentence), in order."""
    out = []
    end = 0
    text = re.sub(r"(?=<h[1-6][ >])", "\n", text)
    about, level = 0, 8
    pieces: list[tuple[int, str]] = []
    for heading in _HEADING.finditer(text):
        pieces.append((about, text[end : heading.start()]))
        title = next(filter(None, heading.group("after", "inside", "above", "bold")))
        depth = _heading_level(heading)
        words = _strip_markup(title)
        weight = next((weight for weight, about_it in _ABOUT.items() if words and about_it.fullmatch(words)), 0)
        if depth <= level or weight > about:
            about, level = weight, depth if weight else 8
        pieces.append((about, title + "."))
        end = heading.end()
    pieces.append((about, text[end:]))
    for inside, piece in pieces:
        for sentence in re.split(r"(?<=[.!?])\s+|\n\s*\n", piece):
            if plain := _strip_markup(sentence[:LONGEST]):
                out.append((inside, plain))
    return out


def _is_denied(before: str) -> bool:
    """Whether the words before a name deny it; after "as in previous years" it still is the metric."""
    unlike = _UNLIKE.search(before)
    return unlike is not None and not re.search(r"\b(?:as|like|same)(?: \w+){0,2} $", before[: unlike.start()])


def _heading_level(heading: re.Match[str]) -> int:
    """The level of a heading, 1 for the highest; a bold line is below all others."""
    if heading["hashes"]:
        return len(heading["hashes"])
    if heading["number"]:
        return int(heading["number"])
    return (1 if heading["line"].startswith("=") else 2) if heading["line"] else 7


def _strip_markup(text: str) -> str:
    """The text in lower case without links, markup and hyphens, with one space between words."""
    text = re.sub(r"!?\[([^\[\]]*)\]\([^()]*\)", r"\1", text)  # [words](address)
    text = re.sub(r"<[^<>]+>|https?://\S+", " ", text)
    text = text.lower().replace("’", "'")
    return re.sub(r"[\s\-–—_*`\"“”(){}\[\]|:/,]+", " ", text).strip()


def speaks_of_metric(sentence: str) -> bool:
    """Whether a plain sentence says how submissions are scored."""
    return _SAID.search(sentence) is not None


def split_hint(hint: str) -> str:
    """The host's own name of a metric as a plain sentence."""
    return _strip_markup(_split_words(hint))


def _split_words(hint: str) -> str:
    """Split CamelCase into words: "RootMeanSquaredError" -> "Root Mean Squared Error"."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", " ", hint)
