import { describe, expect, it } from "vitest";

import { answerForm, captionForm, FIRST_WISH, isStreamed, LENGTHS, MANNERS, optionsOf, questionsOf } from "@/lib/asking";
import { reducedSize, within } from "@/lib/scaling";
import { queueOf } from "@/lib/service";

const picture = new Blob(["picture"], { type: "image/jpeg" });

describe("optionsOf", () => {
  it("asks for nothing that the service refuses", () => {
    for (const manner of MANNERS) {
      for (const length of LENGTHS) {
        for (const prompt of ["", "a picture of", "supercalifragilistic <b>".repeat(12)]) {
          for (const more of [false, true]) {
            const options = optionsOf({ ...FIRST_WISH, manner, length, prompt }, more);
            expect(options.min_length).toBeLessThanOrEqual(options.max_length as number);
            expect(options.max_length).toBeLessThanOrEqual(100); // OPENBLIP_MAX_LENGTH
            expect(options.num_beams).toBeLessThanOrEqual(16); // OPENBLIP_MAX_ROWS
            expect(options.num_return ?? 1).toBeLessThanOrEqual(options.num_beams as number);
            expect(options.sample && (options.num_beams as number) > 1).toBeFalsy();
          }
        }
      }
    }
  });

  it("gives a prompt room of its own", () => {
    const plain = optionsOf(FIRST_WISH).max_length as number;
    // mini cuts this one into 25 tokens
    const prompted = optionsOf({ ...FIRST_WISH, prompt: "<b>bold</b> <script>alert(2)</script>" }).max_length as number;
    expect(prompted - plain).toBeGreaterThanOrEqual(25);
  });

  it("draws anew with every round, and only where it draws", () => {
    const varied = { ...FIRST_WISH, manner: "varied" as const };
    expect(optionsOf({ ...varied, round: 1 }).seed).not.toBe(optionsOf({ ...varied, round: 2 }).seed);
    expect(optionsOf({ ...FIRST_WISH, round: 5 })).toEqual(optionsOf(FIRST_WISH));
  });
});

describe("forms", () => {
  it("hold what is asked, and not the file's name", () => {
    const form = captionForm(new File([picture], "secret.jpg"), { ...FIRST_WISH, prompt: " a photo of " });
    expect((form.get("images") as File).name).toBe("picture");
    expect(form.get("prompt")).toBe("a photo of");
    expect(form.get("stream")).toBe("true");
    expect(form.get("model")).toBeNull();
    const careful = captionForm(picture, { ...FIRST_WISH, manner: "careful", model: "base" });
    expect(careful.get("stream")).toBeNull();
    expect(careful.get("model")).toBe("base");
    expect(isStreamed({ ...FIRST_WISH, manner: "careful" })).toBe(false);
    expect(captionForm(picture, FIRST_WISH, true).get("stream")).toBeNull();
    expect(answerForm(picture, ["one?", "two?"], "").getAll("questions")).toEqual(["one?", "two?"]);
  });

  it("take a question a line, none twice", () => {
    expect(questionsOf(" one? \r\n\n two?\none?\n")).toEqual(["one?", "two?"]);
    expect(questionsOf(" \n ")).toEqual([]);
  });
});

describe("sizes", () => {
  it.each([
    [640, 480, null],
    [1600, 1200, null],
    [4000, 3000, [1024, 768]],
    [8000, 5000, [1229, 768]],
    [5000, 8000, [768, 1229]],
    [3000, 200, null], // a panorama has no height to spare
    [20000, 2000, [7680, 768]],
    [1, 1, null],
    [0, 0, null],
  ])("%i × %i", (width, height, expected) => {
    const size = reducedSize({ width, height });
    expect(size && [size.width, size.height]).toEqual(expected);
  });

  it("fits into a square", () => {
    expect(within({ width: 2000, height: 10 }, 640)).toEqual({ width: 640, height: 3 });
    expect(within({ width: 10, height: 20 }, 640)).toEqual({ width: 10, height: 20 });
  });
});

describe("queueOf", () => {
  it("reads the figures, and nothing else", () => {
    const text = "# HELP x\nopenblip_queue_pictures 3.0\nopenblip_requests_in_hand 1.0\n";
    expect(queueOf(text)).toEqual({ waiting: 3, inHand: 1 });
    expect(queueOf("<html>")).toBeNull();
  });
});
