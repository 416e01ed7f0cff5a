/** How large a picture is sent. Knows sizes, no pixels. */

export type Size = { width: number; height: number };

/** The models see squares of 224 to 480 pixels, into which they press the whole picture. */
const LONGEST = 1024;
const SHORTEST = 768;
/** Less of a reduction is not worth a second compression. */
const WORTH = 0.6;

/** The size to send, or null where it goes as it is. A panorama keeps its height. */
export function reducedSize({ width, height }: Size): Size | null {
  const long = Math.max(width, height);
  const short = Math.min(width, height);
  if (short < 1) return null;
  const scale = Math.max(LONGEST / long, SHORTEST / short);
  if (scale > WORTH) return null;
  return { width: Math.max(1, Math.round(width * scale)), height: Math.max(1, Math.round(height * scale)) };
}

/** The largest size within a square. */
export function within({ width, height }: Size, side: number): Size {
  const scale = Math.min(1, side / Math.max(width, height));
  return { width: Math.max(1, Math.round(width * scale)), height: Math.max(1, Math.round(height * scale)) };
}
