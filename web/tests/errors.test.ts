import { describe, expect, it } from "vitest";

import { errorOf, passes, waitOf } from "@/lib/api/errors";

const problem = (status: number, code: string, detail: string) => JSON.stringify({ status, code, detail, title: "" });

describe("errorOf", () => {
  it.each([
    [401, "key", "key"],
    [403, "key", "key"],
    [404, "model_not_found", "refused"],
    [408, "slow", "refused"],
    [413, "too_large", "refused"],
    [422, "image", "refused"],
    [429, "busy", "busy"],
    [502, "", "loading"],
    [503, "not_ready", "loading"],
    [500, "internal", "failed"],
    [504, "timeout", "failed"],
  ])("takes %i %s as %s", (status, code, kind) => {
    const error = errorOf(status, problem(status, code, "why"), "3");
    expect(error).toMatchObject({ kind, code, status, detail: "why" });
    expect(passes(error)).toBe(kind === "busy" || kind === "loading");
    expect(error.retryAfterS).toBe(passes(error) ? 3 : 0);
  });

  it("reads OpenAI's errors, and nothing of a proxy's page", () => {
    expect(errorOf(401, '{"error": {"message": "no key", "code": "key"}}', null).detail).toBe("no key");
    for (const body of ["<h1>Bad gateway</h1>", "", "null", "[1]", '{"detail": {"a": 1}}', '"text"']) {
      expect(errorOf(502, body, null).detail).toBe("");
    }
  });
});

describe("waitOf", () => {
  const now = Date.parse("2026-01-01T00:00:00Z");
  it.each([
    ["7", 7],
    ["0", 1],
    ["99999", 120],
    [" 3 ", 3],
    ["Thu, 01 Jan 2026 00:00:20 GMT", 20],
    ["Wed, 31 Dec 2025 00:00:00 GMT", 1],
    ["soon", 2],
    ["-5", 2],
    [null, 2],
  ])("%s is %i seconds", (header, seconds) => {
    // "-5" is a date to some engines; whatever it is, the wait is short.
    if (header === "-5") expect(waitOf(header, now)).toBeLessThanOrEqual(2);
    else expect(waitOf(header, now)).toBe(seconds);
  });
});
