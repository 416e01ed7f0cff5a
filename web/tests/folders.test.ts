import { describe, expect, it } from "vitest";

import { first, walk } from "@/lib/dropped";
import { looksLikePicture } from "@/lib/pictures";

const file = (name: string): FileSystemEntry =>
  ({ name, isFile: true, isDirectory: false, file: (found: (f: File) => void) => found(new File(["a"], name)) }) as never;

const unreadable = (name: string): FileSystemEntry =>
  ({ name, isFile: true, isDirectory: false, file: (_: unknown, failed: () => void) => failed() }) as never;

/** As Chromium reads it: a hundred entries a call. */
function folder(name: string, entries: FileSystemEntry[]): FileSystemEntry {
  const createReader = () => {
    let read = 0;
    return { readEntries: (found: (some: FileSystemEntry[]) => void) => found(entries.slice(read, (read += 100))) };
  };
  return { name, isFile: false, isDirectory: true, createReader } as never;
}

const names = (files: File[]) => files.map(({ name }) => name);

describe("walk", () => {
  it("gives the files of folders in folders, by name, without hidden and unreadable ones", async () => {
    const tree = folder("a", [file("10.jpg"), folder("sub", [file("c.jpg")]), file("9.jpg"), file(".x"), unreadable("z")]);
    const { files, cut } = await walk([tree, folder(".git", [file("d.jpg")])]);
    expect(names(files)).toEqual(["9.jpg", "10.jpg", "c.jpg"]);
    expect(cut).toBe(false);
  });

  it("stops at a hundred, also in folders of more than one reading", async () => {
    const { files, cut } = await walk([folder("a", Array.from({ length: 250 }, (_, n) => file(`${n}.jpg`)))]);
    expect(files).toHaveLength(100);
    expect(cut).toBe(true);
    expect(first(files).cut).toBe(false);
  });
});

describe("looksLikePicture", () => {
  it.each([
    ["a.jpg", "image/jpeg", true],
    ["a.heic", "", true],
    ["a.svg", "image/svg+xml", false],
    ["a.txt", "text/plain", false],
    ["a", "", false],
    ["a.jpg", "text/html", false],
  ])("%s %s", (name, type, expected) => expect(looksLikePicture({ name, type })).toBe(expected));
});
