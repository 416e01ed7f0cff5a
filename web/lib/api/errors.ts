/** What can go wrong with a request, in kinds that the page shows in different ways. Knows no words and no components. */

export type Kind =
  | "unreachable" // no answer at all
  | "broken" // the answer broke off
  | "key" // a key is needed, or the one given is not known
  | "busy" // too much work, or too many requests: `retryAfterS` says when
  | "loading" // the model is not there yet, or the service is ending
  | "refused" // the service says what is wrong with the request
  | "failed"; // the service failed

export class ServiceError extends Error {
  readonly at = Date.now();

  constructor(
    readonly kind: Kind,
    readonly detail: string = "",
    readonly status: number = 0,
    readonly retryAfterS: number = 0,
    readonly code: string = "",
  ) {
    super(detail || kind);
    this.name = "ServiceError";
  }
}

const MOST_WAIT_S = 120;
const USUAL_WAIT_S = 2;

/** Of an answer that is no success. body: RFC 9457 problem details, OpenAI's errors, or whatever a proxy says. */
export function errorOf(status: number, body: string, retryAfter: string | null): ServiceError {
  const { detail, code } = said(body);
  const waitS = waitOf(retryAfter);
  if (status === 401 || status === 403) return new ServiceError("key", detail, status, 0, code);
  if (status === 429) return new ServiceError("busy", detail, status, waitS, code);
  if (status === 502 || status === 503) return new ServiceError("loading", detail, status, waitS, code);
  if (status >= 400 && status < 500) return new ServiceError("refused", detail, status, 0, code);
  return new ServiceError("failed", detail, status, 0, code);
}

/** Seconds of a Retry-After header, a number or a date; within bounds, whatever it says. */
export function waitOf(header: string | null, now: number = Date.now()): number {
  if (!header) return USUAL_WAIT_S;
  const seconds = /^\d+$/.test(header.trim()) ? Number(header) : (Date.parse(header) - now) / 1000;
  return Number.isFinite(seconds) ? Math.min(MOST_WAIT_S, Math.max(1, Math.ceil(seconds))) : USUAL_WAIT_S;
}

/** Whether the same request may succeed later without anyone doing anything. */
export const passes = (error: ServiceError): boolean => error.kind === "busy" || error.kind === "loading";

function said(body: string): { detail: string; code: string } {
  try {
    const found: unknown = JSON.parse(body);
    if (typeof found === "object" && found !== null) {
      const fields = found as Record<string, unknown>;
      const inner = fields.error as Record<string, unknown> | undefined;
      const detail = fields.detail ?? inner?.message;
      const code = fields.code ?? inner?.code;
      return { detail: typeof detail === "string" ? detail : "", code: typeof code === "string" ? code : "" };
    }
  } catch {
    // a proxy's page, which is nothing to show
  }
  return { detail: "", code: "" };
}
