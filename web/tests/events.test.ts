import { describe, expect, it } from "vitest";

import { eventReader } from "@/lib/api/events";

const STREAM = 'event: piece\ndata: {"text": "a"}\n\n: ping\n\nevent: piece\r\ndata: {"text":\r\ndata:  " b"}\r\n\r\ndata: last\n\n';

describe("eventReader", () => {
  it("gives the same events however the text is cut", () => {
    const whole = eventReader()(STREAM);
    expect(whole).toEqual([
      { name: "piece", data: '{"text": "a"}' },
      { name: "piece", data: '{"text":\n " b"}' },
      { name: "message", data: "last" },
    ]);
    for (let step = 1; step < 9; step++) {
      const read = eventReader();
      const found = [];
      for (let end = step; end < STREAM.length + step; end += step) found.push(...read(STREAM.slice(0, end)));
      expect(found).toEqual(whole);
    }
  });

  it("does not give what is cut off", () => {
    const read = eventReader();
    expect(read('event: piece\ndata: {"text": "a')).toEqual([]);
    expect(read("")).toEqual([]);
  });
});
