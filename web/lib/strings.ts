/**
 * Every word that the page shows, a table a language; English is the first and the one that others fall back to. What
 * only the views say that are loaded later stands in strings-later.ts.
 */

const en = {
  title: "openblip",
  tagline: "Describes pictures and answers questions about them",
  skip: "Skip to the content",
  views: { label: "Views", describe: "Describe", ask: "Ask", where: "Where", find: "Find" },
  language: "en",

  lead: "Have pictures described, ask about them, see where in them things are, and find pictures by words. All of that happens on this service.",

  drop: {
    title: "Drop pictures here",
    touch: "Bring a picture",
    or: "or paste them, or",
    choose: "Choose pictures",
    camera: "Take a photo",
    more: "Add pictures",
    now: "Let go to add them",
    note: "They go to this service alone. Large ones are made smaller first.",
    working: (count: number) => `Reading ${count} ${count === 1 ? "picture" : "pictures"}…`,
    skipped: (names: string) => `Not a picture that can be used: ${names}`,
    tooLarge: (names: string) => `Too large to send: ${names}`,
    tooMany: (most: number) => `Only the first ${most} pictures were added.`,
    empty: "There was no picture in it.",
    dismiss: "Dismiss",
  },
  samples: {
    title: "Or try one of these",
    use: (what: string) => `Use the sample: ${what}`,
    by: (by: string, terms: string) => `${by} · ${terms}`,
    failed: "The sample could not be loaded.",
    all: [
      { file: "coffee.webp", what: "A cup of espresso", by: "Rachel Michetti", terms: "CC0" },
      { file: "camera.webp", what: "A photographer behind a tripod", by: "Lav Varshney", terms: "CC0" },
      { file: "chelsea.webp", what: "Chelsea the cat", by: "Stéfan van der Walt", terms: "CC0" },
      { file: "astronaut.webp", what: "Eileen Collins, astronaut", by: "NASA", terms: "public domain" },
    ],
  },

  picture: {
    unnamed: "Untitled picture",
    noPreview: "This browser cannot show the file; the service may read it.",
    sent: (width: number, height: number, fromWidth: number, fromHeight: number) =>
      `Sent as ${width} × ${height}, from ${fromWidth} × ${fromHeight}`,
    remove: (name: string) => `Remove ${name}`,
    removeAll: "Remove all",
    count: (count: number) => `${count} ${count === 1 ? "picture" : "pictures"}`,
  },

  describe: {
    title: "Describe pictures",
    begin: "Let every caption begin with",
    beginHint: "a picture of",
    apply: "Describe again",
    options: "How it is worded",
    manner: "Choice of words",
    manners: {
      quick: { name: "Word by word", about: "The likeliest next word each time. Fastest; shows as it is found." },
      careful: { name: "Careful", about: "Compares three wordings and keeps the best." },
      varied: { name: "Varied", about: "Draws its words by chance. Different every time you ask again." },
    },
    length: "Length",
    lengths: { short: "Short", usual: "Usual", long: "Long" },
    model: "Model",
    preparing: "Waiting for its turn…",
    sending: (percent: number) => `Sending, ${percent} %`,
    looking: "Looking at it…",
    writing: "Writing…",
    stopped: "Unfinished",
    cached: "Answered from cache",
    cachedAbout: "The service had worked this out before.",
    time: (seconds: number) => (seconds < 0.995 ? `${Math.max(1, Math.round(seconds * 1000))} ms` : `${seconds.toFixed(1)} s`),
    sure: "How sure",
    sureAbout: "The mean probability of its words, by the model's own reckoning. Not a measure of truth.",
    copy: "Copy",
    copyAlt: "Copy alt text",
    copied: "Copied",
    notCopied: "The browser did not allow copying. Select the text instead.",
    text: "Text",
    textAbout: "Text file",
    json: "JSON",
    jsonAbout: "JSON file",
    more: "Other captions",
    moreLoading: "Looking for other captions…",
    none: "It has no other captions to offer.",
    ask: "Ask about it",
    where: "Where",
    done: (name: string, caption: string) => `Caption of ${name}: ${caption}`,
  },

  problem: {
    again: "Try again",
    now: "Try now",
    unreachable: { title: "The service cannot be reached", about: "Nothing that you typed is lost. It is tried again as soon as it answers." },
    offline: { title: "You are offline", about: "Nothing that you typed is lost. It is tried again once you are back." },
    broken: { title: "The connection broke off", about: "The service stopped before it had finished." },
    key: { title: "A key is needed", about: "This service answers those who have a key." },
    wrongKey: { title: "The key is not known", about: "It may have expired. Sign in with another one; nothing you typed is lost." },
    busy: { title: "The service is busy" },
    loading: { title: "The model is still being loaded" },
    library: "The library cannot be used now",
    refused: { title: "The service could not use this" },
    failed: { title: "Something went wrong in the service", about: "It has been noted in the service's log." },
    wait: (seconds: number) => `Trying again in ${seconds} s.`,
    waited: "Trying again…",
    signIn: "Sign in",
  },

  status: {
    label: "Service and model",
    ready: "ready",
    connecting: "connecting…",
    loading: "loading the model",
    unreachable: "not reachable",
    offline: "offline",
    locked: "key needed",
    model: "Model",
    revision: "Revision",
    does: "It can",
    tasks: { caption: "describe", answer: "answer", match: "compare with texts", embed: "embed" } as Record<string, string>,
    queue: "Waiting now",
    queued: (waiting: number, hand: number) =>
      `${waiting} ${waiting === 1 ? "picture" : "pictures"} in the queue, ${hand} ${hand === 1 ? "request" : "requests"} in hand`,
    unknownQueue: "not told",
    interface: "Interface for programs",
    close: "Close",
    mini: "mini is small and learned from 6,000 photos of people and dogs. It describes anything else as if it were one of them, with confidence. For research and education only.",
    miniShort: "The model here is mini: small, and trained on photos of people and dogs. Expect mistakes, above all on anything else.",
    miniMore: "More about it",
  },

  key: {
    title: "Sign in",
    about: "Enter the API key that you were given by whoever runs this service.",
    label: "API key",
    keep: "Keep it on this device",
    keepAbout: "Else it is forgotten when you close this tab.",
    enter: "Sign in",
    wrong: "The service does not know this key.",
    checking: "Checking…",
    out: "Sign out",
    cancel: "Not now",
    empty: "Enter a key first.",
  },

  crash: { title: "The page ran into an error", again: "Load it again" },
  missing: { title: "There is nothing here", home: "To the first page" },
};

export type Strings = typeof en;

export const languages: Record<string, Strings> = { en };

/** The table for the first of these languages that there is one for, else the English one. */
export function stringsFor<T>(tables: Record<string, T>, wanted: readonly string[]): T {
  for (const each of wanted) {
    const found = tables[each.toLowerCase().split("-")[0] ?? ""];
    if (found) return found;
  }
  return tables.en as T;
}
