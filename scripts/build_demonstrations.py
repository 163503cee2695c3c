"""Write prompts/kd_cot/demonstrations.jsonl: worked KD-CoT examples on training questions of `geo`.

    python scripts/build_demonstrations.py

Thoughts and sub-questions are written by hand here; the knowledge base's options and answers are looked up.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from agentkd.agents.option import Option
from agentkd.retrievers import make_retriever
from agentkd.retrievers.kb import KnowledgeBase
from agentkd.retrievers.relation_path import RelationPath
from agentkd.tasks.load import load_task

OUT = Path(__file__).parents[1] / "prompts" / "kd_cot" / "demonstrations.jsonl"
SHOWN = 4  # candidate paths in a reading

ONE, LIST = "Question", "Multi_Answer_Question"
# id of the question, its rounds (thought, action, sub-question, path), the last thought
DEMONSTRATIONS: list[tuple[str, list[tuple[str, str, str, RelationPath]], str]] = [
    (
        "geo-train-0010",
        [("I need the country that has Manama as its capital.", ONE, "Which country has the capital Manama?",
          (("country.capital", -1),))],
        "The knowledge base says that the country is Bahrain.",
    ),
    (
        "geo-train-0026",
        [("I need the official languages of Kenya.", LIST, "What are the official languages of Kenya?",
          (("country.official_language", 1),))],
        "The knowledge base lists the official languages.",
    ),
    (
        "geo-train-0192",
        [("I need the countries whose currency is the Australian dollar.", LIST,
          "Which countries use the Australian dollar as currency?", (("country.currency", -1),))],
        "The knowledge base lists the countries.",
    ),
    (
        "geo-train-0214",
        [("I need the money of Saint Kitts and Nevis.", ONE, "What is the currency of Saint Kitts and Nevis?",
          (("country.currency", 1),))],
        "The knowledge base names the currency.",
    ),
    (
        "geo-train-0020",
        [("I need the currency of the country that Banjul is in.", ONE,
          "What is the currency of the country of the city Banjul?", (("city.country", 1), ("country.currency", 1)))],
        "The knowledge base names the currency.",
    ),
    (
        "geo-train-0058",
        [("I need the country of the city that the airport serves.", ONE,
          "In which country is the city of Bangoka International Airport?",
          (("airport.city", 1), ("city.country", 1)))],
        "The knowledge base names the country.",
    ),
    (
        "geo-train-0174",
        [("I need the time zone of the city Bridgetown.", ONE, "What is the time zone of Bridgetown?",
          (("city.time_zone", 1),))],
        "The knowledge base names the time zone.",
    ),
    (
        "geo-train-0077",
        [("I need the country of the region.", ONE, "Which country is the region Chontales Department in?",
          (("region.country", 1),))],
        "The knowledge base names the country.",
    ),
]  # fmt: skip


def main() -> None:
    task = load_task("geo", data=None, kb=None)
    kb = task.knowledge_base()
    retriever = make_retriever("hybrid", kb)
    questions = {question.id: question for question in task.questions("train")}
    gold = task.gold("train")
    lines = []
    for name, rounds, last in DEMONSTRATIONS:
        question = questions[name]
        anchors = list(question.topic_entities)
        done = []
        for thought, action, sub_question, path in rounds:
            shown = offer(kb, retriever, f"{question.question} {sub_question}", anchors, path)
            answers = kb.follow(anchors, path)
            entry = {"thought": thought, "action": action, "input": sub_question, "topics": anchors}
            done.append({**entry, "candidates": shown, "label": kb.label(path), "answers": answers})
            anchors = answers
        if set(anchors) != set(gold[name].answers):
            raise SystemExit(f"{name}: {anchors} are not the answers")
        finish = {"thought": last, "action": "Finish", "input": "; ".join(anchors)}
        row = {"id": name, "question": question.question, "rounds": done, "finish": finish}
        lines.append(json.dumps(row, ensure_ascii=False))
    OUT.write_text("\n".join(lines) + "\n")


def offer(kb: KnowledgeBase, retriever: Any, query: str, anchors: list[str], path: RelationPath) -> list[Any]:
    """The options that an agent would see, in the order of retrieval, with the right path last if it is missing."""
    found = [item.path for item in retriever.paths(query, anchors, SHOWN, 3)]
    paths = found if path in found else [*found[: SHOWN - 1], path]
    options = [Option(item, kb.label(item), tuple(kb.follow(anchors, item))) for item in paths]
    return [{"label": option.label, "preview": option.preview} for option in options]


if __name__ == "__main__":
    main()
