"""A ladder of verifiers: each is a rung, the cheapest stands first, and the verdict names the highest one passed."""

from __future__ import annotations

from collections.abc import Sequence

from agentkd.trace import Check, Evidence, Frozen, Usage, Verdict
from agentkd.verifiers.contract import TIMEOUT, Finding, Item, Verifier, VerifierFailed, call_verifier, name_of


class Climb(Frozen):
    """The verdict on one answer, what the rungs found, and what they cost.

    `failed` is the line of a verifier that raised or hung, empty where none did: nobody knows then whether the answer
    is right, and the verdict is not ok."""

    verdict: Verdict
    evidence: tuple[Evidence, ...] = ()
    usage: Usage = Usage()
    failed: str = ""

    @property
    def score(self) -> float | None:
        """The score of the last rung that gave one."""
        found = [item.score for item in self.evidence if isinstance(item, Check) and item.score is not None]
        return found[-1] if found else None


class Ladder:
    """Verifiers one above the other; itself a verifier, so that ladders may be rungs.

    Each has `seconds` for a call, unless it keeps its own time (an attribute `timeout`).

    >>> import asyncio
    >>> def short(item, answer): return len(answer) < 9
    >>> def right(item, answer): return answer == item["answer"]
    >>> asyncio.run(Ladder([short, right]).climb({"answer": "Bern"}, "Basel")).verdict
    Verdict(ok=False, rung='short', reason='right: not passed')
    """

    timeout = None  # of the whole ladder

    def __init__(self, verifiers: Sequence[Verifier], *, seconds: float = TIMEOUT, name: str = "ladder") -> None:
        self.rungs = tuple(verifiers)
        self.seconds, self.name = seconds, name

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the rungs, from the lowest up."""
        return tuple(map(name_of, self.rungs))

    async def climb(self, item: Item, answer: str) -> Climb:
        """Climb until a verifier does not pass. WorldError where a server that one asks does not answer."""
        reached, evidence, usage = "none", tuple[Evidence, ...](), Usage()
        for verifier in self.rungs:
            name, failed = name_of(verifier), ""
            try:
                seconds: float | None = getattr(verifier, "timeout", self.seconds)
                finding = await call_verifier(verifier, item, answer, timeout=seconds)
            except VerifierFailed as error:
                failed = f"{name} failed: {error}"
                finding = Finding(Check(name=name, passed=False, detail=failed))
            check = finding.check
            evidence = (*evidence, *finding.evidence, check)
            usage += finding.usage
            if not check.passed:
                reason = failed or f"{name}: {check.detail or 'not passed'}"
                verdict = Verdict(ok=False, rung=reached, reason=reason)
                return Climb(verdict=verdict, evidence=evidence, usage=usage, failed=failed)
            reached = name
        return Climb(verdict=Verdict(ok=bool(self.rungs), rung=reached), evidence=evidence, usage=usage)

    async def __call__(self, item: Item, answer: str) -> Finding:
        climb = await self.climb(item, answer)
        check = Check(name=self.name, passed=climb.verdict.ok, detail=climb.verdict.reason, score=climb.score)
        return Finding(check, climb.evidence, climb.usage)
