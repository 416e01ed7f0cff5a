"""Where things are in captions: places, terrain, and what one sits or stands on.

Plain lists, made by reading the captions of Flickr8k's training photos.
"""

from __future__ import annotations

from openblip.language.words.table import table

PLACES = table("""
    beach: shore seashore seaside shoreline
    ocean: sea
    lake
    river: rapids
    stream: creek brook
    pond
    pool: swimming_pool wading_pool kiddie_pool
    waterfall; fountain; park
    skate_park: skatepark
    playground
    street: intersection crosswalk avenue
    road: highway dirt_road roadway
    sidewalk: pavement
    parking_lot
    city: downtown
    alley; bridge
    forest: woods jungle
    field: meadow pasture cornfield
    lawn
    yard: backyard
    garden
    mountain: mountainside mountaintop
    hill: hillside
    cliff
    desert: dune sand_dune
    cave
    path: trail pathway
    racetrack: race_track
    stadium: arena
    gym: gymnasium
    court: basketball_court tennis_court
    baseball_field: baseball_diamond
    football_field; soccer_field
    rink: ice_rink skating_rink hockey_rink
    slope: ski_slope
    stage
    store: shop supermarket grocery_store bookstore
    market: marketplace
    restaurant: cafe
    kitchen; bedroom; bathroom; living_room; classroom; office; library; museum
    subway: subway_station train_station
    amusement_park: fair carnival
    dock: pier boardwalk
    farm; zoo; airport; track; hallway
    courtyard: plaza
    church; rodeo; construction_site
    campsite: campground
""")
TERRAIN = table("""
    grass: lawn
    snow; sand
    water: river lake ocean sea pond pool stream creek puddle
    mud; dirt; ice
    rocks: rock boulder
    leaves: leaf
    gravel
    concrete: cement pavement
    carpet: rug
    hay: straw
    road
    street: intersection crosswalk
    sidewalk
    path: trail pathway
    field; hill; beach
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
            ground ice football_field soccer_field baseball_field rocks carpet stairs grass_field concrete balcony
            deck porch
            roof platform snow_slope""",
        "at": """playground rodeo amusement_park airport zoo farm""",
        "under": "",
    }.items()
    for name in (word.replace("_", " ") for word in names.split())
}
SIDES = dict.fromkeys(
    "bench stool bike motorcycle horse skateboard surfboard rock log wall fence railing ledge blanket towel sled "
    "trampoline "
    "ramp slide swing rope roof platform escalator scooter".split(),
    "on",
) | dict.fromkeys("tunnel tent bathtub stroller wheelchair car canoe kayak hammock tree cart".split(), "in")
"""Where one preposition alone fits."""
SEATS = table("""
    bench
    couch: sofa
    chair: armchair lawn_chair
    stool; bed
    table: picnic_table
    swing: tire_swing
    trampoline
    ramp: skateboard_ramp
    slide: water_slide
    rock: boulder
    log; wall; fence
    railing: rail handrail
    ledge; blanket; towel
    boat: rowboat
    raft
    bike: bicycle
    motorcycle; horse; skateboard; surfboard; tree; rope; sled; bus; train; car; canoe; kayak; tunnel; tent; bathtub
    stairs: steps stair step staircase
    hammock; tire
    carpet: rug
    floor; ground; stroller; wheelchair; escalator; balcony
    deck: porch
    roof; platform; wave
    air: midair mid-air
    puddle
    cart: shopping_cart
""")
"""Further things that somebody is in or on."""
