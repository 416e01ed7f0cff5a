"""What words mean in captions: plain lists, made by reading the captions of Flickr8k's training photos. Knows no grammar.

A line "name: words" says that each of the words (singular) stands for the name; the name stands for itself.
"""

from __future__ import annotations


def table(lines: str) -> dict[str, str]:
    """Word -> name, of lines "name: words"; words of more than one part are written with underscores."""
    names = {}
    for line in filter(None, map(str.strip, lines.splitlines())):
        name, _, words = line.partition(":")
        for word in (name, *words.split()):
            names[word.replace("_", " ")] = name.replace("_", " ")
    return names


ANIMALS = table("""
    dog: puppy pup hound greyhound poodle terrier retriever labrador lab collie beagle doberman rottweiler dachshund
    dog: chihuahua spaniel bulldog pitbull pit_bull german_shepherd golden_retriever sheepdog husky boxer_dog mutt pug
    dog: dalmatian corgi pomeranian weimaraner setter canine doggy border_collie black_lab yellow_lab boston_terrier
    dog: sheep_dog great_dane saint_bernard st_bernard wiener_dog
    cat: kitten kitty
    horse: pony mare stallion colt bronco
    cow: cattle calf
    bull: steer
    bird: seagull gull pigeon parrot hawk eagle owl pelican crow sparrow hummingbird heron flamingo crane_bird rooster
    bird: chicken turkey peacock penguin
    duck: mallard duckling
    swan:
    goose:
    sheep: lamb
    goat:
    camel:
    elephant:
    monkey: chimpanzee ape gorilla
    deer: elk moose reindeer
    bear: polar_bear
    pig:
    rabbit: bunny
    squirrel:
    tiger:
    lion:
    fish: shark
    dolphin:
    seal:
    turtle: tortoise
    snake:
    lizard: iguana
    frog:
    crab:
    butterfly:
    bee:
    donkey:
    llama:
    zebra:
    giraffe:
    kangaroo:
    ox:
    fox:
    wolf:
    otter:
    crocodile: alligator
    ferret:
    animal: creature pet critter
""")

# Of people: the name in answers; who is what follows in SEX and AGE.
PEOPLE = table("""
    man: guy gentleman businessman male fellow dude fisherman cowboy policeman fireman groom father dad grandfather monk
    man: cameraman batsman repairman lumberjack bagpiper santa
    woman: lady female businesswoman bride mother mom grandmother gal cowgirl waitress bridesmaid actress
    boy: son lad
    girl: daughter schoolgirl ballerina
    child: kid toddler youngster schoolchild
    baby: infant newborn
    person: adult someone individual human figure somebody
    people: crowd audience spectator onlooker pedestrian bystander passerby family adult_couple
    teenager: teen youth
    player: footballer goalie catcher pitcher batter quarterback teammate opponent linebacker goaltender goalkeeper
    cyclist: biker bicyclist bike_rider bicycle_rider bmxer bmx_rider
    motorcyclist: motorcycle_rider dirt_biker motorcross_rider motocross_rider
    rider: jockey racer driver
    skateboarder: skater boarder
    rollerblader: inline_skater
    snowboarder:
    skier:
    surfer: windsurfer
    climber: rock_climber mountaineer
    hiker: backpacker
    runner: jogger sprinter
    swimmer:
    diver: scuba_diver snorkeler
    kayaker: rafter canoeist rower
    wrestler: sumo_wrestler boxer
    dancer:
    gymnast: acrobat
    cheerleader:
    musician: singer guitarist drummer violinist band_member performer
    officer: police_officer soldier cop guard firefighter policewoman
    worker: construction_worker workman
    athlete: hurdler jumper
    photographer:
    clown:
    student:
    referee: umpire
    vendor:
    friend: companion buddy
    tourist:
""")

TITLES = {"man", "woman", "boy", "girl", "child", "baby"}
SEX = {"man": "m", "boy": "m", "woman": "f", "girl": "f"}
AGE = {"man": "old", "woman": "old", "boy": "young", "girl": "young", "child": "young", "baby": "young"}
IN_PLAIN_WORDS = {"man", "woman", "boy", "girl", "child", "baby", "person", "people"}
MANY_PEOPLE = {"people", "crowd", "audience", "family", "cattle"}

VEHICLES = table("""
    bike: bicycle bmx mountain_bike bmx_bike dirtbike_bicycle tandem_bicycle
    motorcycle: motorbike dirt_bike dirtbike moped motocross_bike
    car: taxi cab suv jeep sedan race_car racecar limousine limo minivan convertible sports_car police_car
    truck: pickup pickup_truck lorry fire_truck firetruck dump_truck monster_truck
    bus: double_decker school_bus
    van: rv camper
    train: locomotive subway_train
    tram: trolley streetcar
    boat: rowboat sailboat motorboat speedboat ship yacht ferry fishing_boat
    canoe:
    kayak:
    raft:
    airplane: plane jet aircraft
    helicopter:
    atv: four_wheeler quad four-wheeler
    scooter:
    tricycle:
    unicycle:
    tractor:
    carriage: buggy horse-drawn_carriage
    wagon: cart
    ambulance:
    snowmobile:
    go-cart: go-kart
    jet_ski: jetski
    vehicle:
""")

RIDDEN = table("""
    skateboard:
    surfboard: surf_board windsurf_board boogie_board
    snowboard:
    sled: sledge toboggan
    horse:
    camel:
    elephant:
    bull:
    wave:
    roller_coaster: rollercoaster
    swing: tire_swing
    slide: water_slide
    carousel: merry-go-round
    escalator:
    donkey:
    innertube: inner_tube tube
    skis: ski
    wheelchair:
""")

GARMENTS = table("""
    shirt: t-shirt tee-shirt tee tshirt tank_top blouse top sweatshirt polo_shirt
    jacket: coat parka blazer windbreaker raincoat leather_jacket
    sweater: sweatshirt_hoodie cardigan pullover
    hoodie:
    vest: life_vest life_jacket lifejacket
    dress: gown sundress wedding_dress
    skirt: tutu kilt
    pants: trousers jeans sweatpants blue_jeans overalls slacks jean khakis leggings
    shorts: swim_trunks swimming_trunks trunks swim_shorts
    hat: cowboy_hat sombrero straw_hat santa_hat beanie beret top_hat hardhat hard_hat
    cap: baseball_cap
    helmet:
    glasses: eyeglasses
    sunglasses: sunglass
    goggles: goggle ski_goggles
    mask:
    scarf:
    headscarf: turban
    bandanna: bandana
    headband: sweatband
    wig:
    gloves: glove mittens mitten
    shoes: shoe sneakers sneaker sandals sandal boots boot heels flip_flops
    socks: sock stockings
    rollerblades: rollerblade roller_skates inline_skates roller_blades
    skates: ice_skates skate
    skis:
    uniform: baseball_uniform football_uniform soccer_uniform
    jersey:
    costume:
    suit: business_suit tuxedo
    swimsuit: bathing_suit bikini swimming_suit
    wetsuit: wet_suit
    snowsuit: ski_suit
    outfit: attire clothes clothing garb
    robe: kimono
    apron:
    tie: necktie bow_tie
    necklace: beads
    backpack: bookbag knapsack
    headphones: earphones
    harness:
    collar:
    muzzle:
    pajamas:
    cape:
    mohawk_wig:
    crown: tiara
    veil:
    speedo:
    sash:
    bib:
    leash:
""")
"""Worn by people or dogs."""

WORN_ON_HEAD = {"hat", "cap", "helmet", "bandanna", "headband", "headscarf", "wig", "crown", "veil", "hoodie"}
WORN_ON_EYES = {"glasses", "sunglasses", "goggles"}
WORN_BY_DOGS = {"collar", "muzzle", "harness", "vest", "leash", "jersey", "sweater", "costume", "hat", "scarf", "bandanna"}
PAIRS = {
    "pants", "shorts", "glasses", "sunglasses", "goggles", "gloves", "shoes", "socks", "rollerblades", "skates", "skis",
    "headphones", "pajamas",
}  # fmt: skip
"""Garments that are named in the plural."""

PLACES = table("""
    beach: shore seashore seaside shoreline
    ocean: sea
    lake:
    river: rapids
    stream: creek brook
    pond:
    pool: swimming_pool wading_pool kiddie_pool
    waterfall:
    fountain:
    park:
    skate_park: skatepark
    playground:
    street: intersection crosswalk avenue
    road: highway dirt_road roadway
    sidewalk: pavement
    parking_lot:
    city: downtown
    alley:
    bridge:
    forest: woods jungle
    field: meadow pasture cornfield
    lawn:
    yard: backyard
    garden:
    mountain: mountainside mountaintop
    hill: hillside
    cliff:
    desert: dune sand_dune
    cave:
    path: trail pathway
    racetrack: race_track
    stadium: arena
    gym: gymnasium
    court: basketball_court tennis_court
    baseball_field: baseball_diamond
    football_field:
    soccer_field:
    rink: ice_rink skating_rink hockey_rink
    slope: ski_slope
    stage:
    store: shop supermarket grocery_store bookstore
    market: marketplace
    restaurant: cafe
    kitchen:
    bedroom:
    bathroom:
    living_room:
    classroom:
    office:
    library:
    museum:
    subway: subway_station train_station
    amusement_park: fair carnival
    dock: pier boardwalk
    farm:
    zoo:
    airport:
    track:
    hallway:
    courtyard: plaza
    church:
    rodeo:
    construction_site:
    campsite: campground
""")
INDOOR = {
    "gym", "store", "restaurant", "kitchen", "bedroom", "bathroom", "living room", "classroom", "office", "library",
    "museum", "hallway", "church",
}  # fmt: skip

TERRAIN = table("""
    grass: lawn
    snow:
    sand:
    water: river lake ocean sea pond pool stream creek puddle
    mud:
    dirt:
    ice:
    rocks: rock boulder
    leaves: leaf
    gravel:
    concrete: cement pavement
    carpet: rug
    hay: straw
    road: street
    sidewalk:
    path: trail pathway
    field:
    hill:
    beach:
""")
"""What one runs over, through or stands on."""

WITHIN = {  # how a place is spoken of where somebody is in it or on it
    name: f"{preposition} the {name}"
    for preposition, names in {
        "in": """water snow sand mud dirt grass ocean lake river stream pond pool fountain park street city forest field
            yard garden desert cave rink kitchen bedroom bathroom office library museum store market restaurant gym
            woods air waves classroom stadium hay leaves puddle gravel parking_lot skate_park bathtub crowd rain sky
            living_room hallway arena snowbank courtyard alley""",
        "on": """beach road sidewalk court lawn mountain hill cliff racetrack slope stage dock path track bridge floor
            ground ice football_field soccer_field baseball_field rocks carpet stairs grass_field concrete balcony deck porch
            roof platform snow_slope""",
        "at": """playground rodeo amusement_park airport zoo farm""",
        "under": "",
    }.items()
    for name in (word.replace("_", " ") for word in names.split())
}
SIDES = dict.fromkeys(
    "bench stool bike motorcycle horse skateboard surfboard rock log wall fence railing ledge blanket towel sled trampoline "
    "ramp slide swing rope roof platform escalator scooter".split(), "on",
) | dict.fromkeys("tunnel tent bathtub stroller wheelchair car canoe kayak hammock tree cart".split(), "in")
"""Where one preposition alone fits."""
SEATS = table("""
    bench:
    couch: sofa
    chair: armchair lawn_chair
    stool:
    bed:
    table: picnic_table
    swing: tire_swing
    trampoline:
    ramp: skateboard_ramp
    slide: water_slide
    rock: boulder
    log:
    wall:
    fence:
    railing: rail handrail
    ledge:
    blanket:
    towel:
    boat: rowboat
    raft:
    bike: bicycle
    motorcycle:
    horse:
    skateboard:
    surfboard:
    tree:
    rope:
    sled:
    bus:
    train:
    car:
    canoe:
    kayak:
    tunnel:
    tent:
    bathtub:
    stairs: steps stair step staircase
    hammock:
    tire:
    carpet: rug
    floor:
    ground:
    stroller:
    wheelchair:
    escalator:
    balcony:
    deck: porch
    roof:
    platform:
    wave:
    air: midair mid-air
    puddle:
    cart: shopping_cart
""")
"""Further things that somebody is in or on."""

TOYS = table("""
    ball: tennis_ball soccer_ball rubber_ball beach_ball basketball_ball
    frisbee: disc disk
    stick: branch
    toy: stuffed_animal stuffed_toy chew_toy
    bone:
    rope:
    football:
    basketball:
    volleyball:
    baseball:
    soccer_ball:
""")

THINGS = table("""
    ball: tennis_ball soccer_ball rubber_ball beach_ball football basketball volleyball softball
    frisbee: disc disk
    stick: branch
    guitar:
    camera:
    umbrella: parasol
    flag:
    bench:
    couch: sofa
    bed:
    table:
    chair:
    skateboard:
    surfboard:
    snowboard:
    sled:
    bicycle_helmet:
    helmet:
    hat: cap
    sunglasses:
    backpack:
    kite:
    tent:
    trampoline:
    rope:
    swing:
    slide:
    book: newspaper magazine
    phone: cellphone cell_phone
    bag: purse handbag
    balloon:
    microphone:
    basketball:
    football:
    tennis_racket: racket racquet
    baseball_bat: bat
    cigarette:
    violin:
    drum:
    toy:
    tunnel:
    hurdle:
    statue: sculpture
    bridge:
    fountain:
    waterfall:
    ramp:
    ladder:
    bubbles: bubble
    cake:
    snowball:
    parachute:
    hula_hoop: hoop
    leash:
    goal: soccer_goal
    fire: campfire
    cup: mug
    bottle:
    sprinkler: hose
    wheelchair:
    stroller:
    bucket: pail
    tire:
    gun:
    fish:
    building: house
    wall:
    door:
    flower:
    basket:
    scooter:
    rug: carpet
    blanket:
    towel:
    ribbon:
    box:
    pole:
    ladder:
""")

COLOURS = table("""
    black:
    white:
    red:
    blue: navy
    green:
    yellow:
    orange:
    pink:
    purple: violet lavender
    brown: brunette chocolate
    tan: beige khaki
    grey: gray
    gold: golden
    silver:
    blonde: blond
    maroon: burgundy
    turquoise: teal
""")
NEAR_COLOURS = [
    {"brown", "tan", "gold"}, {"tan", "gold", "yellow", "blonde"}, {"grey", "silver"}, {"purple", "pink"}, {"red", "maroon"},
    {"blue", "turquoise"}, {"red", "pink"}, {"white", "tan"}, {"grey", "white"},
]  # fmt: skip
"""Colours that two people may call the same thing's."""

NUMBERS = {
    "one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8, "nine": 9, "ten": 10,
    "1": 1, "2": 2, "3": 3, "4": 4, "5": 5, "6": 6, "7": 7, "8": 8, "9": 9, "10": 10,
}  # fmt: skip
NUMBER_WORDS = "zero one two three four five six seven eight nine ten eleven twelve".split()
MANY = set("several many some few numerous various multiple".split())
BUNCHES = set(
    "group crowd bunch number team flock herd pack variety lot lots row line pile crowd couple pair trio family class "
    "dozen gang squad set band".split()
)
"""A group of people is people."""

WEATHER_PATTERNS = {
    "sunny": r"in (the|bright) sun(light|shine)?\b|under the sun\b|bright sun\b|sun (is )?shin",
    "snowy": r"\bit (is )?snow(s|ing)\b|snow(flakes)? (is |are )?fall|falling snow|snowy day",
    "clear": r"clear( blue)? (sky|skies|day)|blue sky\b|blue skies",
    "windy": r"wind (is )?blow|\bin the wind\b|strong wind|windswept",
    "rainy": r"in the rain\b|rain (is )?(fall|pour)|rainy day",
}
WEATHER = table("""
    rainy: rain raining rainstorm rainfall drizzle
    snowy: snowing snowstorm blizzard
    sunny: sunshine sunlit sunlight
    cloudy: overcast
    foggy: fog misty mist
    windy: wind
    stormy: storm
""")
TIME_PATTERNS = {
    "sunset": r"sun (is )?(sets|setting|set|going down|goes down)\b|setting sun",
    "sunrise": r"sun (is )?(rises|rising)|rising sun",
    "night": r"night-?(time|sky|scene)|night sky|at night|in the dark\b",
    "day": r"sunny day|clear day|during the day|bright day|summer day|winter day|in daylight",
}
TIMES = table("""
    night: nighttime
    sunset: dusk twilight sundown sunsets
    sunrise: dawn
    evening:
    morning:
    afternoon:
    day: daytime midday noon daylight
""")

VERBS = """
    run jump play sit stand walk ride hold carry climb swim look smile swing pose watch race chase lie hang try talk go
    fly eat dance slide leap fight splash skateboard get drink wait catch ski lean throw pull laugh fish surf read come
    shop fall bite skate drive hike use hug blow push dive shake smoke stick sleep wrestle snowboard stare cross point
    attempt kiss wave face wade chew show rest dig roll shoot grind float give sing paddle lick hit reach balance
    move put compete prepare land write spin pass kayak bark help kneel enjoy crash rollerblade turn touch work train
    sniff practice bounce fetch row jog march waterski pick follow gather leave pet listen retrieve speak raise break
    crouch box tackle scale relax feed raft lead bend wakeboard spray toss camp pour glide sled cry draw flip start grab
    board travel trot cast shovel pitch approach descend fire growl cook crawl open pretend hide fence clean sell cut
    share interact ask stretch bound cheer yell drop juggle emerge herd burn ascend create embrace participate lift
    check beg cycle sail color operate bowl speed peek buck yawn parasail flap bat dangle suck squat drag tug soak
    parachute soar hand clap clear strike observe teach display step tumble celebrate gnaw dribble guard squirt dunk meet
    guide examine grin wrap attack gallop rush aim assist place dine lounge pray defend socialize struggle learn poke
    twirl scream scratch chat hover pounce charge wash cling trek act squeeze sip peer photograph rock return skip prance
    search hop grill shout vault gesture play wear make take do perform appear seem have be kick paint lay jump gaze enter
    tie carve trip nap snorkel pedal recline serve exit traverse perch huddle wander stroll grasp swing frolic romp
    bathe sunbathe compete lunge dash sprint stomp tackle block wag slip tickle tease wrestle sew play type
    bike
""".split()
IRREGULAR = {"lie": "lying", "tie": "tying", "be": "being", "ski": "skiing", "see": "seeing", "die": "dying"}
DOUBLED = set(
    "run sit swim get hit put spin dig hug cut drop beg bat drag tug clap step squat flap grab chat sip skip hop trip nap "
    "flip win pet jog bet grin shop wrap row_ slip wag plan stop chop swap knit snorkel_".split()
)
NOUNS_RATHER = set(
    "building clothing railing painting wedding ceiling string ring swing spring king wing thing something nothing "
    "anything everything morning evening earring awning crossing drawing sling setting landing opening parking "
    "sailing bathing bowling swimming fishing wrestling boxing skating carving".split()
)
VERBS_SELDOM = set(
    "waves wave stands slides swings slide swing steps step board box boards tracks face faces fish fire fence train ski bowl "
    "bat place park pitch hand lead store show shows block display land lands row rock ring roll rolls cross crash fall falls "
    "wash scale stick sticks race races paint photograph guard cast sail sled camp skate bike bound clear type pet clean lay "
    "raft kayak snowboard skateboard wear kiss smile smiles drink drinks jump jumps dance charge water point points tie "
    "herd open cut start starts use uses".split()
)
"""Nouns where a thing, not somebody, stands before them ("ocean waves", "a chain link fence")."""

ALONE = set(
    "run jump play sit stand walk climb swim smile swing pose watch race lie hang talk fly eat dance slide leap fight splash "
    "skateboard drink wait ski lean laugh fish surf read shop fall skate drive hike smoke sleep wrestle snowboard stare kiss hug "
    "wave wade rest dig roll grind float sing paddle balance crash spin kayak bark kneel rollerblade work sniff bounce row jog "
    "march waterski listen speak crouch box relax raft wakeboard camp glide sled cry cook crawl yell dive chat shout juggle "
    "cheer celebrate stretch clap yawn parasail soar gallop trot growl hide dribble wash pray lounge scream squat cycle "
    "bike sail sunbathe bathe frolic trek charge windsurf rollerskate canoe golf skydive roughhouse somersault "
    "barbecue grill sweep clean vacuum draw paint write shovel hop skip sprint stroll gaze bowl embrace".split()
)
"""Verbs that answer what somebody is doing without an object."""
VERBS_MOSTLY = set("jumps stands smiles drinks kisses points dances skates wears throws".split())

STATES = set("sit stand lie kneel crouch walk run swim sleep climb".split())
"""Of these nobody does two at once."""

DETERMINERS = set(
    "a an the this that these those some each every another other its his her their both no any all either".split()
)
PRONOUNS = set("it he she they him them himself herself itself themselves each_other someone's one's who i you we".split())
RELATIVES = set("that which who whose where what".split())
AUXILIARIES = set("is are was were be been am 're has have had can will does do did".split())
CLAUSES = set("while as when whilst because so but if though although until before after".split())
PREPOSITIONS = set(
    "in on at of with by near through over into onto across along behind under around from to towards toward for beside "
    "above against between among inside off during past beneath below atop upon underneath alongside without amongst amid "
    "amidst next_to in_front_of out_of about like within beyond opposite outside_of".replace("_", " ").split(" ")
) | {"next to", "in front of", "out of", "on top of", "outside of"}
ADVERBS = set(
    "outside outdoors indoors inside together away up down back out very quickly upside-down nearby apart ahead not also "
    "just alone almost there here happily then too midair_ high low asleep behind_ forward backwards sideways fast "
    "onstage barefoot airborne still now only well underwater_ downhill uphill upside head-first headfirst close "
    "excitedly playfully intently closely partially downstairs upstairs hard along_ awake alike".split()
)

ADJECTIVES = set(COLOURS) | set(
    "young old little small large big tall short long older younger elderly asian african american indian wet dry muddy "
    "snowy grassy rocky sandy dirty shaggy fluffy furry hairy brindle spotted striped plaid checkered colorful "
    "multicolored bright dark light pale blue-eyed middle-aged blonde-haired dark-haired red-haired haired bald "
    "bearded shirtless barefooted skinny fat heavy huge giant tiny smaller larger bigger deep shallow clear busy crowded "
    "empty wooden metal plastic concrete_ brick_ leather_ denim_ open full happy sad same different lone single "
    "beautiful pretty cute bare blurry colored orange-and-white black-and-white white-and-black brown-and-white hot cold".split()
)

PHRASES = """
    in front of|next to|out of|on top of|outside of|each other|hot dog|ice cream|t - shirt
    in the middle of=in|in the back of=in|in the center of=in|in midst of=in|in the midst of=in|on the side of=near
    at the edge of=near|on the edge of=near|on the edges of=near|by the edge of=near|along side of=beside|at the top of=on
    on the top of=on|at the bottom of=near|to the side of=near|off of=off|inside of=inside|in between=between|close to=near
    alongside of=beside|up to=to|up against=against|along side=beside|along with=with|tee shirt=t-shirt
    tee - shirt=t-shirt|t shirt=t-shirt
    doing a trick=performing a trick|a lot of=many|lots of=many|a number of=many|a bunch of=many|a couple of=two
    a few=several|couple of=two|a pair of=|pair of=|a group of=many|group of=many|groups of=many|large group of=many
    a large group of=many|a small group of=many|small group of=many|a crowd of=many|crowd of=many|a team of=many|team of=many
    a large crowd of=many|large crowd of=many|a row of=many|a line of=many|a herd of=many|a flock of=many|a pack of=many
    a herd of=many|herd of=many|flock of=many|pack of=many|a pile of=|pile of=|a piece of=a|piece of=|a body of water=water
    body of water=water|swimming pool=pool|each of=
    a dog 's=dog 's
"""

# Is there any X

NEVER_ASKED = {"building", "wall", "door", "flower", "box", "pole", "rug", "towel", "blanket", "basket", "ribbon", "camera", "animal", "vehicle", "leaves", "rocks", "dirt", "concrete", "toy", "lawn", "fair", "skis"}
UNCOUNTED = {"water", "snow", "grass", "sand", "mud", "ice", "fire", "hay", "gravel", "concrete", "dirt"}
_VAGUE = "something object item thing".split()
CONFUSABLE = [
    frozenset(word.replace("_", " ") for word in line.split())
    for line in """
    animal dog cat horse cow bull bird duck swan goose sheep goat camel elephant monkey deer bear pig rabbit squirrel tiger lion donkey
    cow bull ox calf cattle steer rodeo
    bird duck swan goose seagull flying
    horse donkey pony zebra rodeo carriage jockey polo cowboy saddle
    sheep goat lamb herd
    water ocean sea lake river stream creek pond pool beach wave waves puddle fountain waterfall shore rapids surf pier dock boat harbor swimming swim swims swimmer wading bay coast sprinkler splash splashing rain wet
    boat canoe kayak raft ship sailboat rowing rafting paddle oar paddling watercraft
    ocean beach sand sea surf shore coast desert dune
    mountain hill cliff rock slope rocks ledge climb climbing climber hike hiking peak canyon valley ridge landscape
    snow winter ski skiing skier snowboard snowboarder snowboarding sled sledding snowy ice sleigh snowball snowsuit
    ice rink skating hockey frozen iced
    street road sidewalk path trail city highway alley crosswalk parking_lot downtown town urban intersection pavement curb track traffic
    forest woods trees tree jungle wood wooded park trail leaves
    field grass lawn meadow park yard pasture garden backyard grassy
    park playground yard garden grass lawn skate_park bench
    store shop market mall shopping grocery vendor
    restaurant bar cafe kitchen table dining dinner bakery
    bike motorcycle bicycle vehicle atv scooter cyclist biker dirt_bike rider riding ride rides race racing racer unicycle tricycle bmx wheel
    car truck van bus vehicle taxi suv jeep race racing racer street road traffic city parked parking driving drives driver
    train subway tram station railroad tracks
    ball football soccer basketball tennis baseball volleyball softball rugby cricket golf game player players sport sports toy bowling catch fetch bat racket polo pitcher batter goal hockey puck
    frisbee disc toy fetch catch ring
    stick branch wood log fetch hockey twig lacrosse toy pole
    football basketball soccer tennis baseball rugby ball game sport player players team jersey
    skateboard skateboarder skateboarding skate skating board boarder scooter trick stunt ramp skater skates skateboards rail
    surfboard surfer surfing surf board wave waves wakeboard boogie windsurf
    snowboard snowboarder snowboarding board ski skier slope
    sled sledding sledge sleigh toboggan tube snow
    guitar band music musician musicians instrument instruments playing stage concert performing
    violin drum band music musician instrument instruments stage concert
    camera photo photographer picture photograph pictures photographs photographing filming camcorder
    bench seat sitting sits sit seated chair couch
    couch sofa chair bed seat sitting sits sit seated
    bed couch sleeping lying laying blanket pillow
    table desk counter eating eat eats dining restaurant meal
    chair seat sitting sits sit seated bench wheelchair
    umbrella parasol rain
    hat cap helmet headgear hats dressed costume uniform cowboy
    helmet hat hockey football biker cyclist motorcycle bike motorcyclist baseball skateboard uniform gear rider
    sunglasses glasses goggles shades
    backpack bag pack hiking hiker hike luggage hikers
    bag purse luggage backpack shopping
    book newspaper magazine reading reads read paper
    phone cellphone telephone talking talks
    tent camping camp campsite camper
    trampoline jumping jump bouncing
    swing swinging swings playground
    slide sliding slides playground ramp waterslide
    rope climbing climber ropes leash harness swing string cord climb climbs tug
    leash leashed walking harness rope collar
    flag flags banner parade
    cup mug drink drinking drinks beverage coffee beer bottle glass
    bottle drink drinking drinks beer water beverage
    cigarette smoking smokes smoke
    goal goalie soccer hockey net
    tunnel obstacle course agility tube
    hurdle obstacle jump jumping jumps agility bar
    ramp skateboard skateboarder trick bike bmx stunt rail half-pipe pipe
    racetrack track race racing greyhounds greyhound racer
    stage concert performing performs performer band microphone singing sings dancing
    stadium arena game crowd football baseball soccer field rodeo
    gym court indoor basketball indoors
    fire smoke flame flames campfire burning grill fireplace
    microphone singing singer sings sing band stage karaoke
    statue sculpture monument
    tire swing wheel course
    wave surf surfing surfer ocean
    bridge overpass crossing river
    parachute parasail parasailing kite
    kite parachute flying wind
    wheelchair chair
    stroller baby carriage
    tennis_racket tennis racket racquet
    baseball_bat baseball bat batter softball
    snowball snow
    balloon balloons birthday party
    sprinkler hose water spray sprayed spraying
    bubbles bubble
    hula_hoop hoop hula
    toy playing plays play
""".splitlines()
    if line.strip()
]
"""Sets of words of which one leaves open whether another one's thing is there too."""
IMPLIED_BY: dict[str, frozenset[str]] = {
    name: frozenset(_VAGUE) | {"toy", "toys", "holding", "holds", "carrying", "carries"} for name in ("stick", "ball", "frisbee")
}
