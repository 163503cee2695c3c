"""The map of the library for a reader of the survey (Xu et al., arXiv 2402.13116): a command in each cell, or none.

The survey's three axes are knowledge elicitation (section 3.1), distillation algorithms (3.2) and skills (4).
"""

from __future__ import annotations

from collections.abc import Mapping

NOT_HERE = "not here"
ALGORITHMS = ("supervised fine-tuning", "divergence, similarity", "reinforcement learning", "rank optimisation")
SFT, PREFERENCE = "agentkd distill --method sft", "agentkd distill --method preference"
LOGITS, ON_POLICY = "agentkd distill --method logits", "agentkd distill --method on-policy"

ELICITATION: Mapping[str, tuple[str, str, str, str]] = {
    "agentkd elicit labeling": (SFT, LOGITS, "", PREFERENCE),
    "agentkd elicit expansion": (SFT, LOGITS, "", ""),
    "agentkd elicit curation": (SFT, LOGITS, "", PREFERENCE),
    "agentkd elicit feature": (SFT, LOGITS, "", ""),
    "agentkd elicit feedback": (SFT, LOGITS, "", PREFERENCE),
    "agentkd elicit self-knowledge": (SFT, ON_POLICY, "", PREFERENCE),
}
SKILLS: Mapping[str, tuple[str, str]] = {
    "context following (retrieved facts)": ("agentkd generate --agent rag", "agentkd distill form=one-call"),
    "alignment": ("agentkd elicit feedback", PREFERENCE),
    "agent: planning, tools": ("agentkd generate --agent kd-cot", "agentkd distill form=dialogue"),
    "agent: data science": ("agentkd kaggle run", ""),
    "NLP task: questions on a knowledge base": ("agentkd elicit labeling", SFT),
    "NLP task: language modelling": ("agentkd select", ""),
    "multi-modality: images": ("", "agentkd distill --task images"),
    "multi-modality: questions about images": ("", "agentkd distill --task vision-language"),
    "verticals: law, medicine, finance, science": ("agentkd elicit labeling --task FILE --kb FILE", SFT),
}


def draw_map() -> str:
    """The map as Markdown: elicitation by algorithm, then skills."""
    lines = ["| elicitation | " + " | ".join(ALGORITHMS) + " |", "|---|---|---|---|---|"]
    lines += [f"| {draw_cell(name)} | {' | '.join(map(draw_cell, cells))} |" for name, cells in ELICITATION.items()]
    lines += ["", "| skill | data | student |", "|---|---|---|"]
    lines += [f"| {skill} | {' | '.join(map(draw_cell, cells))} |" for skill, cells in SKILLS.items()]
    return "\n".join(lines)


def draw_cell(command: str) -> str:
    """A cell of the map."""
    return f"`{command}`" if command else NOT_HERE
