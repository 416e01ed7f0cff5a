"""Things of captions: vehicles, garments, toys and others.

Plain lists, made by reading the captions of Flickr8k's training photos.
"""

from __future__ import annotations

from openblip.language.words.table import table

VEHICLES = table("""
    bike: bicycle bmx mountain_bike bmx_bike dirtbike_bicycle tandem_bicycle
    motorcycle: motorbike dirt_bike dirtbike moped motocross_bike
    car: taxi cab suv jeep sedan race_car racecar limousine limo minivan convertible sports_car police_car
    truck: pickup pickup_truck lorry fire_truck firetruck dump_truck monster_truck
    bus: double_decker school_bus
    van: rv camper
    train: locomotive subway_train subway_car train_car
    tram: trolley streetcar
    boat: rowboat sailboat motorboat speedboat ship yacht ferry fishing_boat
    canoe; kayak; raft
    airplane: plane jet aircraft
    helicopter
    atv: four_wheeler quad four-wheeler
    scooter; tricycle; unicycle; tractor
    carriage: buggy horse-drawn_carriage
    wagon: cart
    ambulance; snowmobile
    go-cart: go-kart
    jet_ski: jetski
    vehicle
""")

RIDDEN = table("""
    skateboard
    surfboard: surf_board windsurf_board boogie_board
    snowboard
    sled: sledge toboggan
    horse; camel; elephant; bull; wave
    roller_coaster: rollercoaster
    swing: tire_swing
    slide: water_slide
    carousel: merry-go-round
    escalator; donkey
    innertube: inner_tube tube
    skis: ski
    wheelchair
""")

GARMENTS = table("""
    shirt: t-shirt tee-shirt tee tshirt tank_top blouse top sweatshirt polo_shirt
    jacket: coat parka blazer windbreaker raincoat leather_jacket
    sweater: sweatshirt_hoodie cardigan pullover
    hoodie
    vest: life_vest life_jacket lifejacket
    dress: gown sundress wedding_dress
    skirt: tutu kilt
    pants: trousers jeans sweatpants blue_jeans overalls slacks jean khakis leggings
    shorts: swim_trunks swimming_trunks trunks swim_shorts
    hat: cowboy_hat sombrero straw_hat santa_hat beanie beret top_hat hardhat hard_hat
    cap: baseball_cap
    helmet
    glasses: eyeglasses
    sunglasses: sunglass
    goggles: goggle ski_goggles
    mask; scarf
    headscarf: turban
    bandanna: bandana
    headband: sweatband
    wig
    gloves: glove mittens mitten
    shoes: shoe sneakers sneaker sandals sandal boots boot heels flip_flops
    socks: sock stockings
    rollerblades: rollerblade roller_skates inline_skates roller_blades
    skates: ice_skates skate
    skis
    uniform: baseball_uniform football_uniform soccer_uniform
    jersey; costume
    suit: business_suit tuxedo
    swimsuit: bathing_suit bikini swimming_suit
    wetsuit: wet_suit
    snowsuit: ski_suit
    outfit: attire clothes clothing garb
    robe: kimono
    apron
    tie: necktie bow_tie
    necklace: beads
    backpack: bookbag knapsack
    headphones: earphones
    harness; collar; muzzle; pajamas; cape; mohawk_wig
    crown: tiara
    veil; speedo; sash; bib; leash
""")
"""Worn by people or dogs."""

WORN_ON_HEAD = {"hat", "cap", "helmet", "bandanna", "headband", "headscarf", "wig", "crown", "veil"}
WORN_ON_EYES = {"glasses", "sunglasses", "goggles"}
WORN_BY_DOGS = {
    "collar",
    "muzzle",
    "harness",
    "vest",
    "leash",
    "jersey",
    "sweater",
    "costume",
    "hat",
    "scarf",
    "bandanna",
}
PAIRS = {
    "pants", "shorts", "glasses", "sunglasses", "goggles", "gloves", "shoes", "socks", "rollerblades", "skates",
    "skis",
    "headphones", "pajamas",
}  # fmt: skip
"""Garments that are named in the plural."""

TOYS = table("""
    ball: tennis_ball soccer_ball rubber_ball beach_ball basketball_ball
    frisbee: disc disk
    stick: branch
    toy: stuffed_animal stuffed_toy chew_toy
    bone; rope; football; basketball; volleyball; baseball; soccer_ball
""")

THINGS = table("""
    ball: tennis_ball soccer_ball rubber_ball beach_ball football basketball volleyball softball
    frisbee: disc disk
    stick: branch
    guitar; camera
    umbrella: parasol
    flag; bench
    couch: sofa
    bed; table; chair; skateboard; surfboard; snowboard; sled; bicycle_helmet; helmet
    hat: cap
    sunglasses; backpack; kite; tent; trampoline; rope; swing; slide
    book: newspaper magazine
    phone: cellphone cell_phone
    bag: purse handbag
    balloon; microphone; basketball; football
    tennis_racket: racket racquet
    baseball_bat: bat
    cigarette; violin; drum; toy; tunnel; hurdle
    statue: sculpture
    bridge; fountain; waterfall; ramp; ladder
    bubbles: bubble
    cake; snowball; parachute
    hula_hoop: hoop
    leash
    goal: soccer_goal
    fire: campfire
    cup: mug
    bottle
    sprinkler: hose
    wheelchair; stroller
    bucket: pail
    tire; gun; fish
    building: house
    wall; door; flower; basket; scooter
    rug: carpet
    blanket; towel; ribbon; box; pole; ladder
""")
