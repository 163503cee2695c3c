"""`agentkd gate`: whether a student is nearly as good as its teacher, decided by a paired interval.

The student passes where its mean score is at least a given share of the teacher's, on the same questions. The interval
of this ratio decides: yes where all of it is at or above the share, no where all of it is below, and else these
questions do not tell.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agentkd.config import EvalConfig, GateConfig, GenerateConfig, slug
from agentkd.errors import UserError, near_file, unknown_name
from agentkd.eval.kbqa import QUESTIONS, evaluate
from agentkd.eval.metrics import MATCHERS, read_predictions
from agentkd.eval.records import score_record
from agentkd.eval.systems import list_systems
from agentkd.runs.progress import say
from agentkd.runs.read import read_config, read_failures, read_traces
from agentkd.runs.store import OF_QUESTIONS
from agentkd.runs.summary import RATIONALISED_SAMPLE
from agentkd.stats import ratio_interval
from agentkd.tasks.items import is_own_agent

MOST = 1_000_000  # questions: what more of them would decide, nobody asks
OWN = {"split", "limit", "seed", "out", "samples", "temperature", "rationalise", "until_verified", "batch"}
"""Options of a teacher's run that say which traces it made, not how its agent answers."""


@dataclass(frozen=True)
class Decision:
    """What an interval of the ratio says: "yes", "no" or "undecided".

    `more` is the number of further questions like these that would decide it, None where no number would."""

    answer: str
    low: float
    high: float
    more: int | None = 0


def gate(config: GateConfig) -> dict[str, Any]:
    """Compare the two and return the decision with its figures; scores and ratios are fractions, not percent."""
    if config.matcher not in MATCHERS:
        raise unknown_name("matcher", config.matcher, MATCHERS)
    if not config.student or not config.teacher:
        raise UserError("gate compares two: give --student and --teacher, a directory or a JSONL file of answers each")
    if config.metric == "verified":
        files = Path(config.student), Path(config.teacher)
        scores = [share_verified(run) for run in files]
    else:
        files = find_files(config)
        scores = [score_file(file, config.matcher, config.metric) for file in files]
    student, teacher, lines = pair_scores(scores[0], scores[1], config.missing)
    for line in lines:
        say(line)
    decision = decide(student, teacher, at_least=config.at_least, level=config.level, seed=config.seed)
    means = sum(student) / len(student), sum(teacher) / len(teacher)
    return {
        "passes": decision.answer == "yes",
        "decision": decision.answer,
        "student": str(files[0]),
        "teacher": str(files[1]),
        "metric": config.metric,
        "matcher": None if config.metric == "verified" else config.matcher,
        "at_least": config.at_least,
        "level": config.level,
        "questions": len(student),
        "score_student": means[0],
        "score_teacher": means[1],
        "ratio": means[0] / means[1] if means[1] else None,
        "ratio_low": decision.low,
        "ratio_high": decision.high if decision.high != float("inf") else None,
        "more_questions": decision.more,
    }


def decide(
    student: Sequence[float], teacher: Sequence[float], *, at_least: float, level: float = 0.95, seed: int = 0
) -> Decision:
    """Decide by the scores (0..1) of the same questions; where they do not tell, find how many more would.

    That number takes the ratio to be what it is so far: where it is not, another number decides."""

    def answer(low: float, high: float) -> str:
        return "yes" if low >= at_least else "no" if high < at_least else "undecided"

    def answer_of(repeats: float) -> str:
        return answer(*ratio_interval(student, teacher, level=level, seed=seed, repeats=repeats))

    low, high = ratio_interval(student, teacher, level=level, seed=seed)
    if (found := answer(low, high)) != "undecided":
        return Decision(found, low, high)
    few, many = 1.0, MOST / len(student)
    if answer_of(many) == "undecided":
        return Decision(found, low, high, None)
    while (many - few) * len(student) >= 1 and many / few > 1.01:
        middle = (few * many) ** 0.5
        few, many = (few, middle) if answer_of(middle) != "undecided" else (middle, many)
    return Decision(found, low, high, max(1, round((many - 1) * len(student))))


def pair_scores(
    student: Mapping[str, float], teacher: Mapping[str, float], missing: str
) -> tuple[list[float], list[float], list[str]]:
    """Pair the scores by question, and say in lines what is counted as wrong or left out."""
    lines = []
    lost = [name for name in teacher if name not in student]
    if lost and missing == "wrong":
        lines.append(
            f"the student has no answer to {len(lost)} of {len(teacher)} questions: they count as wrong "
            f"(missing=leave-out does not count them)"
        )
    elif lost:
        lines.append(f"the student has no answer to {len(lost)} of {len(teacher)} questions, which are left out")
    if strange := [name for name in student if name not in teacher]:
        lines.append(f"the teacher has no answer to {len(strange)} of the student's questions, which are left out")
    kept = [name for name in teacher if name in student or missing == "wrong"]
    if not any(name in student for name in teacher):
        raise UserError("the two have no question in common: compare answers to the same questions, by their ids")
    return [student.get(name, 0.0) for name in kept], [teacher[name] for name in kept], lines


def score_file(path: Path, matcher: str, metric: str) -> dict[str, float]:
    """The score (0..1) of each question of a file of answers, without those that the matcher skips."""
    scored = {row["id"]: score_record(row, matcher) for row in read_predictions(path)}
    found = {name: float(getattr(scores, metric)) for name, scores in scored.items() if scores is not None}
    if not found:
        raise UserError(f"{matcher} skips all {len(scored)} questions of {path}: use --matcher strict")
    return found


def share_verified(run: Path) -> dict[str, float]:
    """The share (0..1) of each question's samples that are verified; one that failed for good is not."""
    values = read_config(run)
    if values.get("stage") not in OF_QUESTIONS:
        raise UserError(f"{run} is of stage {values.get('stage')!r}: --metric verified compares runs of traces")
    verdicts: dict[str, list[bool]] = {}
    for trace in read_traces(run):
        if trace.sample < RATIONALISED_SAMPLE:
            verdicts.setdefault(trace.id, []).append(trace.verified)
    for row in read_failures(run):
        if not row["retry"]:
            verdicts.setdefault(row["id"], []).append(False)
    if not verdicts:
        raise UserError(f"{run} has no trace: finish it first")
    return {name: sum(found) / len(found) for name, found in verdicts.items()}


def find_files(config: GateConfig) -> tuple[Path, Path]:
    """The files of answers of student and teacher; an evaluation is made where there is none."""
    student, teacher = str(config.student), Path(str(config.teacher))
    if teacher.is_file():
        return find_answers(student, teacher.parent), teacher
    if not teacher.is_dir():
        raise UserError(
            f"no file or directory {teacher}{near_file(teacher)}: --teacher takes a directory of generate or eval, or "
            f"a JSONL file of answers"
        )
    if (teacher / QUESTIONS).is_dir():
        own = find_answers(student, teacher / QUESTIONS)
        others = sorted(file for file in (teacher / QUESTIONS).glob("*.jsonl") if file.resolve() != own.resolve())
        if len(others) != 1:
            names = ", ".join(file.name for file in others) or "none"
            raise UserError(
                f"{teacher} has {len(others)} systems beside the student ({names}): "
                f"give --teacher {teacher / QUESTIONS}/NAME.jsonl"
            )
        return own, others[0]
    if teacher.parent.joinpath(QUESTIONS, f"{teacher.name}.jsonl").is_file():  # one system's answers of an evaluation
        answers = teacher.parent / QUESTIONS / f"{teacher.name}.jsonl"
        return find_answers(student, answers.parent), answers
    return make_answers(config, teacher)


def find_answers(student: str, folder: Path) -> Path:
    """A student's file of answers: the file itself, or the one in an evaluation's folder of such files.

    UserError where its weights are not those that were evaluated."""
    if student.endswith((".jsonl", ".json")):
        if not Path(student).is_file():
            raise UserError(f"no file {student}{near_file(Path(student))}: --student takes a JSONL file of answers")
        return Path(student)
    if Path(student).is_dir():
        system = list_systems(EvalConfig(model=student))[0]
        exact = folder / f"{system.folder}.jsonl"
        found = [exact] if exact.is_file() else []
    else:
        found = sorted(folder.glob(f"{slug(student.rstrip('/'))}*.jsonl"))
    if len(found) == 1:
        return found[0]
    names = ", ".join(file.name for file in sorted(folder.glob("*.jsonl"))) or "nothing"
    raise UserError(
        f"{folder} has no answers of {student} with these weights (it has {names}): evaluate it with "
        f"agentkd eval --model {student}, or give --student {folder}/NAME.jsonl"
    )


def make_answers(config: GateConfig, run: Path) -> tuple[Path, Path]:
    """Evaluate the student beside the agent and teacher of a run of generate; what is answered is only read."""
    values = read_config(run)
    if is_own_agent(values.get("agent")):
        raise UserError(
            f"{run} is of an agent of yours: run it on held-out items with either model (generate --teacher "
            f"URL#MODEL), and compare the two runs with --metric verified"
        )
    if values.get("stage") != "generate" or not values.get("agent"):
        raise UserError(
            f"{run} is of stage {values.get('stage')!r}, which has no agent to evaluate: "
            f"give a directory of generate or eval, or a JSONL file of answers"
        )
    if not Path(str(config.student)).exists():
        raise UserError(
            f"no directory {config.student}{near_file(Path(str(config.student)))}: --student takes a student"
        )
    how = {name: value for name, value in values.items() if name in GenerateConfig.model_fields and name not in OWN}
    asked = {name: getattr(config, name) for name in ("split", "limit", "seed", "out")}
    evaluation = EvalConfig.model_validate({**how, **asked, "model": config.student, "matchers": config.matcher})
    report = evaluate(evaluation)
    student, teacher = list_systems(evaluation)[-1], list_systems(evaluation)[0]
    folder = Path(report["out"]) / QUESTIONS
    return folder / f"{student.folder}.jsonl", folder / f"{teacher.folder}.jsonl"


def describe_gate(result: Mapping[str, Any]) -> str:
    """The decision in one line."""
    high = "∞" if result["ratio_high"] is None else f"{100 * result['ratio_high']:.1f}"
    ratio = "–" if result["ratio"] is None else f"{100 * result['ratio']:.1f}"
    name = result["metric"] + (f" ({result['matcher']})" if result["matcher"] else "")
    line = (
        f"{result['decision']}: {name} of the student is {ratio} % of the teacher's "
        f"[{100 * result['ratio_low']:.1f}, {high}] ({100 * result['score_student']:.1f} to "
        f"{100 * result['score_teacher']:.1f}, paired, {100 * result['level']:g} %, {result['questions']} questions); "
        f"asked was at least {100 * result['at_least']:g} %"
    )
    if result["decision"] != "undecided":
        return line
    if result["more_questions"] is None:
        return f"{line}; {MOST:,} questions like these would not decide it, the ratio is too near"
    return f"{line}; about {result['more_questions']:,} more questions like these would decide it"
