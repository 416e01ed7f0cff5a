import { describe, expect, it } from "vitest";

import { FIRST_SEEK, isSearch, PAGE, pageAddress, searchForm, titleOf } from "@/lib/library";
import type { Picture } from "@/lib/pictures";
import { columnsFor, rowsOf } from "@/lib/rows";
import { laterLanguages } from "@/lib/strings-later";

const picture: Picture = { id: "p", name: "p.jpg", blob: new Blob(["picture"]), preview: "", size: null, original: null };
const like = { id: "0".repeat(20), caption: "a cat", name: "cat.jpg" };
const asked = (form: FormData) => Object.fromEntries([...form].map(([name, value]) => [name, value instanceof File ? value.name : value]));

describe("searchForm", () => {
  it("holds what is sought, and nothing that says nothing", () => {
    expect(asked(searchForm({ ...FIRST_SEEK, words: " a dog " }, null, PAGE))).toEqual({ words: "a dog", limit: "60" });
    expect(asked(searchForm({ ...FIRST_SEEK, hybrid: true, like }, null, 5))).toEqual({ like: like.id, limit: "5" });
  });

  it("weighs words and picture only against each other, and prefers a file to one of the library", () => {
    const both = { ...FIRST_SEEK, words: "at night", where: "width > 10", hybrid: true, weight: "words" as const, like };
    const form = asked(searchForm(both, picture, 5));
    expect(form).toEqual({ words: "at night", images: "picture", weight: "0.8", where: "width > 10", hybrid: "true", limit: "5" });
    expect(searchForm({ ...both, words: " " }, picture, 5).get("weight")).toBeNull();
  });

  it("is no search with a filter alone", () => {
    expect(isSearch({ ...FIRST_SEEK, where: "width > 10", words: "  " }, null)).toBe(false);
    expect(isSearch({ ...FIRST_SEEK, like }, null)).toBe(true);
    expect(isSearch(FIRST_SEEK, picture)).toBe(true);
  });
});

describe("pages", () => {
  it("are asked for one after the other, with whatever stands in the filter", () => {
    expect(pageAddress("", "")).toBe("/v1/images?limit=60");
    const query = new URL(pageAddress(' caption ~ "a&b#c" ', "0a"), "http://x").searchParams;
    expect(Object.fromEntries(query)).toEqual({ limit: "60", where: 'caption ~ "a&b#c"', after: "0a" });
  });

  it("are cut into rows, two pictures on a phone", () => {
    expect([0, 358, 600, 1120].map(columnsFor)).toEqual([2, 2, 3, 5]);
    expect(rowsOf([1, 2, 3, 4, 5], 2)).toEqual([[1, 2], [3, 4], [5]]);
    expect(rowsOf([], 3)).toEqual([]);
  });
});

describe("words", () => {
  it("name a picture by its caption, where it has one", () => {
    expect(titleOf({ caption: " a cat ", name: "x.jpg" })).toBe("a cat");
    expect(titleOf({ caption: " ", name: "x.jpg" })).toBe("x.jpg");
  });

  it("count", () => {
    const { added, total } = laterLanguages.en!.find;
    expect(added(1, 0)).toBe("1 picture was added to the library.");
    expect(added(2, 1)).toBe("2 pictures were added to the library, 1 was there already.");
    expect(total(1234)).toBe("1,234 pictures in the library");
  });
});
