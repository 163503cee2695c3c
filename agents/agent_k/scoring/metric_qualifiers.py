"""Read what qualifies a metric's name on a competition's pages, and whether they ask for scores or for labels.

"Partial AUC", "MAE by type" and "precision at 10 %" are other metrics than AUC, MAE and precision."""

from __future__ import annotations

import re
from typing import Literal

from agentkd.agents.agent_k.scoring.metric_names import find_wordings, speaks_of_metric, split_hint, split_sentences

BEFORE, AFTER = 45, 70  # characters beside a name in which a word qualifies it
_OTHER = (  # names of metrics that METRICS lacks: a known word inside them is not the metric
    r"\bequal error rate\b|\beer\b",
    r"\bn?dcg\b(?: ?@ ?\w+)?|\bdiscounted cumulative gain\b",
    r"\bmean reciprocal rank\b|\bmrr\b(?: ?@ ?\w+)?",
    r"\blwl?rap\b|\blabel ranking average precision\b",
    r"\brouge\b(?: \w)?|\bbleu\b|\bmeteor\b|\b(?:word|character) error rate\b|\b[wc]er\b",
    r"\b(?:average precision|\bmap\b|f ?[12]|recall|precision)\b[^.;]{0,30}?\b(?:iou|intersection over union)\b",
    r"\bkullback leibler\b|\bkl divergence\b|\bcrps\b|\bcontinuous ranked probability\b",
    r"\bconcordance index\b|\bc index\b|\bcost matrix\b",
)
_COST = r"\b(?:total|mean|average|expected|lowest|misclassification) costs?\b"  # often the target instead
_RANKED = re.compile(r"(?:@|\bat|\bin|\btop) ?\d")  # of a qualified name: rows are put in order
_BEFORE = (
    r"partial|truncated|scaled|normali[sz]ed|weighted|hierarchical|generali[sz]ed|stratified|grouped|group|subgroup|global|"
    r"bias|custom|modified|adjusted|smoothed|clipped|capped|relative|log of(?: the)?|logarithm of(?: the)?|"
    r"square of(?: the)?|inverse of(?: the)?|1 ?1 ?\+|1 ?-|100 ?x|harmonic mean of(?: the)?|geometric mean of(?: the)?|"
    r"average of(?: the)?|sum of(?: the)?|difference (?:of|between)(?: the)?|combination of(?: the)?|"
    r"mean over \w+ of(?: the)?"
)
_AFTER = (
    r"(?:at|@|in|of|for|over) (?:the )?(?:top |first |best )?\d+(?:\.\d+)? ?%|@ ?\d+|at k\b|at iou|\bper (?!cent)\w+|"
    r"(?:by|for|over|of|within|across|in) (?:each|every) \w+|"
    r"(?:computed|averaged) (?:by|for|per|within|over|across) (?:the |all |each )*"
    r"(?!class|column|target|label|row|sample|fold)\w+|"
    r"by (?:type|group|class|category|store|region|subgroup|family|item)\w*|"
    r"of (?:the )?(?:natural )?log\w*|of subgroups?|on subgroups?|(?:with|using|by) (?:\w+ ){0,2}weights?|"
    r"weights? (?:of )?\d|weighted by|above (?:a )?(?:tpr|sensitivity|recall)|"
    r"(?:below|up to) (?:an? )?(?:fpr|false positive)|"
    r"(?:plus|minus|times|multiplied by|combined with|averaged with)\b|\+ (?=\w)|and (?:the )?default rate"
)
_NEAR_BEFORE = re.compile(
    rf"(?<!\w)(?:{_BEFORE})(?: (?:the|a|an|of|mean|average|score|macro|micro|averaged|normali[sz]ed))* ?$"
)
_NEAR_AFTER = re.compile(
    rf"^(?:[ =]|\b(?:score|value|is|are|computed|calculated|taken|averaged|metric)\b)*(?:{_AFTER})"
)
_SCORES = re.compile(
    r"\bprobabilit(?:y|ies)\b|\blikelihoods?\b|\bany scale\b|\bmore likely\b|\bconfidences?\b|\brisk scores?\b|"
    r"\b(?:higher|larger)(?: the score)? (?:the |is )more\b|\bsubmitted (?:value|score)s?\b|"
    r"\bscores? (?:for|of) each\b|"
    r"\b(?:give|predict|submit|output|assign|provide|send|enter) (?:a |the |one |your )?(?:\w+ ){0,2}?scores?\b|"
    r"\b(?:ranked|ordered|sorted|order|rank|sort) (?:\w+ ){0,6}?by (?:the |your )?(?:\w+ )?"
    r"(?:submitted|predicted|value|score|prediction|probability|risk)"
)
_LABELS = re.compile(
    r"\b(?:predict|submit|give|write|send|enter|output) (?:a |the |either )?['\"]?"
    r"(?:0 or 1|1 or 0|[01]\b|class(?:es)? labels?|labels?\b|binary)|\b0 or 1\b|"
    r"\bhard (?:labels|predictions)\b|\bbinary (?:labels?|predictions?|decisions?)\b|\bthreshold(?:ed)? at\b"
)


def find_other_metric(text: str, hint: str = "") -> str:
    """The name of a metric that METRICS lacks and the pages ask for, or ""."""
    said = [split_hint(hint), *(one for about, one in split_sentences(text) if about or speaks_of_metric(one))]
    found = [re.search(pattern, sentence) for pattern in (*_OTHER, _COST) for sentence in said]
    return next((match[0] for match in found if match), "")


def is_cost(name: str) -> bool:
    """Whether the name of an unknown metric is that of a cost, which is often the target."""
    return re.fullmatch(_COST, name) is not None


def puts_in_order(qualified: str) -> bool:
    """Whether a qualified metric (recall@20) ranks rows, so that it needs scores."""
    return _RANKED.search(qualified) is not None


def find_qualifier(text: str, hint: str, metric: str) -> str:
    """What the pages say right beside the metric's name that makes it another one, with the name; "" for nothing.

    Only sentences and sections on evaluation are searched."""
    said = [split_hint(hint), *(one for about, one in split_sentences(text) if about or speaks_of_metric(one))]
    for sentence in said:
        spans = find_wordings(sentence)
        for name, start, end in spans:
            if name != metric:
                continue
            before = _NEAR_BEFORE.search(sentence[max(0, start - BEFORE) : start])
            after = _NEAR_AFTER.search(sentence[end : end + AFTER])
            if metric == "f1_samples" and after and not before and "each" in after[0]:
                continue  # its mean is over rows anyway
            if before or after:
                first = start - len(before[0]) if before else start
                last = end + len(after[0]) if after else end
                return " ".join(sentence[first:last].split())
            mixed = next((other for other, at, _ in spans if other != name and _joined(sentence, end, at)), "")
            if mixed:
                return f"{name} and {mixed}"
    return ""


def _joined(sentence: str, end: int, start: int) -> bool:
    """Whether a name that ends at `end` and one that begins at `start` are put together to one metric."""
    return (
        re.fullmatch(r" ?(?:\+|plus|minus|and(?: the)?|times|x) ?(?:\d+(?:\.\d+)? ?x? ?)?", sentence[end:start])
        is not None
    )


def read_form(text: str) -> Literal["scores", "labels", ""]:
    """Whether the pages speak of scores (probabilities, ranks) that are submitted, or of labels.

    "" for neither, and for both."""
    said = " ".join(sentence for _, sentence in split_sentences(text))
    scores, labels = bool(_SCORES.search(said)), bool(_LABELS.search(said))
    return "" if scores == labels else "scores" if scores else "labels"
