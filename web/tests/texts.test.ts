import { describe, expect, it } from "vitest";

import { altAttribute, altText } from "@/lib/alt";
import { savedName, shownName } from "@/lib/names";
import { languages, stringsFor } from "@/lib/strings";
import { laterLanguages } from "@/lib/strings-later";

describe("altText", () => {
  it.each([
    ["a picture of a dog on a beach", "A dog on a beach"],
    ["an image showing two cats .", "Two cats"],
    ["a photographer behind a tripod", "A photographer behind a tripod"],
    ["", ""],
  ])("%s", (caption, text) => expect(altText(caption)).toBe(text));

  it("cannot leave its attribute", () => {
    expect(altAttribute('a "b" & <script>')).toBe('alt="A &quot;b&quot; &amp; &lt;script&gt;"');
  });
});

describe("names", () => {
  it("shows nothing that turns, hides or breaks the text", () => {
    expect(shownName("a\u202egpj.exe\u0000\u200b\n b\ud800")).toBe("agpj.exe b");
    const long = shownName("x".repeat(500) + ".jpg");
    expect(Array.from(long).length).toBeLessThanOrEqual(80);
    expect(long).toMatch(/….*\.jpg$/);
    expect(shownName("👩‍🚀".repeat(100))).not.toMatch(/[\ud800-\udbff](?![\udc00-\udfff])/);
  });

  it.each([
    ["photo.jpg", "photo.txt"],
    ["../../etc/passwd", "passwd.txt"],
    ["C:\\a\\b c.jpeg", "b-c.txt"],
    ['"><img>.png', "img.txt"],
    ["ファイル.png", "ファイル.txt"],
    ["...", "picture.txt"],
    ["CON?.jpg", "CON.txt"],
  ])("saves %s as %s", (name, saved) => expect(savedName(name, "txt")).toBe(saved));
});

describe("strings", () => {
  it("falls back to English", () => {
    expect(stringsFor(languages, ["xx-YY", "en-GB"])).toBe(languages.en);
    expect(stringsFor(languages, [])).toBe(languages.en);
  });

  it("has every word in every language", () => {
    const shape = (value: unknown): unknown =>
      Array.isArray(value)
        ? "list"
        : typeof value === "object" && value !== null
          ? Object.fromEntries(Object.entries(value).map(([name, inner]) => [name, shape(inner)]))
          : typeof value;
    for (const tables of [languages, laterLanguages]) {
      expect(Object.keys(tables)).toEqual(Object.keys(languages));
      for (const table of Object.values(tables)) expect(shape(table)).toEqual(shape(tables.en));
    }
  });

  it.each([
    [0.0004, "1 ms"],
    [0.123, "123 ms"],
    [0.9999, "1.0 s"],
    [12.34, "12.3 s"],
  ])("says %d seconds as %s", (seconds, words) => expect(languages.en?.describe.time(seconds)).toBe(words));
});
