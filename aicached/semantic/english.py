"""
English, for the guards: see `Language` for what each table is.

Law: tables hold general English. A word that only a benchmark would need is left out.
"""

from __future__ import annotations

from .language import Language, groups, opposites, pairs

__all__ = ["ENGLISH"]

_CONTRACTIONS = {
    "what's": "what is", "whats": "what is", "who's": "who is", "whos": "who is", "where's": "where is",
    "wheres": "where is", "when's": "when is", "how's": "how is", "hows": "how is", "why's": "why is",
    "it's": "it is", "that's": "that is", "thats": "that is", "there's": "there is", "here's": "here is",
    "let's": "let us", "he's": "he is", "she's": "she is", "i'm": "i am", "im": "i am", "you're": "you are",
    "they're": "they are", "we're": "we are", "i've": "i have", "ive": "i have", "you've": "you have",
    "we've": "we have", "they've": "they have", "i'd": "i would", "you'd": "you would", "i'll": "i will",
    "you'll": "you will", "can't": "can not", "cannot": "can not", "cant": "can not", "won't": "will not",
    "wont": "will not", "don't": "do not", "dont": "do not", "doesn't": "does not", "doesnt": "does not",
    "didn't": "did not", "didnt": "did not", "isn't": "is not", "isnt": "is not", "aren't": "are not",
    "arent": "are not", "wasn't": "was not", "weren't": "were not", "haven't": "have not", "hasn't": "has not",
    "hadn't": "had not", "shouldn't": "should not", "shouldnt": "should not", "wouldn't": "would not",
    "couldn't": "could not", "mustn't": "must not", "needn't": "need not", "ain't": "is not",
    "gonna": "going to", "wanna": "want to", "gotta": "got to", "teh": "the", "wat": "what", "u": "you", "ur": "your",
    "r": "are", "pls": "please", "plz": "please", "thx": "thanks", "tel": "tell", "wiht": "with", "dose": "does",
    "adn": "and", "hte": "the", "waht": "what", "hwo": "how", "taht": "that", "yuor": "your", "thier": "their",
    "recieve": "receive", "seperate": "separate", "definately": "definitely", "wich": "which", "becuase": "because",
    "fro": "for", "od": "do", "si": "is", "ot": "to", "nto": "not", "cna": "can", "ia": "is",
}  # fmt: skip

_FRAMES = (
    "sorry if this is basic", "sorry if this is obvious", "sorry for the basic question", "sorry to bother you",
    "quick question", "quick one", "simple question", "dumb question", "stupid question", "silly question",
    "just curious", "just wondering", "out of curiosity", "for my exam tomorrow", "for my exam", "for a friend",
    "thank you so much", "thank you very much", "thanks so much", "thanks a lot", "thanks a bunch", "many thanks",
    "thank you", "thanks in advance", "thanks", "if you do not mind", "if possible", "when you get a chance",
    "would you mind telling me",
    "i was wondering if you could", "i was wondering", "i am wondering", "i wonder", "i would like to know",
    "i would love to know", "i want to know", "i need to know", "i am trying to understand", "i keep hearing about",
    "i am trying to figure out", "i am trying to find out", "i am not sure", "because i am new to this",
    "i am new to this", "as a beginner", "in simple words", "in your opinion", "do you know", "do you happen to know",
    "does anyone know", "does anybody know", "any idea", "any ideas", "any tips for", "any advice for", "any tips on",
    "any advice on", "could you kindly", "would you kindly", "would you mind", "could you please", "can you please",
    "would you please", "will you please", "could you", "would you", "can you", "will you", "kindly", "please",
    "tell me about", "tell me", "let me know", "help me understand", "help me to", "help me", "walk me through",
    "show me how to", "show me how", "explain to me", "explain me", "give me an explanation of", "teach me",
    "basically", "actually", "exactly", "simply", "just",
)  # fmt: skip

_OPENERS = (
    "good morning", "good afternoon", "good evening", "good day", "hello there", "hi there", "hey there", "hi", "hello",
    "hey", "ok", "okay", "um", "so", "well", "dear", "cheers",
)  # fmt: skip

_PLAIN = """
a an the this that these those some any all each every such own same other another
i me my mine we us our you your yours he him his she her it its they them their one ones someone somebody anyone
people person everyone something anything thing things stuff
is am are was were be been being do does did done doing have has had having get gets got getting gotten
can could may might must shall should will would ought going go goes
what which who whom whose when where why how whether if
to of in on at for with by from as into onto about around through per via within upon over
and or but then than so because since while though although also too very really quite even still yet
there here now today currently please right exactly
want wants wanted wanting need needs needed needing like wish try trying tried know knowing
make makes making made let lets use uses used using take takes took taking give gives gave giving
way ways method methods step steps process procedure approach
explain describe tell show list say define definition meaning mean means meant
ever actually just only mostly usually normally typically generally roughly approximately simply certain
help advice tip tips idea ideas figure find out work works telling sure
kind kinds sort sorts type types bit lot lots much many more
anyone possible able go come comes keep keeps
up down out off back away along few several most become becomes became feel feels felt happen happens
no not never none appear appears seem seems
vs versus between difference differences different differ differs compare compared comparison
main correct proper properly good best better well great greatest top ideal recommended
question answer example examples called
""".split()

_SYNONYMS = groups("""
delete remove erase discard uninstall
begin start commence
end finish conclude
quit exit leave resign
buy purchase acquire
large big huge enormous sizable
largest biggest greatest
small little tiny
quick fast rapid speedy quickly
slow sluggish slowly
repair fix mend troubleshoot resolve
create build construct generate produce
obtain receive
combine merge
choose select pick
show display
verify check inspect
convert turn transform
require need
happen occur exist
cause reason trigger
allow permit let enable
stop halt cease prevent avoid evade
movie film
phone cellphone mobile smartphone cell
car automobile
doctor physician
picture photo photograph image pic
kid child children kids
man men guy fellow dude
woman women lady
job occupation profession employment career
cost price charge fee
pay salary wage earnings compensation
money cash
important significant crucial essential relevant
famous popular
sad unhappy upset
happy glad
angry mad
smart intelligent clever wise
easy simple easily
hard difficult tough
error mistake
problem issue trouble
answer reply response
ask inquire request
talk speak
travel trip journey
vacation holiday
home house
country nation
company firm corporation
employee worker staff
student pupil
teacher instructor
university college
school academy
exam test
book novel
website site webpage blog
app application
program software
folder directory
dictionary dict
database db
config configuration
repository repo
parameter argument
environment env
javascript js
typescript ts
python py
kubernetes k8s
postgres postgresql
authentication auth
password passcode
login signin
wi-fi wifi wireless
email e-mail
store shop
restaurant eatery
food meal
sickness illness disease ailment
symptom sign
cure remedy
medicine drug medication
exercise workout
reduce decrease lower shrink lessen cut diminish minimize
increase raise boost grow rise
improve enhance better
effect impact consequence result outcome influence
advantage benefit pro upside
disadvantage drawback con downside
replace substitute swap
rename relabel
restart reboot
install setup
open launch
close shut
near nearby
enable activate
disable deactivate
lock freeze
undo revert
copy duplicate
send transmit
learn study
teach instruct
understand comprehend
believe think
love like adore
hate dislike
necessary mandatory required
free complimentary gratis
maximum max highest
minimum min lowest
total overall sum
amount quantity
length duration
usa america american
uk britain british
dollar dollars usd buck
percent percentage
colour color
flavour flavor
centre center
metre meter
litre liter
fibre fiber
tyre tire
grey gray
programme program
licence license
practise practice
adaptor adapter
favourite favorite
behaviour behavior
neighbour neighbor
labour labor
honour honor
aluminium aluminum
defence defense
aeroplane airplane plane
mum mom mother
dad father
luggage baggage
tv television
fridge refrigerator
yearly annual annually
daily everyday
maintenance upkeep
dispute contest
newest latest
period span
safe safely
view see watch
appear seem
vibrate shake
blocked clogged
inside indoors
currently presently
eat consume ingest
rude tactless impolite
amazing awesome incredible wonderful fantastic mind-blowing astonishing stunning
weird strange odd unusual bizarre
scary frightening terrifying creepy
funny hilarious humorous
boring dull tedious
cute adorable
tasty delicious yummy
dirty filthy
tired exhausted
sick ill
afraid scared
crazy insane
stupid dumb foolish
real genuine authentic
correct accurate
entire whole complete
various multiple several
common typical usual
rare uncommon
possible feasible
sufficient enough adequate
suitable appropriate
useful helpful handy
efficient effective
modern contemporary
often frequently
rarely seldom
maybe perhaps possibly
about approximately roughly around
hire recruit employ
fire dismiss
destroy demolish
damage harm
hurt injure
recover restore retrieve regain
achieve accomplish attain
attempt try
assist help aid
handle deal manage cope
participate join
provide supply offer
discover find
examine analyze analyse investigate
calculate compute determine
predict forecast
modify alter edit adjust
forbid ban prohibit
reach contact
respond react
reject refuse decline
recommend suggest advise propose
shout yell
reside live dwell
smell odor odour
throw toss
utilize utilise
vanish disappear
attractive handsome gorgeous
infant baby
friend buddy pal
boss supervisor
coworker colleague
customer client
lawyer attorney
cop policeman
president presidency
author writer
scientist researcher
actor actress
expert specialist
beginner novice newbie
task assignment chore
skill ability
goal aim objective
tool instrument
device gadget
equipment gear
trash garbage rubbish waste
couch sofa
bathroom restroom toilet
apartment flat
elevator lift
road street
bike bicycle cycle
truck lorry
gas petrol gasoline
shoe footwear
pants trousers
dish cuisine
candy sweets
dessert pudding
cookie biscuit
chips crisps
belly stomach abdomen tummy
injury wound
flu influenza
fear phobia
happiness joy
sorrow sadness grief
luck fortune
chance opportunity
rule regulation
law legislation
marriage wedding
gift present
story tale
drawing sketch
video clip
topic subject
difference distinction
feature characteristic trait
piece fragment
value worth
unemployed jobless
grade score marks
laptop notebook
virus malware
signup register enroll
internet web
""")

#: Sides of a line exclude each other; a word of one side and a word of another make two questions.
_OPPOSITES = opposites("""
on | off
up upward upwards | down downward downwards
in inside inner inbound indoor indoors | out outside outer outbound outdoor outdoors
before prior earlier pre | after afterwards later post following
above over | below under beneath underneath
with | without
left | right
first initial | last final
front | back rear
top | bottom
high higher highest | low lower lowest
more most greater increased | less least fewer fewest
maximum max maximal | minimum min minimal
many | few
always | never sometimes rarely
all every | none
before | during | after
good great best | bad worst terrible worse
better improve | worse worsen
big large biggest largest huge | small little tiny smallest
long longer longest | short shorter shortest
tall taller tallest | short shorter shortest
fast faster fastest quick quickly | slow slower slowest slowly
early earliest sooner | late latest later
old older oldest | new newer newest young younger youngest modern
hot hotter hottest warm | cold colder coldest cool
wet humid damp moist | dry arid
hard difficult harder | easy simple easier
heavy heavier | light lighter
light bright | dark dim
thick | thin
wide broad | narrow
deep | shallow
strong stronger | weak weaker
rich wealthy | poor
cheap cheapest affordable inexpensive | expensive priciest costly luxury
full | empty
open opened opening | close closed closing shut
enable enabled enabling activate | disable disabled disabling deactivate
allow allowed permit enable | forbid forbidden deny block blocked prohibit ban
start begin starting beginning started | stop end finish stopping ending quit
increase raise rise grow boost | decrease reduce lower fall drop shrink
increasing rising | decreasing falling reducing dropping
gain gaining | lose losing lost
gain profit | loss
win won winning | lose lost losing
buy buying purchase bought | sell selling sold | rent renting lease leasing
lend lending lender loan | borrow borrowing borrower
deposit deposits depositing | withdraw withdrawal withdrawing
debit | credit
income revenue earnings | expense deduction expenses cost
gross | net
asset assets | liability liabilities
import importing imported | export exporting exported
upload uploading | download downloading
push | pull
send sending sent | receive receiving received
lock locked | unlock unlocked
install installing | uninstall uninstalling remove
add adding insert append | remove delete subtract removing deleting
attach connect join connected connecting | detach disconnect separate disconnected disconnecting
include including included | exclude excluding excluded except
accept accepted accepting approve | reject rejected decline declined refuse
encrypt encryption encode encoding compress | decrypt decryption decode decoding decompress
show visible display | hide hidden invisible
remember | forget
save saving | spend spending
attack offense offensive | defend defense defensive
teach teaching teacher | learn learning student
marry married marriage | divorce divorced single
arrive arrival arriving | depart departure departing leave leaving
enter entry entrance | exit leave
ascend ascending climb | descend descending
expand expansion | contract contraction
inflate inflation | deflate deflation
advantage advantages benefit benefits | disadvantage disadvantages drawback drawbacks risks
pros strengths | cons weaknesses
success successful succeed | failure fail failed unsuccessful
positive | negative
true | false
right correct | wrong incorrect
safe | dangerous unsafe risky
legal lawful | illegal unlawful
public | private
local | remote global foreign
internal | external
lose lost losing | find found finding
love loves loving | hate hates hating dislike
hard | soft
bullish | bearish
bull | bear
international foreign abroad overseas | domestic national
now current currently | formerly previously
male man men boy boys | female woman women girl girls
husband father dad son brother | wife mother mom daughter sister
he him his king | she her queen
mens | womens
adult adults grown | child children kid kids baby infant toddler newborn teenager
alive living live | dead death die dying
birth born | death die died
day morning daytime | night evening nighttime
weekday weekdays | weekend weekends
today | tomorrow | yesterday
next upcoming future | last previous past
summer | winter | spring | autumn fall
north northern | south southern | east eastern | west western
horizontal horizontally | vertical vertically
row rows | column columns
width | height | depth
area | volume | perimeter
client clients | server servers
frontend | backend
synchronous sync | asynchronous async
static | dynamic
mutable | immutable
input | output
source | destination target
serialize | deserialize
read reading | write writing
hardware | software
manual manually | automatic automatically
analog | digital
wired | wireless
parent | child
major | minor
single one | multiple several double
singular | plural
single | married
temporary temporarily | permanent permanently
fixed | variable adjustable floating
short-term | long-term
long | short
primary main | secondary
basic standard regular normal | premium advanced deluxe business student
gold | platinum | silver | bronze
checking | savings
cooked | raw uncooked
fresh | frozen canned dried stale
fridge refrigerator | freezer
salt salty | sugar sweet
sweet | sour bitter
inhale | exhale
hyper | hypo
acute | chronic
benign | malignant
breakfast | lunch | dinner
flammable | nonflammable
conductor | insulator
acid acidic | base basic alkaline
theory theoretical | practice practical
guilty | innocent
landlord | tenant
seller | buyer
winner | loser
offline | online
active | inactive passive
abstract | concrete
objective | subjective
quantitative | qualitative
formal | informal
mandatory required compulsory | optional voluntary
owe owed | refund refunded
realized | unrealized
insured | uninsured
waive waived | charge charged
covered cover covers | excluded exclude
taxable | deductible tax-free exempt
eligible | ineligible
available | unavailable
soluble | insoluble
""")

_FORMS = """
detailed detail depth brief briefly short summary summarize summarise overview outline essay paragraph
poem haiku sonnet snippet bullet bullets timeline diagram tutorial proof derive derivation
beginner beginners layman expert experts
alternatives limitations origin etymology pronunciation translation
""".split()

_LINKS = frozenset(
    "from to into onto than by of for over under on in at with without before after during against instead as per "
    "about when while if where until since near through via using without within".split()
)

ENGLISH = Language(
    frames=_FRAMES,
    openers=_OPENERS,
    contractions=_CONTRACTIONS,
    plain=frozenset(_PLAIN) | _LINKS,
    asks=frozenset("what which who whom whose when where why how".split()),
    light=frozenset(
        "a an the my your this that these those some any i you we one it its our their do does did is are was were be "
        "can could should would will want wants wanted need needs trying mean means meant meaning definition define "
        "explain describe appear appears seem seems actually currently".split()
    ),
    intros=frozenset("explain describe tell show know understand see wonder asking".split()),
    fillers=frozenset(
        "help have has had having go goes going get gets getting got doing done like please tell telling know try then "
        "here there so also too very really quite even still just ever exactly properly sure".split()
    ),
    articles=frozenset(["a", "an", "the"]),
    links=_LINKS,
    joins=frozenset("and or vs versus nor but between".split()),
    negations=frozenset("not no never without none neither nor unable hardly".split()),
    harmless=("or not", "not only", "why not", "no longer", "no matter", "no doubt", "not sure", "if not", "no one"),
    numbers={
        word: number
        for number, word in enumerate(
            "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen "
            "seventeen eighteen nineteen twenty".split()
        )
    }
    | dict(zip("thirty forty fifty sixty seventy eighty ninety".split(), range(30, 100, 10), strict=True))
    | dict(zip("second third fourth fifth sixth seventh eighth ninth tenth".split(), range(2, 11), strict=True))
    | {"dozen": 12, "twice": 2, "double": 2, "triple": 3, "couple": 2},
    scales={"hundred": 100, "thousand": 1000, "million": 10**6, "billion": 10**9, "trillion": 10**12},
    units=groups("""
        km kilometer kilometers kilometre kilometres kms
        m meter meters metre metres
        cm centimeter centimeters centimetre centimetres
        mm millimeter millimeters millimetre millimetres
        mile miles mi
        foot feet ft
        inch inches
        yard yards
        kg kilogram kilograms kilo kilos
        g gram grams
        mg milligram milligrams
        mcg microgram micrograms
        lb lbs pound pounds
        oz ounce ounces
        stone
        ton tons tonne tonnes
        liter liters litre litres
        ml milliliter milliliters millilitre
        gallon gallons gal
        pint pints
        cup cups
        teaspoon teaspoons tsp
        tablespoon tablespoons tbsp
        celsius c centigrade
        fahrenheit f
        kelvin k
        second seconds sec secs
        minute minutes min mins
        hour hours hr hrs hourly
        day days daily
        week weeks weekly
        month months monthly
        year years yearly annually annual
        decade decades
        century centuries
        usd dollar dollars $
        eur euro euros €
        gbp sterling £
        jpy yen
        inr rupee rupees
        cny yuan rmb
        cad
        aud
        chf
        cent cents
        byte bytes
        kb kilobyte kilobytes
        mb megabyte megabytes
        gb gigabyte gigabytes
        tb terabyte terabytes
        bit bits
        kbps
        mbps
        gbps
        mph
        kph kmh
        psi
        bar
        watt watts w
        kw kilowatt kilowatts
        kwh
        volt volts v
        amp amps ampere amperes
        hz hertz
        mhz
        ghz
        calorie calories kcal
        joule joules
        iu
        mmol/l
        mg/dl
        acre acres
        hectare hectares
        am
        pm
        utc gmt
        est
        edt
        cst
        cdt
        pst
        pdt
        percent %
    """),
    synonyms=_SYNONYMS,
    opposites=_OPPOSITES,
    prefixes=("un", "in", "im", "il", "ir", "dis", "non", "non-", "mis", "de", "anti", "anti-"),
    endings=(("less", "ful"), ("less", ""), ("proof", ""), ("-free", ""), ("free", "")),
    confusable=pairs("""
        causal casual
        trail trial
        angel angle
        quiet quite
        martial marital
        contract contact
        palace place
        desert dessert
        later latter
        planed planned
        diner dinner
        perfect prefect
        united untied
        form from
        scared sacred
        silver sliver
        conversation conservation
        brain brian
        unionized ionized
        complement compliment
        dairy diary
        bread beard
        calm clam
        lion loin
        salve slave
        expensive expansive
        security securities
        woman women
        breath breathe
        clothes cloths
        corporation cooperation
        stationary stationery
        morale moral
        hopping hoping
        tapped taped
        starring staring
        commuter computer
        president precedent
        interstate intestate
        threat treat
        through though
        friend fiend
        country county
        cereals serials
        startle starlet
        sweat sweet
    """),
    forms=frozenset(_FORMS),
    moments=frozenset("yesterday today tomorrow tonight last next previous upcoming current past future".split()),
    kinds=(
        ("how do", "method"),
        ("how can", "method"),
        ("how to", "method"),
        ("how should", "method"),
        ("how would", "method"),
        ("how did", "method"),
        ("how might", "method"),
        ("how much", "amount"),
        ("how many", "count"),
        ("how long", "duration"),
        ("how often", "frequency"),
        ("how far", "distance"),
        ("how old", "age"),
        ("how big", "size"),
        ("how tall", "size"),
        ("why", "reason"),
        ("when", "time"),
        ("where", "place"),
        ("who", "person"),
        ("whom", "person"),
    ),
    spans=frozenset(
        "time second seconds minute minutes hour hours day days week weeks month months year years".split()
    ),
    volatile=(
        "right now",
        "just now",
        "as of now",
        "as of today",
        "at the moment",
        "at this moment",
        "currently",
        "today",
        "today's",
        "tonight",
        "tonight's",
        "tomorrow",
        "tomorrow's",
        "yesterday",
        "yesterday's",
        "this morning",
        "this afternoon",
        "this evening",
        "this week",
        "this weekend",
        "this month",
        "this year",
        "last night",
        "last week",
        "last month",
        "next week",
        "next month",
        "latest news",
        "breaking news",
        "so far today",
        "up to date",
        "real time",
        "real-time",
        "live score",
        "live scores",
        "what time is it",
        "what day is it",
        "the current",
        "my current",
        "most recent",
        "the latest",
        "current price",
        "stock price",
        "exchange rate",
        "weather in",
        "the weather",
        "forecast for",
        "in stock",
        "open now",
        "near me",
        "nearby",
        "still open",
        "trending",
    ),
    possessive=frozenset(
        "balance order orders transaction transactions statement invoice subscription appointment appointments "
        "schedule calendar inbox location flight booking reservation delivery package shipment payment payments "
        "score usage bill queue cart portfolio".split()
    ),
    general=frozenset("how can could should why does do if will would limit maximum minimum".split()),
    orders=frozenset(
        "cancel close open send transfer move pay buy sell book schedule reserve order submit update upgrade downgrade "
        "delete remove add reset change lock unlock block unblock freeze unfreeze stop start pause "
        "resume enable disable activate deactivate turn switch increase decrease raise lower dispute file "
        "refund return ship deliver email remind notify subscribe unsubscribe sign register "
        "deploy restart reboot execute approve reject withdraw deposit invite "
        "upload download install uninstall renew ".split()
    ),
    pointers=frozenset("it that this them those these one he she him her they there".split()),
)
