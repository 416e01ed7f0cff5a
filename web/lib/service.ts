/** What the service says of itself: whether it is ready, its models, its queue. */

import { ServiceError } from "@/lib/api/errors";
import type { Model, Models } from "@/lib/api/schemas";
import { send } from "@/lib/api/send";

export type Readiness = "ready" | "loading" | "unreachable";
export type Queue = { waiting: number; inHand: number };

const ANSWER_MS = 5_000;

/** Never raises: that there is no answer is one. */
export async function readiness(): Promise<Readiness> {
  try {
    const answer = await fetch("/readyz", { cache: "no-store", signal: AbortSignal.timeout(ANSWER_MS) });
    if (answer.ok) return "ready";
    return answer.status === 503 ? "loading" : "unreachable";
  } catch {
    return "unreachable";
  }
}

/** Raises ServiceError, of the kind "key" where one is needed. */
export async function models(signal?: AbortSignal): Promise<Model[]> {
  const body = await send("/v1/models", null, { signal });
  try {
    return (JSON.parse(body) as Models).data;
  } catch {
    throw new ServiceError("failed");
  }
}

/** What /metrics tells; null where it is not open to this page. */
export async function queue(): Promise<Queue | null> {
  try {
    const answer = await fetch("/metrics", { cache: "no-store", signal: AbortSignal.timeout(ANSWER_MS) });
    return answer.ok ? queueOf(await answer.text()) : null;
  } catch {
    return null;
  }
}

export function queueOf(text: string): Queue | null {
  const waiting = figure(text, "openblip_queue_pictures");
  const inHand = figure(text, "openblip_requests_in_hand");
  return waiting === null || inHand === null ? null : { waiting, inHand };
}

function figure(text: string, name: string): number | null {
  const line = text.split("\n").find((each) => each.startsWith(`${name} `));
  const value = Number(line?.slice(name.length));
  return line && Number.isFinite(value) ? value : null;
}
