"""Which things leave open whether others are there too: what "is there any X" must not deny.

Plain lists, made by reading the captions of Flickr8k's training photos.
"""

from __future__ import annotations

NEVER_ASKED = {
    "building",
    "wall",
    "door",
    "flower",
    "box",
    "pole",
    "rug",
    "towel",
    "blanket",
    "basket",
    "ribbon",
    "camera",
    "animal",
    "vehicle",
    "leaves",
    "rocks",
    "dirt",
    "concrete",
    "toy",
    "lawn",
    "fair",
    "skis",
}
UNCOUNTED = {"water", "snow", "grass", "sand", "mud", "ice", "fire", "hay", "gravel", "concrete", "dirt"}
_VAGUE = "something object item thing".split()
CONFUSABLE = [
    frozenset(word.replace("_", " ") for word in line.split())
    for line in """
    animal dog cat horse cow bull bird duck swan goose sheep goat camel elephant monkey deer bear pig rabbit \
        squirrel tiger lion donkey
    cow bull ox calf cattle steer rodeo
    bird duck swan goose seagull flying
    horse donkey pony zebra rodeo carriage jockey polo cowboy saddle
    sheep goat lamb herd
    water ocean sea lake river stream creek pond pool beach wave waves puddle fountain waterfall shore rapids \
        surf pier dock boat harbor swimming swim swims swimmer wading bay coast sprinkler splash splashing rain wet
    boat canoe kayak raft ship sailboat rowing rafting paddle oar paddling watercraft
    ocean beach sand sea surf shore coast desert dune
    mountain hill cliff rock slope rocks ledge climb climbing climber hike hiking peak canyon valley ridge landscape
    snow winter ski skiing skier snowboard snowboarder snowboarding sled sledding snowy ice sleigh snowball snowsuit
    ice rink skating hockey frozen iced
    street road sidewalk path trail city highway alley crosswalk parking_lot downtown town urban intersection \
        pavement curb track traffic
    forest woods trees tree jungle wood wooded park trail leaves
    field grass lawn meadow park yard pasture garden backyard grassy
    park playground yard garden grass lawn skate_park bench
    store shop market mall shopping grocery vendor
    restaurant bar cafe kitchen table dining dinner bakery
    bike motorcycle bicycle vehicle atv scooter cyclist biker dirt_bike rider riding ride rides race racing racer \
        unicycle tricycle bmx wheel
    car truck van bus vehicle taxi suv jeep race racing racer street road traffic city parked parking driving \
        drives driver
    train subway tram station railroad tracks
    ball football soccer basketball tennis baseball volleyball softball rugby cricket golf game player players \
        sport sports toy bowling catch fetch bat racket polo pitcher batter goal hockey puck
    frisbee disc toy fetch catch ring
    stick branch wood log fetch hockey twig lacrosse toy pole
    football basketball soccer tennis baseball rugby ball game sport player players team jersey
    skateboard skateboarder skateboarding skate skating board boarder scooter trick stunt ramp skater skates \
        skateboards rail
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
    name: frozenset(_VAGUE) | {"toy", "toys", "holding", "holds", "carrying", "carries"}
    for name in ("stick", "ball", "frisbee")
}
NOT_BESIDE = {
    "swing": frozenset("bat tennis racket racquet baseball golf ball pinata pitch softball take takes taking".split()),
    "slide": frozenset("base baseball softball".split()),
    "wave": frozenset("hand hands flag flags".split()),
    "car": frozenset({"toy"}),
    "pool": frozenset({"of water", "table"}),
}
"""Words beside which a name means something else: a swing of the bat is none to sit on."""
