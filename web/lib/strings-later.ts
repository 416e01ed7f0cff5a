/** The words of the views Where and Find, which are loaded when they are first shown; as strings.ts has the others. */

const en = {
  where: {
    title: "See where the words come from",
    which: "Picture",
    choose: (name: string) => `Show where in ${name}`,
    chosen: (name: string) => `Showing where in ${name}`,
    caption: "From its caption",
    own: "Your own words",
    phrase: "Look for something else",
    hint: "the red cup",
    show: "Show",
    working: "Looking where that is…",
    reading: "Describing the picture, and looking where its words are…",
    none: "Its caption names nothing to look for. Type what you are looking for.",
    strength: "Strength of the colours",
    sure: "Fits the whole picture",
    sureAbout: "The model's probability that these words describe the picture. A few words get little even where they are right.",
    always: "Something is always lit, even for what the picture does not show.",
    boxes: (count: number) => `${count === 1 ? "1 region in a box" : `${count} regions in boxes`}; the cross is the hottest point.`,
    at: (across: number, down: number) =>
      across === 1 && down === 1
        ? "in the middle"
        : [["at the top", "", "at the bottom"][down], ["on the left", down === 1 ? "" : "in the middle", "on the right"][across]]
            .filter(Boolean)
            .join(", "),
    picture: (phrase: string, place: string) => `Where the picture shows “${phrase}”: ${place}`,
    done: (phrase: string, place: string, percent: number) => `${phrase}: ${place}, ${percent} %`,
    remove: (phrase: string) => `Remove ${phrase}`,
    noTask: (model: string) => `The model ${model} cannot tell where words are.`,
  },

  find: {
    title: "Find pictures",
    words: "What the picture shows",
    hint: "a dog on a beach",
    search: "Find",
    clear: "Show all",
    byPicture: "By a picture",
    like: "Looking for pictures like this one",
    picked: (name: string) => `Like the picture ${name}`,
    unlike: "No longer by this picture",
    filter: "Filter and options",
    where: "Only pictures where",
    whereHint: "width > 1000 and taken >= 2024-06",
    whereAbout: 'Of caption, path, width, height, size, taken and modified; ~ means "holds": caption ~ "dog".',
    hybrid: "Look for the words in captions too",
    describeAdded: "Describe pictures that are added",
    weight: "What counts more",
    weights: { picture: "Picture", both: "Both", words: "Words" },
    loading: "Opening the library…",
    searching: "Looking…",
    total: (count: number) => `${count.toLocaleString("en")} ${count === 1 ? "picture" : "pictures"} in the library`,
    ofTotal: (count: number) => `Those that the filter lets through, of ${count.toLocaleString("en")} in the library`,
    shown: (count: number) => `${count} ${count === 1 ? "picture" : "pictures"} found`,
    foundAbout: (ms: number) => `in ${Math.max(1, Math.round(ms))} ms`,
    reranked: (count: number, ms: number) =>
      `The best ${count} were looked at again in ${Math.max(1, Math.round(ms))} ms: a bar says how sure the model is that the words fit.`,
    notReranked: "In the order of similarity; the model did not look again.",
    fits: "How well the words fit",
    fitsAbout: "Looked at again: the model's probability that the words describe the picture.",
    similarity: "Similarity",
    similarityAbout: "The cosine of their vectors. It orders pictures; no value means right or wrong.",
    nothing: "Nothing was found. Try other words, or another filter.",
    more: "More",
    moreLoading: "More are coming…",
    results: "Pictures found",
    gallery: "Pictures of the library",
    open: (title: string) => `Open in Describe: ${title}`,
    opening: "Fetching the picture…",
    similar: (title: string) => `Find pictures like this one: ${title}`,
    remove: (title: string) => `Take out of the library: ${title}`,
    gone: "The file is gone",
    unseen: "It could not be shown",
    goneAbout: "Its file was moved or deleted. Index the folder again, or take it out.",
    removeTitle: "Take it out of the library?",
    removeAbout: "A picture that was added here is deleted with it. A file that was indexed where it lies stays there.",
    removeYes: "Take it out",
    removeNo: "Keep it",
    removed: (title: string) => `Taken out: ${title}`,
    add: "Add to the library",
    now: "Let go to add them to the library – or over the search, to find pictures like it",
    adding: (done: number, all: number) => `Adding to the library: ${done} of ${all} done`,
    added: (count: number, already: number) =>
      `${count} ${count === 1 ? "picture was" : "pictures were"} added to the library` +
      (already ? `, ${already} ${already === 1 ? "was" : "were"} there already` : "") +
      ".",
    notAdded: (count: number) => `${count} could not be added.`,
    emptyTitle: "The library is empty",
    emptyAbout: "Drop pictures here to add them, or let the service's machine index a folder, which leaves the files where they are:",
    emptyCommand: "openblip index ~/Pictures --db photos.lance",
    emptyAfter: "photos.lance is the library that the service was started with. The page shows what was indexed as soon as it is asked again.",
    lookAgain: "Look again",
    noneTitle: "This service has no photo library",
    noneAbout: "Searching needs one. Whoever runs the service starts it with the name of a library; it is made if it is not there:",
    noneCommand: "OPENBLIP_LIBRARY=photos.lance openblip serve",
    noneAfter: "It needs the extra for search: pip install 'openblip[serve,search]'. Describing and asking work without.",
  },
};

export type LaterStrings = typeof en;

export const laterLanguages: Record<string, LaterStrings> = { en };
