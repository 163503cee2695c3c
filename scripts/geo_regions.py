"""Names, capitals and selection of first-level divisions (US states, German Länder, …): tables compiled by hand.

Like `geo_facts.py`, they decide where the packages' data is silent, out of date or disputed. Countries go by ISO 3166
code.
"""

# Place names need their own apostrophes and dashes.

from geo_facts import words

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
