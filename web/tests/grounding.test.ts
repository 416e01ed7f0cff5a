import { describe, expect, it } from "vitest";

import type { GroundingResult } from "@/lib/api/schemas";
import { colourOf, groundForm, thirdOf } from "@/lib/grounding";
import { laterLanguages } from "@/lib/strings-later";

const at = (x: number, y: number) => ({ peak: [x, y], size: [300, 90] }) as unknown as GroundingResult;
const say = (x: number, y: number) => laterLanguages.en!.where.at(...thirdOf(at(x, y)));

describe("groundForm", () => {
  it("asks for phrases one by one, and for a drawing only where the browser has no picture", () => {
    const form = groundForm(new File(["x"], "secret.jpg"), ["a, b", "c"], "base", true);
    expect(form.getAll("phrases")).toEqual(["a, b", "c"]);
    expect((form.get("images") as File).name).toBe("picture");
    expect([form.get("model"), form.get("overlay")]).toEqual(["base", "true"]);
    expect([...groundForm(new Blob(), [], "", false).keys()]).toEqual(["images"]);
  });
});

describe("colourOf", () => {
  it("grows lighter and more opaque with the heat, from nothing to all", () => {
    const all = Array.from({ length: 256 }, (_, heat) => colourOf(heat));
    const light = all.map(([red, green, blue]) => 0.21 * red + 0.72 * green + 0.07 * blue);
    for (let heat = 1; heat < 256; heat++) {
      expect(light[heat]).toBeGreaterThanOrEqual(light[heat - 1]! - 1);
      expect(all[heat]![3]).toBeGreaterThanOrEqual(all[heat - 1]![3]);
    }
    expect(all[0]![3]).toBe(0);
    expect(all[255]).toEqual([252, 255, 164, 255]);
  });
});

describe("where it is, in words", () => {
  it.each([
    [0, 0, "at the top, on the left"],
    [299, 89, "at the bottom, on the right"],
    [300, 90, "at the bottom, on the right"],
    [150, 45, "in the middle"],
    [10, 45, "on the left"],
    [150, 5, "at the top, in the middle"],
  ])("%d, %d", (x, y, words) => expect(say(x, y)).toBe(words));
});
