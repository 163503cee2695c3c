"""Corrections to the sources of the world-geography task: tables compiled by hand.

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
