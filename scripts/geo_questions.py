"""Questions of the world-geography task: paths, wordings, splits and sampling (see build_geo.py)."""

from __future__ import annotations

import random
import re
from collections import Counter, defaultdict

from geo_templates import TEMPLATES

SEED = 20240607
SIZES = {"train": 1200, "dev": 300, "test": 600}
HOP_SHARE = {1: 0.40, 2: 0.35, 3: 0.25}
MULTI_SHARE = 0.40
ALIAS_SHARE = 0.21
MAX_ANSWERS = 10
PLACES = {"country", "city", "region", "airport"}

ARTICLE_START = re.compile(
    "^(Republic|Kingdom|Commonwealth|Federal|Federated|Federation|Federative|United|Union|Principality"
    "|Grand Duchy|People's|Islamic|Democratic|Socialist|Plurinational|Bolivarian|Hashemite|Sultanate"
    "|Independent State|Oriental|State of|state of|US state|American state|Australian state)"
)
ARTICLE_END = re.compile(
    "(Republic|Confederation|Federation|Islands|Territory|Territories|Emirates|Autonomous Okrug| Region)$"
)
ARTICLE_NAMES = re.compile(
    "^(Netherlands|Philippines|Bahamas|Gambia|Maldives|Comoros|Seychelles|UK|US|USA|UAE|DRC|PRC|DPRK"
    "|Emirates|States|DR Congo|Vatican City State|Holy See|Basque Country|Federal District|Eastern Cape"
    "|Western Cape|Northern Cape|Free State|Aosta Valley|Big Apple|Golden State|Lone Star State"
    "|Sunshine State|Saarland|Yukon|Capital District|Caribbean|Micronesian Region|Region Zealand)$"
)
NO_ARTICLE = {"Region Zealand"}


def parse_templates() -> dict[str, tuple[list[str], list[str]]]:
    """The wordings of each type: those for every split, and those held out for test."""
    out = {}
    for block in TEMPLATES.strip().split("# ")[1:]:
        head, _, body = block.partition("\n")
        seen, _, held = body.replace("\n", " ").partition("||")
        out[head.strip()] = tuple([t.strip() for t in part.split("|") if t.strip()] for part in (seen, held))
    return out


def parse_path(name: str) -> list[list]:
    """`-a.b > c.d` as [["a.b", -1], ["c.d", 1]]."""
    steps = [s.strip() for s in name.split(">")]
    return [[s.removeprefix("-"), -1 if s.startswith("-") else 1] for s in steps]


def with_article(name: str, kind: str) -> str:
    """The name as it stands in a sentence."""
    if kind == "currency":
        return f"the {name}"
    qualified = re.search(r", [A-Z]", name)
    needs = ARTICLE_NAMES.search(name) or ARTICLE_START.search(name) or ARTICLE_END.search(name)
    if kind in ("country", "region", "subregion") and needs and not qualified and name not in NO_ARTICLE:
        return f"the {name}"
    return name


def render(template: str, name: str, kind: str, many: bool) -> str:
    """Fill one wording."""
    query = template.startswith("~")
    text = re.sub(r"\[([^/\]]*)/([^\]]*)\]", r"\2" if many else r"\1", template.lstrip("~"))
    full = with_article(name, kind)
    if full.endswith("s") and full.startswith("the "):
        text = text.replace("{x}'s", "{x}'")
    text = text.replace("{x}", full).replace("{b}", name)
    return text.lower() if query else text[0].upper() + text[1:]


def bare(name: str) -> str:
    """A name without what only tells it from others, for the check that a question does not answer itself."""
    name = re.sub(r" \(.*\)$|, [A-Z].*$", "", name)
    return re.sub(r" (script|alphabet|characters|languages|Time|Airport)$", "", name)


def named_in(answer: str, text: str) -> bool:
    """Whether the text holds the answer as whole words."""
    return any(
        re.search(rf"(?<!\w){re.escape(form)}(?!\w)", text, re.IGNORECASE) for form in {answer, bare(answer)} if form
    )


class World:
    """Path execution, and the split each node goes with."""

    def __init__(self, triples: set, kind: dict[str, str], home: dict[str, str]) -> None:
        self.kind, self.home = kind, home
        self.next: dict[tuple[str, str, int], list[str]] = defaultdict(list)
        for head, relation, tail in sorted(triples):
            self.next[head, relation, 1].append(tail)
            self.next[tail, relation, -1].append(head)
        self.relation_heads: dict[tuple[str, int], list[str]] = defaultdict(list)
        for node, relation, direction in sorted(self.next):
            self.relation_heads[relation, direction].append(node)
        self.country_iso = {home[n]: n for n, k in kind.items() if k == "country"}
        self.split = self.assign()

    def run(self, topic: str, path: list[list]) -> list[str]:
        """All endpoints of a path; the topic itself is removed after the first hop."""
        frontier = {topic}
        for i, (relation, direction) in enumerate(path):
            frontier = {t for node in frontier for t in self.next[node, relation, direction]}
            if i:
                frontier.discard(topic)
        return sorted(frontier)

    def assign(self) -> dict[str, str]:
        """Split the countries by a seeded shuffle that keeps some neighbours together.

        A test answer may not be a training topic, so a country can be asked for its neighbours in test
        only if none of them is in train: held-out countries are drawn in clumps along borders.
        """
        rng = random.Random(SEED)
        countries = sorted(self.country_iso.values())
        rng.shuffle(countries)
        parts = sorted({t for c in countries for t in self.next[c, "country.subregion", 1]})
        small = [p for p in parts if 3 <= len(self.next[p, "country.subregion", -1]) <= 8]
        clumps = [self.next[p, "country.subregion", -1] for p in rng.sample(small, 4)]
        held: list[str] = [c for clump in clumps for c in clump]
        for start in countries:
            clump = [start]
            while len(clump) < 7:
                rim = {n for c in clump for n in self.next[c, "country.borders", 1]} - set(clump) - set(held)
                if not rim:
                    break
                clump.append(self.most_inside(sorted(rim), {*held, *clump}))
            if len(held) >= 0.4 * len(countries):
                break
            held += [c for c in clump if c not in held]
        held = sorted(set(held[: round(0.4 * len(countries))]))
        rng.shuffle(held)
        n_dev = round(0.15 * len(countries))
        where = dict.fromkeys(countries, "train")
        where |= {c: "dev" if i < n_dev else "test" for i, c in enumerate(held)}
        split = {n: where[self.country_iso[iso]] for n, iso in self.home.items() if iso in self.country_iso}
        for node in sorted(self.kind):
            if node not in split:
                split[node] = self.hub_split(node, where, rng)
        return split

    def most_inside(self, rim: list[str], held: set[str]) -> str:
        """The country with the largest share of its neighbours among the held-out ones."""
        near = {c: self.next[c, "country.borders", 1] for c in rim}
        return max(rim, key=lambda c: len(held & set(near[c])) / len(near[c]))

    def hub_split(self, node: str, where: dict[str, str], rng: random.Random) -> str:
        """Split of a node that belongs to no one country: its countries' if they agree, else drawn."""
        shared = ("currency", "official_language", "calling_code", "subregion")
        users = {c for r in shared for c in self.next[node, f"country.{r}", -1]}
        splits = sorted({where[c] for c in users})
        if len(splits) == 1:
            return splits[0]
        draw = rng.choices(["train", "dev", "test"], weights=[60, 15, 25])[0]
        if splits == ["dev", "test"]:
            return rng.choice(["dev", "test", "test"])
        return draw

    def topics(self, path: list[list]) -> list[str]:
        """Nodes a path can start from, without those whose names read badly in a question."""
        relation, direction = path[0]
        return [n for n in self.relation_heads[relation, direction] if "(" not in n]


class Sampler:
    """Draws the questions of one split."""

    def __init__(self, world: World, aliases: dict[str, str], split: str, seed: int) -> None:
        self.world, self.split = world, split
        self.rng = random.Random(seed)
        self.other_names: dict[str, list[str]] = defaultdict(list)
        for alias, name in aliases.items():
            if alias.lower() != name.lower():
                self.other_names[name].append(alias)
        self.use: Counter = Counter()
        self.texts: set[str] = set()
        self.rows: list[dict] = []
        self.multi = self.aliased = 0

    def pool(self, name: str, banned: set[str]) -> list[tuple[str, list[str]]]:
        """Topics of this split with the answers of one path, where the question may be asked."""
        path, out = parse_path(name), []
        for topic in self.world.topics(path):
            if self.world.split[topic] != self.split or topic in banned:
                continue
            answers = self.world.run(topic, path)
            if 1 <= len(answers) <= MAX_ANSWERS and self.allowed(answers) and not self.dead_end(topic, path):
                out.append((topic, answers))
        self.rng.shuffle(out)
        return out

    def dead_end(self, topic: str, path: list[list]) -> bool:
        """Whether some branch of the path breaks off, so that the answers would be incomplete."""
        frontier = {topic}
        for i, (relation, direction) in enumerate(path):
            if any(not self.world.next[n, relation, direction] for n in frontier):
                return True
            frontier = {t for n in frontier for t in self.world.next[n, relation, direction]}
            if i:
                frontier.discard(topic)
        return False

    def allowed(self, answers: list[str]) -> bool:
        """Countries that answer outside train must themselves be held out of train."""
        kind, split = self.world.kind, self.world.split
        return self.split == "train" or not any(kind[a] == "country" and split[a] == "train" for a in answers)

    def home(self, topic: str) -> str:
        """The unit that questions are spread over: the topic's country, or the topic itself."""
        return self.world.home.get(topic, topic)

    def question(self, name: str, topic: str, answers: list[str], template: str) -> dict | None:
        """Word one question, or None where it would give its answer away or repeat another."""
        kind = self.world.kind[topic]
        surfaces = [topic]
        others = self.other_names[topic]
        if others and self.aliased < ALIAS_SHARE * (len(self.rows) + 1):
            surfaces.insert(0, self.rng.choice(others))
        for surface in surfaces:
            text = render(template, surface, kind, len(answers) > 1)
            if text in self.texts or any(named_in(a, text) for a in answers) or topic in answers:
                continue
            self.aliased += surface != topic
            path = parse_path(name)
            return {
                "id": "", "question": text, "topic_entities": [topic], "answers": answers, "hops": len(path),
                "type": name.replace(" ", ""), "path": path,
            }  # fmt: skip
        return None

    def draw(self, templates: dict[str, tuple[list[str], list[str]]], banned: set[str]) -> list[dict]:
        """Fill each hop count's share, one question per type in turn."""
        for hops, share in HOP_SHARE.items():
            names = [t for t in templates if len(parse_path(t)) == hops]
            pools = {t: self.pool(t, banned) for t in names}
            wordings = {t: self.wordings(templates[t]) for t in names}
            quota = round(share * SIZES[self.split])
            # Types that mostly have several answers come twice per round, or too few questions would have several.
            several = [t for t in names if 2 * sum(len(a) > 1 for _, a in pools[t]) >= max(1, len(pools[t]))]
            turns = names + several
            self.rng.shuffle(turns)
            while quota and any(pools.values()):
                for name in turns:
                    if quota and pools[name] and self.one(name, pools[name], wordings[name]):
                        quota -= 1
        self.rng.shuffle(self.rows)
        for i, row in enumerate(self.rows, 1):
            row["id"] = f"geo-{self.split}-{i:04d}"
        return self.rows

    def wordings(self, both: tuple[list[str], list[str]]) -> list[str]:
        """The order in which a type's wordings are used up; test alternates held-out and known ones."""
        seen, held = (self.rng.sample(part, len(part)) for part in both)
        if self.split != "test":
            return seen
        return [w for i, s in enumerate(seen) for w in (s, held[i % len(held)])]

    def one(self, name: str, pool: list[tuple[str, list[str]]], wordings: list[str]) -> bool:
        """Ask the least used topic of the pool, favouring whichever of one and many answers is short."""
        many = self.multi < MULTI_SHARE * (len(self.rows) + 1)

        def cost(item: tuple[str, list[str]]) -> int:
            topic, answers = item
            return self.use[self.home(topic)] + 2 * self.use[topic] + 8 * ((len(answers) > 1) != many)

        pool.sort(key=cost)
        while pool:
            topic, answers = pool.pop(0)
            for template in wordings:
                row = self.question(name, topic, answers, template)
                if row:
                    wordings.append(wordings.pop(wordings.index(template)))
                    self.rows.append(row)
                    self.texts.add(row["question"])
                    self.multi += len(answers) > 1
                    self.use[topic] += 1
                    self.use[self.home(topic)] += 1 if self.home(topic) != topic else 0
                    return True
        return False


def make(triples: set, kind: dict[str, str], home: dict[str, str], aliases: dict[str, str]) -> dict[str, list[dict]]:
    """All three splits; test first, because its answers may not be topics in train."""
    world, templates = World(triples, kind, home), parse_templates()
    banned: set[str] = set()
    out = {}
    for i, split in enumerate(("test", "dev", "train")):
        rows = Sampler(world, aliases, split, SEED + i).draw(templates, banned if split == "train" else set())
        banned |= {a for row in rows for a in row["answers"] if kind[a] in PLACES}
        out[split] = rows
    return {split: out[split] for split in ("train", "dev", "test")}
