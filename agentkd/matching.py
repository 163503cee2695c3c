"""Answer matching: the text rules that the metrics, the verifier and the checkers share.

Everything here compares names, not ids, and is pure: no files, no errors. Source of `normalize`: the evaluation of
Reasoning on Graphs (arXiv 2310.01061, github.com/RManLuo/reasoning-on-graphs), which GNN-RAG and GCR share and
which goes back to SQuAD's. The matchers that turn these rules into scores are in `agentkd.eval.metrics`.
"""

import re
import string
from collections.abc import Iterable
from functools import lru_cache

_PUNCTUATION = str.maketrans("", "", string.punctuation)
_ARTICLES = re.compile(r"\b(?:a|an|the)\b")


def normalize(text: str) -> str:
    """Lower, delete ASCII punctuation, drop the words a/an/the, collapse white space: "The U.S.A." -> "usa".

    Punctuation is deleted, not replaced by a space ("Coca-Cola" -> "cocacola"), before the articles are dropped, as
    in the source. The source then also drops `<pad>`, but its brackets are gone by then, so that step has no effect:
    `<pad>` becomes the word "pad" here as it does there.

    A name of nothing but articles and punctuation ("$", "!!!", "The A") becomes "": see `strict_key`.
    """
    return " ".join(_ARTICLES.sub(" ", text.lower().translate(_PUNCTUATION)).split())


@lru_cache(maxsize=1 << 16)  # the same names of a knowledge base are compared over and over
def strict_key(name: str) -> str:
    """Return the form in which strict matching, the verifier and the faithfulness checker compare two names.

    It is `normalize`, except for names of which that leaves nothing (the film "$", the band "!!!", "The The"):
    they keep their lower-case text, or each would equal all the others. Only a blank name has the key "".
    """
    return normalize(name) or " ".join(name.lower().split())


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
