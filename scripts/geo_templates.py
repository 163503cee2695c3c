"""The wordings of the world-geography task's questions, by the path they ask about (see geo_questions.py)."""

# One block per type: its path ("-" steps backwards), then wordings separated by "|"; those after "||" occur
# only in test. {x} is the topic with its article, {b} without; [one/many] follows the number of answers; a
# leading "~" marks a query as typed into a search box (lower case, no question mark).
TEMPLATES = """
# country.capital
What is the capital of {x}? | Which city is the seat of government of {x}? | ~capital of {b} | Name the capital city of {x}.
| What's {x}'s capital called? || From which city is {x} governed? | ~{b} capital city name
# -country.capital
Which country is governed from {x}? | {x} is the capital of which country? | ~{b} is capital of what country
| What country has {x} as its capital? | Name the country whose capital is {x}. || Whose national government sits in {x}?
| ~country with capital {b}
# country.largest_city
What is the largest city in {x}? | Which city in {x} has the most inhabitants? | ~biggest city in {b}
| Name the most populous city of {x}. | Where do more people live than in any other city of {x}?
|| What's the biggest town in {x} by population? | ~{b} most populated city
# country.borders
Which countries border {x}? | What countries are next to {x}? | ~{b} neighboring countries
| List the neighbours of {x}. | Which [country shares/countries share] a land border with {x}?
|| If you leave {x} by land, which countries can you step into? | ~what is on the other side of {b} borders
# country.currency
What's the money used in {x}? | Which currency do people in {x} pay with? | ~{b} currency
| What should I exchange my money for before a trip to {x}? | Name the legal tender of {x}.
|| What kind of cash do I need in {x}? | ~what money do they use in {b}
# country.official_language
What [is the official language/are the official languages] of {x}? | In which [language does/languages does] the state deal with citizens in {x}?
| ~official language {b} | Which [language has/languages have] official status in {x}? | Name the official [language/languages] of {x}.
|| What [language are laws/languages are laws] written in in {x}? | ~{b} official tongue
# country.spoken_language
Which languages are spoken in {x}? | What do people speak in {x}? | ~languages people speak in {b}
| What would I hear people talking in {x}? | List the main languages of {x}.
|| What are the major tongues heard in {x}? | ~what is spoken in {b}
# country.calling_code
What's the dialling code for {x}? | Which prefix do I dial to phone {x} from abroad? | ~{b} country code phone
| How do phone numbers from {x} start? | Tell me the international telephone prefix of {x}.
|| I want to call a friend in {x}: which digits come first? | ~dial {b} from overseas prefix
# -country.calling_code
Which [country has/countries have] the dialling code {x}? | A call came from a number starting with {x}; where is it from?
| ~{b} country code which country | Where do phone numbers begin with {x}? | Name the [country/countries] you reach by dialling {x}.
|| What part of the world uses {x} as telephone prefix? | ~who is calling from {b}
# country.internet_domain
What's the internet domain of {x}? | Which ending do websites from {x} have? | ~{b} top level domain
| How do web addresses registered in {x} end? | Tell me the country-code domain of {x}.
|| What comes after the last dot in a web address from {x}? | ~{b} website ending
# -country.internet_domain
Which country uses the internet domain {x}? | Websites ending in {x} come from which country? | ~{b} domain what country
| Where is a site with the suffix {x} registered? | Name the country behind the {x} ending.
|| My link ends in {x}; what country is that? | ~what country is {b}
# country.continent
Which continent is {x} on? | What continent is {x} part of? | ~{b} which continent
| On which landmass of the world would I look for {x}? | Name the continent where {x} lies.
|| To which continent do geographers count {x}? | ~what continent does {b} belong to
# country.subregion
In what part of its continent is {x}? | Which United Nations subregion includes {x}? | ~{b} subregion
| Where in the world is {x}, roughly? | To which part of the world is {x} counted in UN statistics?
|| What area of the globe is {x} grouped with? | ~{b} located in which part of world
# country.driving_side
Which side of the road do cars keep to in {x}? | On what side do people drive in {x}? | ~{b} drive on which side
| Where on the road do I have to keep when I rent a car in {x}? | Tell me the driving side of {x}.
|| Driving in {x}: which side should I stick to? | ~road side {b}
# country.iso_code
What's the two-letter code of {x}? | Which ISO abbreviation stands for {x}? | ~{b} iso code
| How is {x} abbreviated with two letters? | Give the alpha-2 code for {x}.
|| Which pair of letters means {x} in the ISO standard? | ~two letter abbreviation {b}
# -country.currency
Which [country uses/countries use] {x}? | Where can you pay with {x}? | ~countries that use {b}
| Where is {x} legal tender? | Name the [country whose/countries whose] money is {x}.
|| In which [country/countries] would I spend {x}? | ~{b} accepted where
# -country.official_language
In which [country is/countries is] {x} an official language? | Where does {x} have official status? | ~countries with {b} as official language
| Which [country has/countries have] made {x} a language of the state? | Name the [country/countries] with {x} as official tongue.
|| In what [country/countries] are laws published in {x}? | ~where is {b} official
# city.country
Which country is {x} in? | What country does {x} belong to? | ~{b} is in what country
| In which country would I find the city of {x}? | Name the country where {x} is located.
|| If I fly to {x}, what country do I arrive in? | ~where is {b} country
# city.region
Which state or province is {x} in? | What region does {x} belong to? | ~{b} is in which state or province
| In what part of its country is {x}? | Name the region {x} is located in.
|| Which administrative area includes {x}? | ~{b} located in what region
# city.time_zone
What time zone is {x} in? | Which time do the clocks in {x} follow? | ~time zone {b}
| What do they call the local time in {x}? | Tell me the time zone of {x}.
|| I need to set my watch for {x}; which zone is it? | ~{b} local time zone
# region.country
Which country is {x} in? | What country does {x} belong to? | ~{b} is in what country
| {x} is part of which country? | Name the country that has {x} as one of its regions.
|| In what country can one visit {x}? | ~where is {b}
# region.capital
What is the capital of {x}? | Which city is the seat of government of {x}? | ~capital of {b}
| Name the administrative centre of {x}. | In which city do the authorities of {x} sit?
|| From what city is {x} run? | ~{b} seat of government
# -region.capital
Which state or province has {x} as its capital? | {x} is the capital of which region? | ~{b} is capital of what state or province
| What region is run from {x}? | Name the region whose seat of government is {x}.
|| Of which part of its country is {x} the administrative centre? | ~region governed from {b}
# region.largest_city
What is the largest city in {x}? | Which city in {x} has the most inhabitants? | ~biggest city in {b}
| Name the most populous city of {x}. | Where in {x} do the most people live?
|| What's the biggest town in {x}? | ~most populated city {b}
# airport.city
Which city does {x} serve? | What city is {x} in? | ~{b} which city | Where do I end up if I land at {x}?
| Name the city that {x} belongs to. || Passengers who land at {x} are visiting which city? | ~{b} nearest city
# airport.iata_code
What is the three-letter code of {x}? | Which code is printed on luggage tags for {x}? | ~{b} iata code
| How is {x} abbreviated on a boarding pass? | Give the IATA code of {x}.
|| Which three letters do I type to book a flight to {x}? | ~{b} airport code
# airport.icao_code
What is the four-letter code of {x}? | Which ICAO code does {x} have? | ~{b} icao
| How do air traffic controllers abbreviate {x}? | Give the location indicator of {x}.
|| Which four letters do pilots use for {x}? | ~icao identifier {b}
# currency.code
What is the three-letter code for {x}? | How do banks abbreviate {x}? | ~{b} iso currency code
| Which abbreviation stands for {x} on exchange boards? | Give the ISO 4217 code of {x}.
|| Which three letters denote {x}? | ~{b} abbreviation
# language.writing_system
Which script is {x} written in? | What letters or characters are used to write {x}? | ~{b} alphabet
| What does written {x} use as its script? | Name the writing system of {x}.
|| If I want to read {x}, which script should I learn? | ~how is {b} written script
# language.group
Which group of languages does {x} belong to? | What kind of language is {x}? | ~{b} language family
| What branch do linguists put {x} in? | Name the group that {x} is part of.
|| To which relatives do linguists count {x}? | ~what type of language is {b}
# time_zone.utc_offset
How far from UTC is {x}? | What is the offset of {x} from Universal Time? | ~{b} utc offset
| How many hours ahead of or behind UTC is {x}? | Give the standard UTC offset of {x}.
|| By how much do clocks on {x} differ from UTC? | ~{b} difference to utc
# -country.subregion
Which countries make up {x} in UN statistics? | What countries are in {x}? | ~countries in {b}
| List the states of {x}. | Which nations lie in {x}? || What countries would a tour of {x} take in? | ~{b} list of countries
# country.borders > country.capital
What are the capitals of the countries next to {x}? | Name the capital of each neighbour of {x}. | ~capitals of countries bordering {b}
| From which cities are the neighbours of {x} governed? | Which capital cities lie just across the borders of {x}, one country over?
|| Which seats of government do the countries around {x} have? | ~capital cities of neighbors of {b}
# country.borders > country.currency
What money is used in the countries bordering {x}? | Which currencies do the neighbours of {x} have? | ~currencies of countries next to {b}
| If I cross the border out of {x}, what might I have to pay with? | Name the legal tender of the countries around {x}.
|| Which cash would I need in the lands next to {x}? | ~money in neighbors of {b}
# country.borders > country.official_language
Which languages are official in the countries bordering {x}? | What official languages do the neighbours of {x} have?
| ~official languages of countries next to {b} | In which languages do the states around {x} publish their laws?
| Name the official tongues of the countries adjoining {x}. || Which languages do authorities use just across the borders of {x}?
| ~what is official in countries neighboring {b}
# country.capital > city.time_zone
What time zone is the capital of {x} in? | Which time do clocks show in the capital of {x}? | ~time zone of {b} capital
| What is the local time called where the government of {x} sits? | Name the time zone of the city {x} is governed from.
|| I'm calling a ministry in the capital of {x}; which zone is it in? | ~local time capital of {b}
# country.currency > currency.code
What is the three-letter code for the money of {x}? | How do banks abbreviate what people in {x} pay with? | ~{b} currency code
| Which abbreviation do exchange boards use for the cash of {x}? | Give the ISO code of the legal tender in {x}.
|| When I send money to {x}, which currency abbreviation do I enter? | ~iso 4217 {b}
# country.official_language > language.writing_system
Which script is used to write the official language of {x}? | What letters are official documents in {x} printed in? | ~alphabet of {b} official language
| What does the state language of {x} look like on paper: in which script? | Name the writing system of whatever is officially spoken in {x}.
|| Which script should I learn to read the official tongue of {x}? | ~script for the official language in {b}
# country.official_language > language.group
Which group does the official language of {x} belong to? | What kind of language is official in {x}? | ~language family of {b} official language
| What branch do linguists put the official tongue of {x} in? | Name the language group that the state language of {x} is part of.
|| To what relatives is the official language of {x} counted? | ~{b} official language type linguistics
# city.country > country.capital
What is the capital of the country that {x} is in? | From which city is the country of {x} governed? | ~capital of country where {b} is
| {x} lies in a country with which capital? | Name the seat of government of the country {x} belongs to.
|| Which city runs the country in which {x} is found? | ~{b} country's capital
# city.country > country.currency
What money do I need in {x}? | Which currency do people in {x} pay with? | ~currency used in {b}
| I'm travelling to {x}; what kind of cash should I bring? | Name the legal tender in {x}.
|| What do shops in {x} take as payment? | ~what money do they use in {b}
# city.country > country.official_language
Which official language does the country of {x} have? | What language do the authorities in {x} officially use? | ~official language where {b} is
| In which language does the state address citizens in {x}? | Name the official tongue of the country {x} belongs to.
|| Which language has official standing in the land around {x}? | ~{b} country official tongue
# city.country > country.calling_code
What country prefix do I dial to call {x}? | How do phone numbers from {x} start, internationally? | ~dialing code for {b}
| I want to phone a hotel in {x} from abroad; which digits come first? | Give the international prefix for calls to {x}.
|| Which country code belongs in front of a number in {x}? | ~calling {b} from overseas
# city.country > country.driving_side
On which side of the road do people drive in {x}? | Which side do cars keep to in {x}? | ~{b} drive on which side
| I'm renting a car in {x}; where on the road do I keep? | Tell me the driving side in {x}.
|| Which side of the street does traffic use in {x}? | ~road side in {b}
# city.country > country.borders
Which countries border the one {x} is in? | What are the neighbours of the country that {x} belongs to? | ~countries next to the country of {b}
| {x} is in a country that shares land borders with which others? | List the countries adjoining the homeland of {x}.
|| By land, where can you go from the country around {x}? | ~neighbors of country where {b} is
# city.region > region.capital
What is the capital of the state or province {x} is in? | Which city is the administrative centre of the region of {x}? | ~capital of state or province where {b} is
| From which city is the region around {x} run? | Name the seat of government of the region {x} belongs to.
|| In what city do the regional authorities for {x} sit? | ~{b} regional capital
# city.time_zone > time_zone.utc_offset
How many hours is {x} from UTC in standard time? | What is the UTC offset of {x}? | ~{b} utc offset
| By how much do clocks in {x} differ from Universal Time? | Give the standard offset from UTC in {x}.
|| How far ahead of or behind UTC is {x}? | ~time in {b} vs utc
# airport.city > city.country
Which country is {x} in? | What country do I arrive in when I land at {x}? | ~{b} what country
| {x} is located in which country? | Name the country where {x} is. || Passport control at {x} is run by which country? | ~country of {b}
# airport.city > city.region
Which state or province is the city of {x} in? | What region is served by {x}? | ~{b} what state or province
| In what part of the country is the city that {x} serves? | Name the region of the city that uses {x}.
|| Landing at {x}, which state or province am I visiting? | ~region of {b}
# airport.city > city.time_zone
What time zone is {x} in? | Which local time do arrival boards at {x} show? | ~{b} time zone
| After landing at {x}, which zone do I set my watch to? | Tell me the time zone in the city of {x}.
|| Flight times at {x} are given in which zone? | ~local time zone at {b}
# region.country > country.capital
What is the capital of the country that {x} is part of? | From which city is the country around {x} governed? | ~national capital for {b}
| {x} belongs to a country with which capital? | Name the seat of the national government over {x}.
|| Which city rules the nation that includes {x}? | ~capital of country containing {b}
# region.country > country.currency
What money do people use in {x}? | Which currency do I need in {x}? | ~currency in {b}
| I'm visiting {x}; what do they pay with there? | Name the legal tender in {x}. || What kind of cash is good in {x}? | ~money used {b}
# region.capital > city.time_zone
What time zone is the capital of {x} in? | Which time do clocks show where {x} is governed from? | ~time zone of capital of {b}
| What is local time called in the administrative centre of {x}? | Name the time zone of the seat of government of {x}.
|| Which zone is the main city hall of government of {x} on? | ~{b} capital local time
# -country.capital > country.currency
What money is used in the country governed from {x}? | {x} is the capital of a country that pays with what? | ~currency of country with capital {b}
| Which currency does the government in {x} issue or accept? | Name the legal tender of the country whose capital is {x}.
|| What cash does the nation run from {x} use? | ~money of the country whose capital is {b}
# -country.currency > country.capital
What [is the capital of the country/are the capitals of the countries] using {x}? | In which capital [city/cities] do people pay with {x}?
| ~capital of country that uses {b} | From which [city is the country/cities are the countries] with {x} as money governed?
| Name the capital of each country where {x} is legal tender. || Which seats of government have {x} in their tills? | ~{b} country capital
# -country.official_language > country.capital
What [is the capital of the country/are the capitals of the countries] where {x} is official? | From which [city/cities] are states with {x} as official language governed?
| ~capitals of countries with official language {b} | Which capital [city lies/cities lie] in a country that recognises {x} as official?
| Name the capital of each country with {x} as a state language. || In which seats of government does {x} have official status? | ~{b} official capital cities
# -country.calling_code > country.capital
What is the capital of the country with the dialling code {x}? | A call comes from {x}: from which city is that country governed?
| ~capital of country code {b} | Phone numbers starting with {x} belong to a country with which capital? | Name the seat of government of the country you dial with {x}.
|| Which capital city has telephone numbers beginning with {x}? | ~{b} phone prefix country capital
# -country.internet_domain > country.currency
What money is used in the country with the web ending {x}? | Websites ending in {x} are from a country that pays with what?
| ~currency of country with domain {b} | Which currency would a local shop with a {x} address charge in? | Name the legal tender of the country behind {x}.
|| An online shop ends in {x}; what is the cash of its home country? | ~money of {b} domain country
# -country.subregion > country.capital
What are the capitals of the countries in {x}? | From which cities are the states of {x} governed? | ~capitals in {b}
| Name the capital of each country in {x}. | Which capital cities are there in {x}? || Which seats of government would a tour of {x} visit? | ~{b} capital cities
# airport.city > city.country > country.capital
What is the capital of the country where {x} is? | From which city is the country of {x} governed? | ~capital of country where {b} is
| I land at {x}; what is the capital of the country I'm in? | Name the seat of government of the country {x} is in.
|| Which capital rules the country that {x} stands in? | ~{b} country's capital
# airport.city > city.country > country.currency
What money do I need after landing at {x}? | Which currency do taxis outside {x} take? | ~currency at {b}
| I arrive at {x}; what do people there pay with? | Name the legal tender in the country of {x}.
|| What cash should be in my pocket when I walk out of {x}? | ~money to use at {b}
# airport.city > city.country > country.official_language
Which official language does the country of {x} have? | What language would an official at {x} use by law? | ~official language where {b} is
| Landing at {x}, I want to know the state language: what is it? | Name the official tongue of the country {x} is in.
|| Which language has official standing in the country I reach through {x}? | ~{b} country official tongue
# airport.city > city.region > region.capital
What is the capital of the state or province that {x} serves? | Which city is the administrative centre of the region around {x}? | ~capital of state or province of {b}
| Landing at {x}, which city governs the region I'm in? | Name the seat of government of the region where {x}'s city lies.
|| In which city do the regional authorities over {x} sit? | ~regional capital near {b}
# city.country > country.borders > country.capital
What are the capitals of the countries next to the one {x} is in? | {x} lies in a country whose neighbours have which capitals? | ~capitals of neighbors of the country of {b}
| From which cities are the countries bordering the homeland of {x} governed? | Name the capital of each country adjoining the one {x} belongs to.
|| Which seats of government do the countries around the land of {x} have? | ~capital cities next to country where {b} is
# city.country > country.currency > currency.code
What is the three-letter code for the money used in {x}? | How do banks abbreviate what people in {x} pay with? | ~currency code for {b}
| Which abbreviation do exchange offices use for cash from {x}? | Give the ISO code of the legal tender in {x}.
|| I'm sending money to {x}; which currency abbreviation do I enter? | ~iso 4217 code in {b}
# city.country > country.official_language > language.writing_system
Which script is used for the official language where {x} is? | What letters or characters are official documents in {x} printed in? | ~alphabet used officially in {b}
| Which writing does the state language in {x} use? | Name the writing system of the official tongue of the country {x} is in.
|| Which script should I learn to read official notices in {x}? | ~script on government signs {b}
# country.borders > country.capital > city.time_zone
Which time zones are the capitals of the countries next to {x} in? | What time do clocks show in the capitals of the neighbours of {x}? | ~time zones of capitals bordering {b}
| Name the time zones of the cities from which the neighbours of {x} are governed. | What is local time called in the capitals around {x}?
|| Governments next door to {x} sit in which time zones? | ~neighbors of {b} capitals local time
# country.borders > country.currency > currency.code
What are the three-letter codes for the money of the countries next to {x}? | How do banks abbreviate the currencies of the neighbours of {x}? | ~currency codes of countries bordering {b}
| Which abbreviations stand for the cash used just across the borders of {x}? | Give the ISO codes of the legal tender around {x}.
|| Money from the lands adjoining {x} has which abbreviations on exchange boards? | ~iso 4217 neighbors of {b}
# region.country > country.currency > currency.code
What is the three-letter code for the money used in {x}? | How do banks abbreviate what people in {x} pay with? | ~currency code in {b}
| Which abbreviation do exchange offices use for cash from {x}? | Give the ISO code of the legal tender in {x}.
|| I'm wiring money to {x}; which currency abbreviation do I enter? | ~iso 4217 code {b}
# region.country > country.borders > country.capital
What are the capitals of the countries next to the one {x} is part of? | {x} belongs to a country whose neighbours have which capitals? | ~capitals of neighbors of the country containing {b}
| From which cities are the countries bordering the nation of {x} governed? | Name the capital of each country adjoining the one {x} lies in.
|| Which seats of government do the neighbours of the country around {x} have? | ~capital cities next to country of {b}
# country.capital > city.time_zone > time_zone.utc_offset
How far from UTC is the capital of {x}? | What is the UTC offset in the capital of {x}? | ~utc offset capital of {b}
| By how many hours do clocks where {x} is governed from differ from UTC? | Give the standard offset from UTC in the capital of {x}.
|| How many hours ahead of or behind UTC does the government of {x} work? | ~{b} capital difference to utc
# -region.capital > region.country > country.currency
{x} is the capital of a region; what money does its country use? | What do people pay with in the country of which {x} is a regional capital? | ~currency of country with regional capital {b}
| Which currency is used in the country that has {x} as a state or provincial capital? | Name the legal tender of the nation one of whose regions is run from {x}.
|| A region is governed from {x}; what cash does its country use? | ~regional capital {b} national money
# -country.internet_domain > country.borders > country.capital
What are the capitals of the countries next to the one with the web ending {x}? | Websites ending in {x} come from a country whose neighbours have which capitals?
| ~capitals of neighbors of the {b} country | From which cities are the neighbours of the country behind {x} governed?
| Name the capital of each country bordering the one that uses {x} on the internet. || Which seats of government surround the home country of the {x} domain?
| ~{b} domain neighboring capitals
# -country.calling_code > country.currency > currency.code
What is the three-letter code for the money of the country with phone prefix {x}? | Numbers starting with {x} are from a country whose cash has which abbreviation?
| ~currency code of country dialed with {b} | How do banks abbreviate the money used where phone numbers begin with {x}?
| Give the ISO code of the legal tender in the country called with {x}. || A caller from {x} pays with money abbreviated how? | ~{b} dialing code iso 4217
# -country.currency > country.capital > city.time_zone
Which time zone is the capital of a country using {x} in? | What time do clocks show in the capital where people pay with {x}? | ~time zone of capital of country using {b}
| In which time zone is the seat of government of a country whose money is {x}? | Name the local time in the capital of a country where {x} is legal tender.
|| Governments that issue or use {x} work in which time zone? | ~{b} country capital local time
"""  # noqa: E501
