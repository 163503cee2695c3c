"""What the sources of the world-geography task do not say, say wrongly or say differently: tables compiled by hand.

`build_geo.py` reads the packages' data and lets these tables decide where they are silent, out of date or disputed; a
fact that stays doubtful is left out. Countries go by ISO 3166 code, languages by ISO 639, scripts by ISO 15924,
currencies by ISO 4217, airports by IATA. ATTRIBUTION.md of the built task lists which facts come from here.
"""

# Place names need their own apostrophes and dashes.
# ruff: noqa: RUF001


def words(text: str) -> set[str]:
    """The space-separated words of a table."""
    return set(text.split())


def pairs(block: str, sep: str = "\n") -> list[tuple[str, str]]:
    """The `left=right` entries of a table."""
    return [tuple(line.split("=", 1)) for line in block.strip().split(sep) if line]


# Dependent territories, disputed ones without a settled status and former states in the sources.
LEFT_OUT = words("""
AI AN AQ AS AW AX BL BM BQ BV CC CK CS CW CX EH FK FO GF GG GI GL GP GS GU HK HM IM IO JE KY MF MO MP MQ MS NC NF
NU PF PM PN PR RE SH SJ SX TC TF TK UM VG VI WF YT
""")
COUNTRY_NAMES = {
    "NL": "Netherlands", "CV": "Cape Verde", "TL": "Timor-Leste", "VA": "Vatican City", "PS": "Palestine",
    "ST": "São Tomé and Príncipe", "FM": "Federated States of Micronesia",
}  # fmt: skip
CONTINENTS = {
    "AF": "Africa", "AS": "Asia", "EU": "Europe", "NA": "North America", "SA": "South America", "OC": "Oceania",
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
LEFT_DRIVING = words("""
GB IE MT CY IN PK BD LK NP BT MV TH MY SG BN ID TL JP AU NZ PG SB FJ KI TV NR TO WS KE UG TZ MW ZM ZW MZ BW NA ZA
LS SZ MU SC JM BS BB TT GD LC VC KN DM AG GY SR
""")
# No city answers "the capital" without dispute or explanation here, or the capital is the whole country.
NO_CAPITAL = words("IL PS LK GQ NR PW KI SG MC VA")
CAPITALS = {"KZ": ["Astana"], "ZA": ["Pretoria", "Cape Town", "Bloemfontein"], "MM": ["Nay Pyi Taw"]}
# City proper against metropolitan area changes the answer here, or the source counts them unevenly.
NO_LARGEST_CITY = words("""
BH FJ GH KW LC MT SZ AU CN IT ZA EC SY YE KZ NR PW KI SG MC VA IL PS LI SM FM SV CM BO BJ PK IN GQ TV AD MH NL MW
LK PT TT
""")
NO_LARGEST_IN_REGION = {"Shandong", "Buenos Aires Province"}
NO_ZONE = {"Apia"}  # its name also means American Samoa's time
CITY_NAMES = {
    ("US", "Washington"): "Washington, D.C.", ("LU", "Luxembourg"): "Luxembourg City",
    ("DJ", "Djibouti"): "Djibouti City", ("SM", "San Marino"): "City of San Marino",
    ("MM", "Nay Pyi Taw"): "Naypyidaw", ("CA", "Québec"): "Quebec City", ("CM", "Yaounde"): "Yaoundé",
    ("SE", "Göteborg"): "Gothenburg", ("GR", "Pátra"): "Patras", ("GR", "Lárisa"): "Larissa",
    ("GR", "Thessaloníki"): "Thessaloniki", ("GR", "Ioánnina"): "Ioannina", ("MN", "Ulan Bator"): "Ulaanbaatar",
    ("MV", "Male"): "Malé", ("VU", "Port-Vila"): "Port Vila", ("RU", "Groznyy"): "Grozny",
    ("MX", "Tuxtla"): "Tuxtla Gutiérrez", ("MX", "Xalapa de Enríquez"): "Xalapa",
    ("MX", "Pachuca de Soto"): "Pachuca", ("KR", "Cheongju-si"): "Cheongju", ("KP", "Sariwŏn-si"): "Sariwon",
    ("DE", "Nürnberg"): "Nuremberg", ("IR", "Orūmīyeh"): "Urmia", ("DE", "Köln"): "Cologne",
    ("ES", "Sevilla"): "Seville", ("BE", "Gent"): "Ghent", ("BE", "Brugge"): "Bruges", ("CH", "Luzern"): "Lucerne",
    ("CH", "Sitten"): "Sion", ("CH", "Sankt Gallen"): "St. Gallen", ("DK", "Århus"): "Aarhus",
    ("GR", "Irákleion"): "Heraklion", ("SA", "Makkah"): "Mecca", ("SA", "Madinah"): "Medina",
    ("RU", "Nizhniy Novgorod"): "Nizhny Novgorod", ("IN", "Panjim"): "Panaji", ("DE", "Hannover"): "Hanover",
    ("CA", "Montréal"): "Montreal", ("RO", "Constanţa"): "Constanța", ("RO", "Iaşi"): "Iași",
    ("RO", "Timişoara"): "Timișoara", ("RO", "Târgu Mureş"): "Târgu Mureș",
}  # fmt: skip
# Under dispute, or not a town of its own.
CITIES_LEFT_OUT = {
    "Jerusalem", "East Jerusalem", "Sokhumi", "Ts'khinvali", "Tiraspol", "Muzaffarabad", "Srinagar", "Donetsk",
    "Luhansk", "Famagusta", "Morfou", "Bandundu Province", "Umm Ghuwaylinah", "Az Za'ayin", "Az Z`ulayl",
    "Magugpo Poblacion", "Al 'Ashir min Ramadan", "Bade", "Sevastopol", "Rukban",
}  # fmt: skip
BORDERS_ADDED = [("BW", "ZM")]
BORDERS_DROPPED = [("CU", "US")]  # a leased naval base only
CURRENCIES = {"BG": ["EUR"], "BT": ["BTN"], "HT": ["HTG"], "PS": ["ILS", "JOD"], "XK": ["EUR"], "VE": ["VES"]}
CALLING_CODES = {"XK": ["+383"], "DO": ["+1 809", "+1 829", "+1 849"], "VA": []}
NO_CONTINENT = {"CY"}
CONTINENT_FIX = {"TL": "AS"}
# Official languages where the source mixes in working, national or regional ones ("" = left out).
OFFICIAL = {
    "AF": "prs ps", "AZ": "az", "BO": "es qu ay gn", "BW": "en", "CH": "de fr it rm", "DZ": "ar zgh", "EC": "es",
    "ER": "", "ET": "", "HT": "ht fr", "IL": "he", "IQ": "ar ku", "KM": "zdj ar fr", "MA": "ar zgh", "ME": "cnr",
    "MG": "mg fr", "MK": "mk sq", "ML": "", "BF": "", "MU": "", "MW": "en", "NE": "", "NG": "en", "PE": "es qu ay",
    "RW": "rw en fr sw", "SC": "crs en fr", "SN": "fr", "TJ": "tg", "TN": "ar", "TW": "", "UA": "uk",
    "ZA": "af en nr nso st ss ts tn ve xh zu", "ZW": "", "BA": "bs hr sr", "NO": "no", "PK": "ur en",
    "BI": "rn fr en", "FJ": "en fj hif", "BN": "ms", "LI": "de", "GN": "", "GH": "en", "DJ": "fr ar",
}  # fmt: skip
LANGUAGE_NAMES = {
    "prs": "Dari", "cnr": "Montenegrin", "zgh": "Tamazight", "ber": "Tamazight", "rn": "Kirundi", "zh": "Chinese",
    "no": "Norwegian", "zdj": "Comorian", "ht": "Haitian Creole", "nso": "Northern Sotho", "tn": "Setswana",
    "ny": "Chichewa", "rw": "Kinyarwanda", "crs": "Seychellois Creole", "dv": "Dhivehi", "nr": "South Ndebele",
    "nd": "North Ndebele", "si": "Sinhala", "gil": "Gilbertese", "ak": "Akan", "se": "Northern Sami",
    "bn": "Bengali", "st": "Sotho", "na": "Nauruan", "tvl": "Tuvaluan", "tyv": "Tuvan", "av": "Avar",
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
    "cnr": "Latn Cyrl", "zgh": "Tfng", "pa": "Guru Arab", "ko": "Hang", "ja": "Jpan", "no": "Latn", "ms": "Latn",
    "bs": "Latn Cyrl", "mn": "Cyrl Mong", "sat": "", "ks": "", "sd": "Arab Deva", "kok": "Deva", "hif": "",
    "sa": "Deva", "ha": "Latn", "za": "Latn", "uz": "Latn Cyrl", "az": "Latn", "zdj": "", "tt": "Cyrl",
}  # fmt: skip
SCRIPT_NAMES = {
    "Hani": "Chinese characters", "Jpan": "Japanese script", "Hang": "Hangul", "Arab": "Arabic script",
    "Grek": "Greek alphabet", "Hebr": "Hebrew alphabet", "Tfng": "Tifinagh", "Thaa": "Thaana",
    "Mong": "Mongolian script", "Deva": "Devanagari", "Guru": "Gurmukhi", "Beng": "Bengali–Assamese script",
    "Ethi": "Geʽez script", "Armn": "Armenian alphabet", "Geor": "Georgian alphabet", "Mymr": "Burmese script",
    "Orya": "Odia script", "Mlym": "Malayalam script", "Telu": "Telugu script", "Knda": "Kannada script",
    "Taml": "Tamil script", "Gujr": "Gujarati script", "Sinh": "Sinhala script", "Khmr": "Khmer script",
    "Laoo": "Lao script", "Thai": "Thai script", "Tibt": "Tibetan script", "Cyrl": "Cyrillic script",
    "Latn": "Latin script",
}  # fmt: skip
CURRENCY_NAMES = {
    "EUR": "euro", "BAM": "convertible mark", "CHF": "Swiss franc", "XAF": "Central African CFA franc",
    "XOF": "West African CFA franc", "ILS": "Israeli new shekel", "GBP": "British pound", "ERN": "Eritrean nakfa",
    "CNY": "Chinese yuan", "SLE": "Sierra Leonean leone", "GYD": "Guyanese dollar", "KGS": "Kyrgyzstani som",
    "STN": "São Tomé and Príncipe dobra", "TTD": "Trinidad and Tobago dollar", "BWP": "Botswana pula",
    "TWD": "New Taiwan dollar", "ZWG": "Zimbabwe Gold",
}  # fmt: skip
# Airports in use whose names lack the word "International", and closed ones that have it.
KNOWN_AIRPORTS = words("""
LHR LGW STN LTN LCY MAN EDI BRS LPL LBA NCL CDG ORY NCE LYS MRS TLS BOD NTE AMS FRA HAM DUS STR CGN BER LEJ HAJ MAD
BCN AGP SVQ VLC BIO FCO CIA MXP LIN VCE NAP BLQ TRN CTA PMO ZRH GVA DUB ORK CPH ARN OSL BGO HEL BRU LIS OPO VIE PRG
BUD ATH SKG WAW KRK GDN OTP SVO DME VKO LED IST SAW ATL LGA JFK EWR ORD MDW SFO SEA LAX MIA BOS HNL DEN SYD MEL BNE
HND NRT ITM KIX CTS FUK OKA ICN GMP PEK PKX PVG SHA BKK DMK CGK HAN SGN GRU CGH GIG SDU EZE AEP SCL CAI ALG
""")
CLOSED_AIRPORTS = words("TXL SXF KMG ISL TIP DIA DOK VSG HRK IEV SIP KBP ODS LWO DNK SIM BZG")
# Admin-1 names of the source in the form used in English; "" leaves the region out.
REGION_NAMES = {
    "US": "Georgia=Georgia (U.S. state);Washington=Washington State;New York=New York State;District of Columbia=",
    "DE": (
        "City state Bremen=;State of Berlin=;Rheinland-Pfalz=Rhineland-Palatinate;Baden-Wurttemberg=Baden-Württemberg"
    ),
    "IT": (
        "Basilicate=Basilicata;The Marches=Marche;Trentino-Alto Adige=Trentino-South Tyrol;"
        "Friuli Venezia Giulia=Friuli-Venezia Giulia"
    ),
    "ES": "Castille and León=Castile and León;Castille-La Mancha=Castilla–La Mancha;Navarre=Navarre",
    "MX": "México=State of Mexico;Mexico City=",
    "FR": "Centre=Centre-Val de Loire",
    "NG": "FCT=;Delta=Delta State;Adamawa=Adamawa State;Anambra=Anambra State;Kebbi=Kebbi State",
    "CO": "Bogota D.C.=;Bolívar=Bolívar Department;San Andres y Providencia=",
    "AR": (
        "Buenos Aires F.D.=;Buenos Aires=Buenos Aires Province;Rio Negro=Río Negro;Entre Rios=Entre Ríos;"
        "Neuquen=Neuquén;Tucuman=Tucumán;Cordoba="
    ),
    "AU": "Victoria=Victoria, Australia;Australian Capital Territory=Australian Capital Territory",
    "RU": (
        "Adygeya Republic=Adygea;Altai=Altai Republic;Arkhangelskaya=Arkhangelsk Oblast;"
        "Bashkortostan Republic=Bashkortostan;Buryatiya Republic=Buryatia;Chelyabinsk=;Chuvash Republic=Chuvashia;"
        "Ingushetiya Republic=Ingushetia;Kabardino-Balkariya Republic=Kabardino-Balkaria;"
        "Kalmykiya Republic=Kalmykia;Karachayevo-Cherkesiya Republic=Karachay-Cherkessia;"
        "Khakasiya Republic=Khakassia;Kuzbass=Kemerovo Oblast;Leningradskaya Oblast'=Leningrad Oblast;"
        "Mariy-El Republic=Mari El;Mordoviya Republic=Mordovia;Oryol oblast=Oryol Oblast;Primorye=Primorsky Krai;"
        "Republic of Tyva=Tuva;Rostov=Rostov Oblast;St.-Petersburg=;Moscow=;Stavropol Kray=Stavropol Krai;"
        "Tatarstan Republic=Tatarstan;Udmurtiya Republic=Udmurtia;Zabaykalskiy (Transbaikal) Kray=Zabaykalsky Krai;"
        "Khabarovsk=Khabarovsk Krai;Ulyanovsk=Ulyanovsk Oblast;Khanty-Mansia=Khanty-Mansi Autonomous Okrug;"
        "Yamalo-Nenets=Yamalo-Nenets Autonomous Okrug;Kamchatka=Kamchatka Krai;Sakha=Sakha Republic;"
        "Komi=Komi Republic"
    ),
    "KR": (
        "Chungcheongnam-do=South Chungcheong;Gangwon-do=Gangwon;Gyeonggi-do=Gyeonggi;"
        "Gyeongsangbuk-do=North Gyeongsang;Gyeongsangnam-do=South Gyeongsang;Jeju-do=;Jeollabuk-do=North Jeolla;"
        "Jeollanam-do=South Jeolla;Sejong-si="
    ),
    "PG": "National Capital=",
    "VE": "Distrito Federal=Capital District",
    "CL": "Region of Magallanes=Magallanes;Santiago Metropolitan=Santiago Metropolitan Region",
    "PE": "Lima region=",
    "CH": "Basel-City=Basel-Stadt;Saint Gallen=",
    "JP": "Oita=;Kochi=",
    "PK": "Azad Kashmir=;Gilgit-Baltistan=",
    "IN": "Jammu and Kashmir=;Ladakh=;Delhi=;Andaman and Nicobar=Andaman and Nicobar Islands",
    "IR": "Māzandarān=Mazandaran",
    "ID": "Highland Papua=;Central Papua=",
    "PL": "Kujawsko-Pomorskie=Kuyavia-Pomerania",
    "BE": "Brussels Capital=",
    "DK": "Capital Region=Capital Region of Denmark;Zealand=Region Zealand;South Denmark=Southern Denmark",
    "DO": "Nacional=",
    "FI": "Paijat-Hame=",
    "PH": (
        "Ilocos=Ilocos Region;Autonomous Region in Muslim Mindanao=;Cordillera=;Western Visayas=;Zamboanga Peninsula="
    ),
}
# Countries whose first-level divisions the source names well enough to be asked about.
REGION_COUNTRIES = words("""
US CA AU DE AT IT ES IN BR MX AR JP NL NG CN PL ZA FR GB MY ID IR PK CH CO VE PE CL SE RU GR KR BE DK PH NZ FI IE
SK CU KE BD BO NP LK SA NA ZM PY UY PG CR DO PA NI
""")
REGION_CAPITALS = {
    "US": (
        "Alabama=Montgomery;Alaska=Juneau;Arizona=Phoenix;Arkansas=Little Rock;California=Sacramento;"
        "Colorado=Denver;Connecticut=Hartford;Delaware=Dover;Florida=Tallahassee;Georgia (U.S. state)=Atlanta;"
        "Hawaii=Honolulu;Idaho=Boise;Illinois=Springfield;Indiana=Indianapolis;Iowa=Des Moines;Kansas=Topeka;"
        "Kentucky=Frankfort;Louisiana=Baton Rouge;Maine=Augusta;Maryland=Annapolis;Massachusetts=Boston;"
        "Michigan=Lansing;Minnesota=Saint Paul;Mississippi=Jackson;Missouri=Jefferson City;Montana=Helena;"
        "Nebraska=Lincoln;Nevada=Carson City;New Hampshire=Concord;New Jersey=Trenton;New Mexico=Santa Fe;"
        "New York State=Albany;North Carolina=Raleigh;North Dakota=Bismarck;Ohio=Columbus;Oklahoma=Oklahoma City;"
        "Oregon=Salem;Pennsylvania=Harrisburg;Rhode Island=Providence;South Carolina=Columbia;South Dakota=Pierre;"
        "Tennessee=Nashville;Texas=Austin;Utah=Salt Lake City;Vermont=Montpelier;Virginia=Richmond;"
        "Washington State=Olympia;West Virginia=Charleston;Wisconsin=Madison;Wyoming=Cheyenne"
    ),
    "CA": (
        "Alberta=Edmonton;British Columbia=Victoria;Manitoba=Winnipeg;New Brunswick=Fredericton;"
        "Newfoundland and Labrador=St. John's;Northwest Territories=Yellowknife;Nova Scotia=Halifax;"
        "Ontario=Toronto;Prince Edward Island=Charlottetown;Quebec=Québec;Saskatchewan=Regina;Yukon=Whitehorse"
    ),
    "AU": (
        "New South Wales=Sydney;Northern Territory=Darwin;Queensland=Brisbane;South Australia=Adelaide;"
        "Tasmania=Hobart;Victoria, Australia=Melbourne;Western Australia=Perth"
    ),
    "DE": (
        "Baden-Württemberg=Stuttgart;Bavaria=Munich;Brandenburg=Potsdam;Hesse=Wiesbaden;Lower Saxony=Hanover;"
        "Mecklenburg-Vorpommern=Schwerin;North Rhine-Westphalia=Düsseldorf;Rhineland-Palatinate=Mainz;"
        "Saarland=Saarbrücken;Saxony=Dresden;Saxony-Anhalt=Magdeburg;Schleswig-Holstein=Kiel;Thuringia=Erfurt"
    ),
    "AT": (
        "Carinthia=Klagenfurt;Lower Austria=Sankt Pölten;Styria=Graz;Tyrol=Innsbruck;Upper Austria=Linz;"
        "Vorarlberg=Bregenz"
    ),
    "IT": (
        "Abruzzo=L'Aquila;Aosta Valley=Aosta;Apulia=Bari;Basilicata=Potenza;Calabria=Catanzaro;Campania=Naples;"
        "Emilia-Romagna=Bologna;Friuli-Venezia Giulia=Trieste;Lazio=Rome;Liguria=Genoa;Lombardy=Milan;"
        "Marche=Ancona;Molise=Campobasso;Piedmont=Turin;Sardinia=Cagliari;Sicily=Palermo;"
        "Trentino-South Tyrol=Trento;Tuscany=Florence;Umbria=Perugia;Veneto=Venice"
    ),
    "ES": (
        "Andalusia=Seville;Aragon=Zaragoza;Asturias=Oviedo;Balearic Islands=Palma;Cantabria=Santander;"
        "Castilla–La Mancha=Toledo;Catalonia=Barcelona;Galicia=Santiago de Compostela;La Rioja, Spain=Logroño;"
        "Navarre=Pamplona"
    ),
    "IN": (
        "Andaman and Nicobar Islands=Port Blair;Arunachal Pradesh=Itanagar;Assam=Dispur;Bihar=Patna;"
        "Chhattisgarh=Raipur;Goa=Panaji;Gujarat=Gandhinagar;Himachal Pradesh=Shimla;Jharkhand=Ranchi;"
        "Karnataka=Bengaluru;Kerala=Thiruvananthapuram;Madhya Pradesh=Bhopal;Maharashtra=Mumbai;Manipur=Imphal;"
        "Meghalaya=Shillong;Mizoram=Aizawl;Nagaland=Kohima;Odisha=Bhubaneswar;Rajasthan=Jaipur;Sikkim=Gangtok;"
        "Tamil Nadu=Chennai;Telangana=Hyderabad;Tripura=Agartala;Uttar Pradesh=Lucknow;Uttarakhand=Dehradun;"
        "West Bengal=Kolkata"
    ),
    "BR": (
        "Acre=Rio Branco;Alagoas=Maceió;Amapá=Macapá;Amazonas, Brazil=Manaus;Bahia=Salvador;Ceará=Fortaleza;"
        "Espírito Santo=Vitória;Goiás=Goiânia;Maranhão=São Luís;Mato Grosso=Cuiabá;Mato Grosso do Sul=Campo Grande;"
        "Minas Gerais=Belo Horizonte;Paraná=Curitiba;Paraíba=João Pessoa;Pará=Belém;Pernambuco=Recife;"
        "Piauí=Teresina;Rio Grande do Norte=Natal;Rio Grande do Sul=Porto Alegre;Rondônia=Porto Velho;"
        "Roraima=Boa Vista;Santa Catarina=Florianópolis;Sergipe=Aracaju;Tocantins=Palmas"
    ),
    "MX": (
        "Baja California=Mexicali;Baja California Sur=La Paz;Chiapas=Tuxtla;Coahuila=Saltillo;"
        "Guerrero=Chilpancingo;Hidalgo=Pachuca de Soto;Jalisco=Guadalajara;State of Mexico=Toluca;"
        "Michoacán=Morelia;Morelos=Cuernavaca;Nayarit=Tepic;Nuevo León=Monterrey;Quintana Roo=Chetumal;"
        "Sinaloa=Culiacán;Sonora=Hermosillo;Tabasco=Villahermosa;Tamaulipas=Ciudad Victoria;"
        "Veracruz=Xalapa de Enríquez;Yucatán=Mérida"
    ),
    "AR": (
        "Chaco=Resistencia;Chubut=Rawson;Entre Ríos=Paraná;Jujuy=San Salvador de Jujuy;La Pampa=Santa Rosa;"
        "Misiones=Posadas;Río Negro=Viedma;Santa Cruz, Argentina=Río Gallegos;Tierra del Fuego=Ushuaia;"
        "Buenos Aires Province=La Plata"
    ),
    "JP": (
        "Aichi=Nagoya;Ehime=Matsuyama;Gunma=Maebashi;Hokkaido=Sapporo;Hyōgo=Kobe;Ibaraki=Mito;Ishikawa=Kanazawa;"
        "Iwate=Morioka;Kagawa=Takamatsu;Kanagawa=Yokohama;Mie=Tsu;Miyagi=Sendai;Okinawa=Naha;Shiga=Ōtsu;"
        "Shimane=Matsue;Tochigi=Utsunomiya;Yamanashi=Kofu"
    ),
    "NL": (
        "Drenthe=Assen;Flevoland=Lelystad;Friesland=Leeuwarden;Gelderland=Arnhem;Limburg=Maastricht;"
        "North Brabant='s-Hertogenbosch;North Holland=Haarlem;Overijssel=Zwolle;South Holland=The Hague;"
        "Zeeland=Middelburg"
    ),
    "NG": (
        "Abia State=Umuahia;Adamawa State=Yola;Akwa Ibom State=Uyo;Anambra State=Awka;Bayelsa State=Yenagoa;"
        "Benue State=Makurdi;Borno State=Maiduguri;Cross River State=Calabar;Delta State=Asaba;"
        "Ebonyi State=Abakaliki;Edo State=Benin City;Ekiti State=Ado-Ekiti;Imo State=Owerri;Jigawa State=Dutse;"
        "Kogi State=Lokoja;Kwara State=Ilorin;Nasarawa State=Lafia;Niger State=Minna;Ogun State=Abeokuta;"
        "Ondo State=Akure;Osun State=Osogbo;Oyo State=Ibadan;Plateau State=Jos;Rivers State=Port Harcourt;"
        "Taraba State=Jalingo;Yobe State=Damaturu;Zamfara State=Gusau"
    ),
    "CN": (
        "Anhui=Hefei;Fujian=Fuzhou;Gansu=Lanzhou;Guangdong=Guangzhou;Guangxi=Nanning;Guizhou=Guiyang;Hainan=Haikou;"
        "Hebei=Shijiazhuang;Heilongjiang=Harbin;Henan=Zhengzhou;Hubei=Wuhan;Hunan=Changsha;Inner Mongolia=Hohhot;"
        "Jiangsu=Nanjing;Jiangxi=Nanchang;Jilin=Changchun;Liaoning=Shenyang;Ningxia=Yinchuan;Qinghai=Xining;"
        "Shaanxi=Xi'an;Shandong=Jinan;Shanxi=Taiyuan;Sichuan=Chengdu;Tibet=Lhasa;Xinjiang=Ürümqi;Yunnan=Kunming;"
        "Zhejiang=Hangzhou"
    ),
    "PL": (
        "Greater Poland=Poznań;Lesser Poland=Kraków;Lower Silesia=Wrocław;Mazovia=Warsaw;Podlasie=Białystok;"
        "Pomerania=Gdańsk;Silesia=Katowice;Subcarpathia=Rzeszów;Warmia-Masuria=Olsztyn;West Pomerania=Szczecin;"
        "Świętokrzyskie=Kielce"
    ),
    "ZA": (
        "Eastern Cape=Bhisho;Free State=Bloemfontein;Gauteng=Johannesburg;KwaZulu-Natal=Pietermaritzburg;"
        "Limpopo=Polokwane;Mpumalanga=Mbombela;North West=Mahikeng;Northern Cape=Kimberley;Western Cape=Cape Town"
    ),
    "FR": (
        "Auvergne-Rhône-Alpes=Lyon;Bourgogne-Franche-Comté=Dijon;Brittany=Rennes;Centre-Val de Loire=Orléans;"
        "Corsica=Ajaccio;Grand Est=Strasbourg;Hauts-de-France=Lille;Normandy=Rouen;Nouvelle-Aquitaine=Bordeaux;"
        "Occitanie=Toulouse;Pays de la Loire=Nantes;Provence-Alpes-Côte d'Azur=Marseille;Île-de-France=Paris"
    ),
    "GB": "England=London;Northern Ireland=Belfast;Scotland=Edinburgh;Wales=Cardiff",
    "MY": (
        "Johor=Johor Bahru;Kedah=Alor Setar;Kelantan=Kota Bharu;Negeri Sembilan=Seremban;Pahang=Kuantan;"
        "Penang=George Town;Perak=Ipoh;Perlis=Kangar;Sabah=Kota Kinabalu;Sarawak=Kuching;Selangor=Shah Alam;"
        "Terengganu=Kuala Terengganu"
    ),
    "ID": (
        "Aceh=Banda Aceh;Bali=Denpasar;Banten=Serang;Central Java=Semarang;Central Kalimantan=Palangkaraya;"
        "Central Sulawesi=Palu;East Java=Surabaya;East Kalimantan=Samarinda;East Nusa Tenggara=Kupang;"
        "Lampung=Bandar Lampung;Maluku=Ambon;North Sulawesi=Manado;North Sumatra=Medan;Papua=Jayapura;"
        "Riau=Pekanbaru;South Kalimantan=Banjarbaru;South Sulawesi=Makassar;South Sumatra=Palembang;"
        "Southeast Sulawesi=Kendari;West Java=Bandung;West Kalimantan=Pontianak;West Nusa Tenggara=Mataram;"
        "West Sumatra=Padang"
    ),
    "IR": (
        "East Azerbaijan=Tabriz;Fars=Shiraz;Gilan Province=Rasht;Golestan=Gorgan;Hormozgan=Bandar Abbas;"
        "Khuzestan=Ahvaz;Kurdistan Province=Sanandaj;Lorestan Province=Khorramabad;Markazi=Arak;Mazandaran=Sari;"
        "North Khorasan=Bojnurd;Razavi Khorasan=Mashhad;Sistan and Baluchestan=Zahedan;"
        "South Khorasan Province=Birjand;West Azerbaijan=Urmia"
    ),
    "PK": "Balochistan=Quetta;Khyber Pakhtunkhwa=Peshawar;Punjab, Pakistan=Lahore;Sindh=Karachi",
    "CH": "Aargau=Aarau;Grisons=Chur;Thurgau=Frauenfeld;Ticino=Bellinzona;Valais=Sion;Vaud=Lausanne",
    "CO": (
        "Antioquia=Medellín;Atlántico=Barranquilla;Bolívar Department=Cartagena;Boyacá=Tunja;"
        "Caldas Department=Manizales;Caquetá=Florencia;Cauca Department=Popayán;Cesar Department=Valledupar;"
        "Chocó=Quibdó;Córdoba=Montería;Huila Department=Neiva;La Guajira Department=Riohacha;"
        "Magdalena Department=Santa Marta;Meta Department=Villavicencio;Nariño=Pasto;"
        "Norte de Santander Department=Cúcuta;Risaralda Department=Pereira;Santander Department=Bucaramanga;"
        "Sucre Department=Sincelejo;Tolima Department=Ibagué;Valle del Cauca Department=Cali"
    ),
    "VE": (
        "Aragua=Maracay;Carabobo=Valencia;Falcón=Coro;Lara=Barquisimeto;Miranda=Los Teques;Monagas=Maturín;"
        "Táchira=San Cristóbal;Zulia=Maracaibo;Portuguesa=Guanare"
    ),
    "PE": (
        "Ancash=Huaraz;La Libertad, Peru=Trujillo;Lambayeque=Chiclayo;Loreto=Iquitos;"
        "Madre de Dios=Puerto Maldonado;Ucayali=Pucallpa"
    ),
    "CL": (
        "Araucanía=Temuco;Atacama=Copiapó;Biobío=Concepción;Coquimbo Region=La Serena;"
        "Los Lagos Region=Puerto Montt;Los Ríos Region=Valdivia;Magallanes=Punta Arenas;Maule Region=Talca;"
        "Tarapacá=Iquique;Santiago Metropolitan Region=Santiago;O'Higgins Region=Rancagua;Aysén=Coyhaique"
    ),
    "SE": (
        "Blekinge=Karlskrona;Dalarna=Falun;Gotland=Visby;Halland=Halmstad;Jämtland=Östersund;Kronoberg=Växjö;"
        "Norrbotten=Luleå;Skåne=Malmö;Södermanland=Nyköping;Värmland=Karlstad;Västerbotten=Umeå;"
        "Västernorrland=Härnösand;Västmanland=Västerås;Västra Götaland=Göteborg;Östergötland=Linköping"
    ),
    "RU": (
        "Adygea=Maykop;Bashkortostan=Ufa;Buryatia=Ulan-Ude;Chechnya=Groznyy;Chuvashia=Cheboksary;"
        "Dagestan=Makhachkala;Karelia=Petrozavodsk;Komi Republic=Syktyvkar;Mari El=Yoshkar-Ola;Mordovia=Saransk;"
        "Primorsky Krai=Vladivostok;Sakha Republic=Yakutsk;Tatarstan=Kazan;Udmurtia=Izhevsk;Tuva=Kyzyl;"
        "Khakassia=Abakan;Kalmykia=Elista"
    ),
    "GR": (
        "Attica=Athens;Central Greece=Lamia;Central Macedonia=Thessaloníki;Crete=Heraklion;Epirus=Ioánnina;"
        "Thessaly=Lárisa;West Greece=Pátra"
    ),
    "KR": "Gyeonggi=Suwon;North Chungcheong=Cheongju-si;South Gyeongsang=Changwon;Gangwon=Chuncheon",
    "BE": "Wallonia=Namur",
    "CU": "Villa Clara Province=Santa Clara",
    "DK": (
        "Capital Region of Denmark=Hillerød;Central Jutland=Viborg;North Denmark=Aalborg;Southern Denmark=Vejle;"
        "Region Zealand=Sorø"
    ),
}
SUFFIX_WORDS = words("""
dollar pound franc krone krona króna peso real yuan yen won rupee rupiah dinar dirham riyal rial lira leu forint
zloty koruna denar dram lari manat tenge som ruble hryvnia shilling rand pula kwacha leone dalasi cedi naira birr
nakfa kwanza metical ariary escudo dobra ouguiya lilangeni loti quetzal lempira córdoba colón balboa sol boliviano
guaraní bolívar gourde florin guilder pataca baht kip riel dong ringgit kyat taka ngultrum rufiyaa afghani somoni
togrog tugrik sum paʻanga pa’anga tala vatu kina lek shekel convertible mark emalangeni
""")
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
