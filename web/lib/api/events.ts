/** Server-sent events out of a text that is still growing. Knows the format, no service. */

export type ServerEvent = { name: string; data: string };

/** Feed it all text that is there so far; it gives the events that have become whole since the last call. */
export function eventReader(): (soFar: string) => ServerEvent[] {
  let read = 0;
  return (soFar) => {
    const found: ServerEvent[] = [];
    for (;;) {
      const end = /\r?\n\r?\n/g;
      end.lastIndex = read;
      const match = end.exec(soFar);
      if (!match) return found;
      const event = eventOf(soFar.slice(read, match.index));
      if (event) found.push(event);
      read = match.index + match[0].length;
    }
  };
}

function eventOf(block: string): ServerEvent | null {
  let name = "message";
  const data: string[] = [];
  for (const line of block.split(/\r?\n/)) {
    const colon = line.indexOf(":");
    if (colon <= 0) continue; // a comment, which keeps a connection open
    const value = line.slice(colon + 1).replace(/^ /, "");
    if (line.startsWith("event:")) name = value;
    else if (line.startsWith("data:")) data.push(value);
  }
  return data.length ? { name, data: data.join("\n") } : null;
}
