"""Who does things in captions: animals and people.

Plain lists, made by reading the captions of Flickr8k's training photos.
"""

from __future__ import annotations

from openblip.language.words.table import table

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
    swan; goose
    sheep: lamb
    goat; camel; elephant
    monkey: chimpanzee ape gorilla
    deer: elk moose reindeer
    bear: polar_bear
    pig
    rabbit: bunny
    squirrel; tiger; lion
    fish: shark
    dolphin; seal
    turtle: tortoise
    snake
    lizard: iguana
    frog; crab; butterfly; bee; donkey; llama; zebra; giraffe; kangaroo; ox; fox; wolf; otter
    crocodile: alligator
    ferret
    animal: creature pet critter
""")

# Of people: the name in answers; who is what follows in SEX and AGE.
PEOPLE = table("""
    man: guy gentleman businessman male fellow dude fisherman cowboy policeman fireman groom father dad grandfather
    monk
    man: cameraman batsman repairman lumberjack bagpiper santa
    woman: lady female businesswoman bride mother mom grandmother gal cowgirl waitress bridesmaid actress
    boy: son lad
    girl: daughter schoolgirl ballerina
    child: kid toddler youngster schoolchild
    baby: infant newborn
    person: adult someone individual human figure somebody
    people: other crowd audience spectator onlooker pedestrian bystander passerby family adult_couple
    teenager: teen youth
    player: footballer goalie catcher pitcher batter quarterback teammate opponent linebacker goaltender goalkeeper
    cyclist: biker bicyclist bike_rider bicycle_rider bmxer bmx_rider
    motorcyclist: motorcycle_rider dirt_biker motorcross_rider motocross_rider
    rider: jockey racer driver
    skateboarder: skater boarder
    rollerblader: inline_skater
    snowboarder; skier
    surfer: windsurfer
    climber: rock_climber mountaineer
    hiker: backpacker
    runner: jogger sprinter
    swimmer
    diver: scuba_diver snorkeler
    kayaker: rafter canoeist rower
    wrestler: sumo_wrestler boxer
    dancer
    gymnast: acrobat
    cheerleader
    musician: singer guitarist drummer violinist band_member performer
    officer: police_officer soldier cop guard firefighter policewoman
    worker: construction_worker workman
    athlete: hurdler jumper
    photographer; clown; student
    referee: umpire
    vendor
    friend: companion buddy
    tourist
""")

TITLES = {"man", "woman", "boy", "girl", "child", "baby"}
SEX = {"man": "m", "boy": "m", "woman": "f", "girl": "f"}
AGE = {"man": "old", "woman": "old", "boy": "young", "girl": "young", "child": "young", "baby": "young"}
IN_PLAIN_WORDS = {"man", "woman", "boy", "girl", "child", "baby", "person", "people"}
MANY_PEOPLE = {"people", "crowd", "audience", "family", "cattle"}
