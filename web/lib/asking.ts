/** What is asked of the service, as the forms that it takes. Knows the interface, no components. */

import type { Options } from "@/lib/api/schemas";

export const MANNERS = ["quick", "careful", "varied"] as const;
export const LENGTHS = ["short", "usual", "long"] as const;
export type Manner = (typeof MANNERS)[number];
export type Length = (typeof LENGTHS)[number];

/** All that changes a caption beside its picture. round: counts up with every "again", for other draws. */
export type Wish = { prompt: string; manner: Manner; length: Length; model: string; round: number };

export const FIRST_WISH: Wish = { prompt: "", manner: "quick", length: "usual", model: "", round: 0 };

const TOKENS: Record<Length, { max_length: number; min_length: number }> = {
  short: { max_length: 10, min_length: 4 },
  usual: { max_length: 20, min_length: 5 },
  long: { max_length: 40, min_length: 16 },
};

/** Of the search, as GenerateOptions of the service has them. The prompt counts among the tokens, so it gets its own. */
export function optionsOf(wish: Wish, more = false): Options {
  const { max_length, min_length } = TOKENS[wish.length];
  const { least, most } = tokensOf(wish.prompt);
  const lengths = { max_length: Math.min(100, max_length + most), min_length: Math.min(60, min_length + least) };
  if (more) return { ...lengths, num_beams: 6, num_return: 5 };
  if (wish.manner === "careful") return { ...lengths, num_beams: 3 };
  if (wish.manner === "varied") return { ...lengths, num_beams: 1, sample: true, seed: wish.round };
  return { ...lengths, num_beams: 1 };
}

/** How many tokens a prompt may take: WordPiece cuts rare words into pieces, and every sign is one. */
function tokensOf(prompt: string): { least: number; most: number } {
  const words = prompt.match(/[\p{L}\p{N}]+/gu) ?? [];
  const signs = prompt.match(/[^\p{L}\p{N}\s]/gu)?.length ?? 0;
  const pieces = words.reduce((sum, word) => sum + Math.ceil(word.length / 3), 0);
  return { least: words.length, most: pieces + signs + (prompt.trim() ? 2 : 0) };
}

/** Only the manners that know the next word at once can be shown as they grow. */
export const isStreamed = (wish: Wish): boolean => wish.manner !== "careful";

export function captionForm(picture: Blob, wish: Wish, more = false): FormData {
  const form = formOf(picture, wish.model);
  if (wish.prompt.trim()) form.append("prompt", wish.prompt.trim());
  form.append("options", JSON.stringify(optionsOf(wish, more)));
  if (!more && isStreamed(wish)) form.append("stream", "true");
  return form;
}

export function answerForm(picture: Blob, questions: readonly string[], model: string): FormData {
  const form = formOf(picture, model);
  for (const question of questions) form.append("questions", question);
  return form;
}

/** The file's own name stays here: the service has no use for it. */
function formOf(picture: Blob, model: string): FormData {
  const form = new FormData();
  form.append("images", picture, "picture");
  if (model) form.append("model", model);
  return form;
}

/** The questions of a text: a line each, none twice. */
export const questionsOf = (text: string): string[] => [
  ...new Set(
    text
      .split(/\r?\n/)
      .map((line) => line.trim())
      .filter(Boolean),
  ),
];
