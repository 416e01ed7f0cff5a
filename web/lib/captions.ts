/** Captions from the service: growing ones, whole ones, and others of the same picture. */

import { ServiceError } from "@/lib/api/errors";
import { eventReader } from "@/lib/api/events";
import type { AnswerResult, CaptionPiece, CaptionResult, Problem, Response } from "@/lib/api/schemas";
import { send } from "@/lib/api/send";
import { answerForm, captionForm, isStreamed, type Wish } from "@/lib/asking";

export type Growth =
  | { phase: "waiting" }
  | { phase: "sending"; share: number }
  | { phase: "looking" }
  | { phase: "growing"; text: string }
  | { phase: "done"; caption: CaptionResult; cached: boolean; seconds: number };

/** What a stream ends with. A service older than the page does not say whether it was in the cache. */
type StreamedCaption = CaptionResult & { cached?: boolean };

export type Captions = { captions: CaptionResult[]; cached: boolean; seconds: number };
export type Answers = { answers: AnswerResult[]; cached: boolean; seconds: number; model: string };

/** The caption of a picture. grow: told of each step. Raises ServiceError. */
export async function caption(
  picture: Blob,
  wish: Wish,
  grow: (growth: Growth) => void,
  signal: AbortSignal,
): Promise<Growth> {
  const read = eventReader();
  let text = "";
  let end: StreamedCaption | Problem | null = null;
  let started = performance.now();
  const take = (soFar: string) => {
    for (const event of read(soFar)) {
      const content: unknown = JSON.parse(event.data);
      if (event.name === "piece") text += (content as CaptionPiece).text;
      else end = content as StreamedCaption | Problem;
    }
    if (!end && text) grow({ phase: "growing", text: text.trimStart() });
  };
  grow({ phase: "waiting" });
  const body = await send("/v1/caption", captionForm(picture, wish), {
    signal,
    onTurn: () => (started = performance.now()),
    onSent: (share) => grow(share < 1 ? { phase: "sending", share } : { phase: "looking" }),
    onText: isStreamed(wish) ? take : undefined,
  });
  const seconds = (performance.now() - started) / 1000;
  if (!isStreamed(wish)) {
    const found = resultOf(body);
    return { phase: "done", caption: one(found.captions), cached: found.cached, seconds };
  }
  take(body);
  const last = end as StreamedCaption | Problem | null;
  if (!last) throw new ServiceError("broken");
  if ("status" in last) throw problemOf(last);
  return { phase: "done", caption: last, cached: last.cached ?? false, seconds };
}

/** Other captions of the same picture, likeliest first. Raises ServiceError. */
export async function otherCaptions(picture: Blob, wish: Wish, signal: AbortSignal): Promise<Captions> {
  const { found, seconds } = await timed(() => send("/v1/caption", captionForm(picture, wish, true), { signal }));
  const { captions, cached } = resultOf(found);
  return { captions, cached, seconds };
}

/** An answer to each question, in order. Raises ServiceError. */
export async function answers(
  picture: Blob,
  questions: readonly string[],
  model: string,
  signal: AbortSignal,
): Promise<Answers> {
  const { found, seconds } = await timed(() => send("/v1/answer", answerForm(picture, questions, model), { signal }));
  const result = resultOf(found);
  return { answers: result.answers, cached: result.cached, seconds, model: (JSON.parse(found) as Response).model };
}

async function timed(work: () => Promise<string>): Promise<{ found: string; seconds: number }> {
  const started = performance.now();
  return { found: await work(), seconds: (performance.now() - started) / 1000 };
}

/** Of the one picture that was asked about. Raises ServiceError. */
export function resultOf(body: string) {
  let result;
  try {
    result = (JSON.parse(body) as Response).results[0];
  } catch {
    throw new ServiceError("failed"); // cut off, or not the service's
  }
  if (!result) throw new ServiceError("failed");
  if (result.error) throw problemOf(result.error);
  const { captions = [], answers = [], groundings = [], cached = false } = result;
  return { captions, answers, groundings, cached };
}

function one(captions: readonly CaptionResult[]): CaptionResult {
  const [first] = captions;
  if (!first) throw new ServiceError("failed");
  return first;
}

const problemOf = (problem: Problem): ServiceError =>
  new ServiceError(problem.status >= 500 ? "failed" : "refused", problem.detail, problem.status, 0, problem.code);
