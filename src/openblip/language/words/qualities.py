"""What captions say of things: colours, numbers, weather, time of day.

Plain lists, made by reading the captions of Flickr8k's training photos.
"""

from __future__ import annotations

from openblip.language.words.table import table

COLOURS = table("""
    black; white; red
    blue: navy
    green; yellow; orange; pink
    purple: violet lavender
    brown: brunette chocolate
    tan: beige khaki
    grey: gray
    gold: golden
    silver
    blonde: blond
    maroon: burgundy
    turquoise: teal
""")
NEAR_COLOURS = [
    {"brown", "tan", "gold"}, {"tan", "gold", "yellow", "blonde"}, {"grey", "silver"}, {"purple", "pink"}, {"red",
    "maroon"},
    {"blue", "turquoise"}, {"red", "pink"}, {"white", "tan"}, {"grey", "white"},
]  # fmt: skip
"""Colours that two people may call the same thing's."""

NUMBERS = {
    "one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8, "nine": 9, "ten": 10,
    "1": 1, "2": 2, "3": 3, "4": 4, "5": 5, "6": 6, "7": 7, "8": 8, "9": 9, "10": 10,
}  # fmt: skip
NUMBER_WORDS = "zero one two three four five six seven eight nine ten eleven twelve".split()
MANY = set("several many some few numerous various multiple".split())
WEATHER_PATTERNS = {
    "sunny": r"in (the|bright) sun(light|shine)?\b|under the sun\b|bright sun\b|sun (is )?shin",
    "snowy": r"\bit (is )?snow(s|ing)\b|snow(flakes)? (is |are )?fall|falling snow|snowy day",
    "clear": r"clear( blue)? (sky|skies|day)|blue sky\b|blue skies",
    "windy": r"wind (is )?blow|\bin the wind\b|strong wind|windswept",
    "rainy": r"(in|through) the rain\b|(heavy|pouring|falling) rain\b|rain (is )?(fall|pour)",
}
WEATHER = table("""
    rainy: raining rainstorm rainfall drizzle
    snowy: snowing snowstorm blizzard
    sunny: sunshine sunlit sunlight
    cloudy: overcast
    foggy: fog misty
    windy: wind
    stormy: thunderstorm
""")
TIME_PATTERNS = {
    "sunset": r"sun (is )?(sets|setting|set|going down|goes down)\b|setting sun",
    "sunrise": r"sun (is )?(rises|rising)|rising sun",
    "night": r"night-?(time|sky|scene)|night (sky|scene|shot)|(at|the|late|dark|covered) night\b|in the dark\b",
    "evening": r"in the evening|evening (sky|sun|light)|(early|late) evening",
    "day": r"sunny day|clear day|during the day|bright day|summer day|winter day|in daylight",
}
TIMES = table("""
    night: nighttime
    sunset: dusk twilight sundown sunsets
    sunrise: dawn
    evening; morning; afternoon
    day: daytime midday noon daylight
""")
