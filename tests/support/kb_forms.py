"""Knowledge bases in every form that is read, with their facts."""

import gzip
import json
from pathlib import Path

from agentkd.retrievers.relation_path import Triple

DIRECTED = ("Alien", "directed by", "Ridley Scott")
BORN = ("Ridley Scott", "born in", "South Shields")
WD = "http://www.wikidata.org/"
PREFIXES = """@prefix ex: <http://ex.org/> . @prefix skos: <http://www.w3.org/2004/02/skos/core#> .
@prefix rdfs: <http://www.w3.org/2000/01/rdf-schema#> . @prefix schema: <https://schema.org/> .
"""
XML = """<?xml version="1.0"?>
<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#" xmlns:ex="http://ex.org/">
<rdf:Description rdf:about="http://ex.org/Alien"><ex:directedBy rdf:resource="http://ex.org/Ridley_Scott"/>
</rdf:Description></rdf:RDF>"""


def write(folder: Path, files: dict[str, str]) -> Path:
    """Write files, gzipped where their name says so; return the file, or the folder of several."""
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        data = text.encode()
        (folder / name).write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    names = list(files)
    return folder / names[0] if len(names) == 1 else (folder / names[0]).parent


def rows(*lines: str) -> str:
    return "".join(f"{line}\n" for line in lines)


ONE = [DIRECTED]
FORMS: list[tuple[str, dict[str, str], list[Triple]]] = [
    ("csv", {"kb.csv": rows("Alien,directed by,Ridley Scott")}, ONE),
    ("csv, header", {"kb.csv": rows("subject,predicate,object", "Alien,directed by,Ridley Scott")}, ONE),
    ("csv, quotes", {"kb.csv": rows('a,b,"c, ""d"""')}, [("a", "b", 'c, "d"')]),
    ("csv, semicolons", {"kb.csv": rows("h;r;t", "Alien;directed by;Ridley Scott")}, ONE),
    ("csv, line end in a cell", {"kb.csv": 'head,relation,tail\n"Ridley\nScott",a,b\n'}, [("Ridley Scott", "a", "b")]),
    ("other order", {"kb.csv": rows("relation,object,subject", "directed by,Ridley Scott,Alien")}, ONE),
    ("tsv, other order", {"kb.tsv": rows("head\ttail\trelation", "Alien\tRidley Scott\tdirected by")}, ONE),
    ("gzip", {"kb.csv.gz": rows("source,label,target", "Alien,directed by,Ridley Scott")}, ONE),
    ("jsonl", {"kb.jsonl": rows('{"h": "Alien", "r": "year", "t": 1979}')}, [("Alien", "year", "1979")]),
    ("jsonl, a boolean", {"kb.jsonl": rows('{"s": "Alien", "p": "good", "o": true}')}, [("Alien", "good", "true")]),
    ("jsonl, arrays", {"kb.jsonl": rows('["Alien", "directed by", "Ridley Scott"]')}, ONE),
    ("json", {"kb.json": json.dumps([{"head": "Alien", "relation": "directed by", "tail": "Ridley Scott"}])}, ONE),
    ("quoted cells", {"kb.tsv": rows('"Alien"\t"directed by"\t"Ridley Scott"')}, ONE),
    ("quotes of a name", {"kb.tsv": rows('"Heroes"\tby\tDavid Bowie')}, [('"Heroes"', "by", "David Bowie")]),
    ("quotes doubled", {"kb.tsv": rows('"Dwayne ""The Rock"""\tin\tMoana')}, [('Dwayne "The Rock"', "in", "Moana")]),
    ("carriage returns", {"kb.tsv": "Alien\tdirected by\tRidley Scott\rRidley Scott\tborn in\tSouth Shields\r"},
     [DIRECTED, BORN]),
    ("padded", {"kb.tsv": rows("Alien   \tdirected by \tRidley Scott", "Ridley Scott \tborn in\tSouth Shields")},
     [DIRECTED, BORN]),
    ("decomposed", {"kb.tsv": rows("Cidade\tby\tJose\u0301", "José\tin\tBrazil\u200b")},
     [("Cidade", "by", "José"), ("José", "in", "Brazil")]),
    ("n-triples", {"kb.nt": rows("<http://ex.org/Alien>\t<http://ex.org/directedBy>\t<http://ex.org/Ridley_Scott> .")},
     ONE),
    ("n-triples, unnamed", {"kb": rows("<http://x/Alien> <http://x/directedBy> <http://x/Ridley_Scott> .")}, ONE),
    ("turtle", {"kb.ttl": PREFIXES + 'ex:a rdfs:label "Alien" ; ex:directedBy ex:b .\n'
     'ex:b schema:name "Ridley Scott" .'}, ONE),
    ("turtle, gzip", {"kb.ttl.gz": PREFIXES + "ex:Alien ex:directedBy ex:Ridley_Scott ."}, ONE),
    ("turtle, unnamed nodes", {"kb.ttl": PREFIXES + "ex:Alien ex:release [ ex:year 1979 ] ."},
     [("_:b0", "year", "1979"), ("Alien", "release", "_:b0")]),
    ("languages", {"kb.ttl": PREFIXES + 'ex:a rdfs:label "Das Alien"@de, "Alien"@en ; ex:t "x"@de, "y"@en, "z" .'},
     [("Alien", "t", "y"), ("Alien", "t", "z")]),
    ("one language", {"kb.ttl": PREFIXES + 'ex:a rdfs:label "Das Ding"@de ; ex:t "x"@de .'}, [("Das Ding", "t", "x")]),
    ("two of a name", {"kb.ttl": PREFIXES + 'ex:a rdfs:label "It" ; ex:in ex:x . ex:b rdfs:label "It" ; ex:in ex:y .'},
     [("It", "in", "x"), ("It (b)", "in", "y")]),
    ("rdf/xml", {"kb.rdf": XML}, ONE),
    ("rdf/xml, unnamed", {"kb.dat": XML}, ONE),
    ("json-ld", {"kb.jsonld": json.dumps({"@context": {"ex": "http://ex.org/", "name": "http://schema.org/name"},
     "@id": "ex:a", "name": "Alien", "ex:directedBy": {"@id": "ex:b", "name": "Ridley Scott"}})}, ONE),
    ("sparql tsv", {"kb.tsv": rows("?film\t?property\t?director",
     f'"Alien"@en\t<{WD}prop/direct/P57>\t"Ridley Scott"@en')},
     [("Alien", "P57", "Ridley Scott")]),
    ("terms without a header", {"kb.tsv": rows(f'"Alien"@en\t<{WD}prop/direct/P57>\t"Ridley\\tScott"@en')},
     [("Alien", "P57", "Ridley Scott")]),
    ("wikidata csv", {"kb.csv": rows("item,itemLabel,property,propertyLabel,value,valueLabel",
     f"{WD}entity/Q1,Alien,{WD}entity/P57,directed by,{WD}entity/Q2,Ridley Scott")}, ONE),
    ("wikidata csv, two of a name", {"kb.csv": rows("item,itemLabel,property,propertyLabel,value,valueLabel",
     f"{WD}entity/Q1,It,{WD}entity/P57,by,{WD}entity/Q2,A",
     f"{WD}entity/Q3,It,{WD}entity/P57,by,2017-01-01,2017-01-01")},
     [("It", "by", "A"), ("It (Q3)", "by", "2017-01-01")]),
    ("conceptnet", {"assertions.csv": rows(
     '/a/[/r/IsA/,/c/en/cat/,/c/en/animal/]\t/r/IsA\t/c/en/cat\t/c/en/animal\t{"w": 1}')},
     [("/c/en/cat", "/r/IsA", "/c/en/animal")]),
    ("kgtk", {"kb.tsv": rows("id\tnode1\tlabel\tnode2", "E1\tAlien\tdirected by\tRidley Scott")}, ONE),
    ("neo4j, returned", {"kb.csv": rows("m.title,type(r),p.name", "Alien,directed by,Ridley Scott")}, ONE),
    ("neo4j, apoc", {"kb.csv": rows("_id,_labels,title,name,_start,_end,_type",
     "0,:Film,Alien,,,,", "1,,,Ridley Scott,,,", ",,,,0,1,directed by")}, [("Alien", "type", "Film"), DIRECTED]),
    ("neo4j, admin", {"g/films.csv": rows("filmId:ID(Film),title,year:int,:LABEL", "1,Alien,1979,Film;Movie"),
     "g/people.csv": rows("id:ID(Person),name", "1,Ridley Scott"),
     "g/rels.csv": rows(":START_ID(Film),:END_ID(Person),:TYPE", "1,1,directed by")},
     [("Alien", "year", "1979"), ("Alien", "type", "Film"), ("Alien", "type", "Movie"), DIRECTED]),
    ("nodes and edges", {"g/nodes.csv": rows("id,name,year", "n1,Alien,1979", "n2,Ridley Scott,"),
     "g/edges.csv": rows("source,target,relation", "n1,n2,directed by", "n2,n9,knows")},
     [("Alien", "year", "1979"), DIRECTED, ("Ridley Scott", "knows", "n9")]),
    ("gephi", {"g/nodes.csv": rows("Id,Label", "1,Alien", "2,Ridley Scott"),
     "g/edges.csv": rows("Source,Target,Type,Id,Label,Weight", "1,2,Directed,0,directed by,1.0")}, ONE),
]  # fmt: skip
