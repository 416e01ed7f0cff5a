"""The closed classes of English, and the verbs of captions.

Plain lists, made by reading the captions of Flickr8k's training photos.
"""

from __future__ import annotations

from openblip.language.words.qualities import COLOURS

VERBS = """
    run jump play sit stand walk ride hold carry climb swim look smile swing pose watch race chase lie hang try
    talk go
    fly eat dance slide leap fight splash skateboard get drink wait catch ski lean throw pull laugh fish surf read
    come
    shop fall bite skate drive hike use hug blow push dive shake smoke stick sleep wrestle snowboard stare cross point
    attempt kiss wave face wade chew show rest dig roll shoot grind float give sing paddle lick hit reach balance
    move put compete prepare land write spin pass kayak bark help kneel enjoy crash rollerblade turn touch work train
    sniff practice bounce fetch row jog march waterski pick follow gather leave pet listen retrieve speak raise break
    crouch box tackle scale relax feed raft lead bend wakeboard spray toss camp pour glide sled cry draw flip start
    grab
    board travel trot cast shovel pitch approach descend fire growl cook crawl open pretend hide fence clean sell cut
    share interact ask stretch bound cheer yell drop juggle emerge herd burn ascend create embrace participate lift
    check beg cycle sail color operate bowl speed peek buck yawn parasail flap bat dangle suck squat drag tug soak
    parachute soar hand clap clear strike observe teach display step tumble celebrate gnaw dribble guard squirt
    dunk meet
    guide examine grin wrap attack gallop rush aim assist place dine lounge pray defend socialize struggle learn poke
    twirl scream scratch chat hover pounce charge wash cling trek act squeeze sip peer photograph rock return skip
    prance
    search hop grill shout vault gesture play wear make take do perform appear seem have be kick paint lay jump
    gaze enter
    tie carve trip nap snorkel pedal recline serve exit traverse perch huddle wander stroll grasp swing frolic romp
    bathe sunbathe compete lunge dash sprint stomp tackle block wag slip tickle tease wrestle sew play type
    bike
""".split()
IRREGULAR = {"lie": "lying", "tie": "tying", "be": "being", "ski": "skiing", "see": "seeing", "die": "dying"}
DOUBLED = set(
    "run sit swim get hit put spin dig hug cut drop beg bat drag tug clap step squat flap grab chat sip skip hop "
    "trip nap "
    "flip win pet jog bet grin shop wrap row_ slip wag plan stop chop swap knit snorkel_".split()
)
NOUNS_RATHER = set(
    "building clothing railing painting wedding ceiling string ring swing spring king wing thing something nothing "
    "anything everything morning evening earring awning crossing drawing sling setting landing opening parking "
    "sailing bathing bowling swimming fishing wrestling boxing skating carving".split()
)
VERBS_SELDOM = set(
    "waves wave stands slides swings slide swing steps step board box boards tracks face faces fish fire fence "
    "train ski bowl "
    "bat place park pitch hand lead store show shows block display land lands row rock ring roll rolls cross "
    "crash fall falls "
    "wash scale stick sticks race races paint photograph guard cast sail sled camp skate bike bound clear type "
    "pet clean lay "
    "raft kayak snowboard skateboard wear kiss smile smiles drink drinks jump jumps dance charge water point "
    "points tie "
    "herd open cut start starts use uses".split()
)
"""Nouns where a thing, not somebody, stands before them ("ocean waves", "a chain link fence")."""

ALONE = set(
    "run jump play sit stand walk climb swim smile swing pose watch race lie hang talk fly eat dance slide leap "
    "fight splash "
    "skateboard drink wait ski lean laugh fish surf read shop fall skate drive hike smoke sleep wrestle snowboard "
    "stare kiss hug "
    "wave wade rest dig roll grind float sing paddle balance crash spin kayak bark kneel rollerblade work sniff "
    "bounce row jog "
    "march waterski listen speak crouch box relax raft wakeboard camp glide sled cry cook crawl yell dive chat "
    "shout juggle "
    "cheer celebrate stretch clap yawn parasail soar gallop trot growl hide dribble wash pray lounge scream squat "
    "cycle "
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
PRONOUNS = set(
    "it he she they him them himself herself itself themselves each_other someone's one's who i you we".split()
)
RELATIVES = set("that which who whose where what".split())
AUXILIARIES = set("is are was were be been am 're has have had can will does do did".split())
CLAUSES = set("while as when whilst because so but if though although until before after".split())
PREPOSITIONS = set(
    "in on at of with by near through over into onto across along behind under around from to towards toward for "
    "beside "
    "above against between among inside off during past beneath below atop upon underneath alongside without "
    "amongst amid "
    "amidst next_to in_front_of out_of about like within beyond opposite outside_of".replace("_", " ").split(" ")
) | {"next to", "in front of", "out of", "on top of", "outside of"}
ADVERBS = set(
    "outside outdoors indoors inside together away up down back out very quickly upside-down nearby apart ahead "
    "not also "
    "just alone almost there here happily then too midair_ high low asleep behind_ forward backwards sideways fast "
    "onstage barefoot airborne still now only well underwater_ downhill uphill upside head-first headfirst close "
    "excitedly playfully intently closely partially downstairs upstairs hard along_ awake alike".split()
)

ADJECTIVES = set(COLOURS) | set(
    "young old little small large big tall short long older younger elderly asian african american indian wet dry "
    "muddy "
    "snowy grassy rocky sandy dirty shaggy fluffy furry hairy brindle spotted striped plaid checkered colorful "
    "multicolored bright dark light pale blue-eyed middle-aged blonde-haired dark-haired red-haired haired bald "
    "bearded shirtless barefooted skinny fat heavy huge giant tiny smaller larger bigger deep shallow clear busy "
    "crowded "
    "empty wooden metal plastic concrete_ brick_ leather_ denim_ open full happy sad same different lone single "
    "beautiful pretty cute bare blurry colored orange-and-white black-and-white white-and-black brown-and-white "
    "hot cold".split()
)

PHRASES = """
    in front of|next to|out of|on top of|outside of|each other|hot dog|ice cream
    in the middle of=in|in the back of=in|in the center of=in|in midst of=in|in the midst of=in|on the side of=near
    at the edge of=near|on the edge of=near|on the edges of=near|by the edge of=near|along side of=beside
    at the top of=on
    on the top of=on|at the bottom of=near|to the side of=near|off of=off|inside of=inside|in between=between
    close to=near
    alongside of=beside|up to=to|up against=against|along side=beside|along with=with|tee shirt=t-shirt
    t shirt=t-shirt
    doing a trick=performing a trick|a lot of=many|lots of=many|a number of=many|a bunch of=many|a couple of=two
    a few=several|couple of=two|a pair of=|pair of=|a group of=many|group of=many|groups of=many|large group of=many
    a large group of=many|a small group of=many|small group of=many|a crowd of=many|crowd of=many|a team of=many
    team of=many
    a large crowd of=many|large crowd of=many|a row of=many|a line of=many|a herd of=many|a flock of=many
    a pack of=many
    a herd of=many|herd of=many|flock of=many|pack of=many|a pile of=|pile of=|a piece of=a|piece of=
    a body of water=water
    body of water=water|swimming pool=pool|each of=
"""
