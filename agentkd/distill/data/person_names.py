"""Names of persons in a text, found by a user's token classifier of transformers (`private_ner=`)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from agentkd.errors import UserError
from agentkd.inference.model_folder import refuse_pickles
from agentkd.models import find_weights
from agentkd.pretrained import load_pretrained, load_settings

PERSON = ("PER", "PERSON")  # of CoNLL-2003 and of OntoNotes
LONGEST, OVERLAP = 100_000, 32  # tokens: no model reads so many; what two windows of a longer text share


def find_names_with(spec: str) -> Callable[[str], list[tuple[int, int]]]:
    """A function that gives the places of persons' names in a text, by the model in a folder or on the hub.

    Raises UserError for a model that is no token classifier, or has no label for persons."""
    from transformers import AutoModelForTokenClassification, AutoTokenizer, TokenClassificationPipeline

    folder = find_weights(spec)
    refuse_pickles(folder)
    settings = load_settings(folder)
    if not any(kind.endswith("ForTokenClassification") for kind in settings.architectures or []):
        raise UserError(
            f"private_ner={spec} is a {', '.join(settings.architectures or [settings.model_type])}: "
            f"give a …ForTokenClassification, such as dslim/bert-base-NER"
        )
    labels = sorted(set(settings.id2label.values()))
    if not {label.rpartition("-")[2].upper() for label in labels} & set(PERSON):
        raise UserError(f"private_ner={spec} knows {', '.join(labels[:9])}: give a model with a label PER or PERSON")
    tokenizer = load_pretrained(AutoTokenizer, folder)
    model = load_pretrained(AutoModelForTokenClassification, folder).eval()
    windows: dict[str, Any] = {"stride": OVERLAP} if tokenizer.model_max_length < LONGEST else {}
    classify = TokenClassificationPipeline(model=model, tokenizer=tokenizer, aggregation_strategy="simple", **windows)

    def find(text: str) -> list[tuple[int, int]]:
        found = classify(text) if text.strip() else []
        return [(each["start"], each["end"]) for each in found if each["entity_group"].upper() in PERSON]

    return find
