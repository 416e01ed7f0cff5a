/** Where words are in a picture: what is asked, and how what comes back is drawn and said. Knows no components. */

import type { GroundingResult, Response } from "@/lib/api/schemas";
import { send } from "@/lib/api/send";
import { resultOf } from "@/lib/captions";
import { within, type Size } from "@/lib/scaling";

/** Side of the canvas that heat is drawn on. */
const DRAWN_SIDE = 512;

/** From cold to hot, as the service's own overlays have them. */
const COLOURS = [
  [0, 0, 4],
  [87, 16, 110],
  [188, 55, 84],
  [249, 142, 9],
  [252, 255, 164],
] as const;

/** isDrawn: the service shall draw it over the picture, for files that a browser cannot show. No phrases: those of the caption. */
export function groundForm(picture: Blob, phrases: readonly string[], model: string, isDrawn: boolean): FormData {
  const form = new FormData();
  form.append("images", picture, "picture");
  for (const phrase of phrases) form.append("phrases", phrase);
  if (model) form.append("model", model);
  if (isDrawn) form.append("overlay", "true");
  return form;
}

/** A region for each phrase, in order. Raises ServiceError. */
export async function regions(
  picture: Blob,
  phrases: readonly string[],
  model: string,
  isDrawn: boolean,
  signal: AbortSignal,
): Promise<NonNullable<Response["results"][number]["groundings"]>> {
  const found = await send("/v1/ground", groundForm(picture, phrases, model, isDrawn), { signal });
  return resultOf(found).groundings;
}

/** Above 1: what is lukewarm does not veil the picture. */
const CLEARING = 1.7;

/** RGBA of a heat from 0 to 255: the hotter, the less one sees through it. */
export function colourOf(heat: number): [number, number, number, number] {
  const place = (heat / 255) * (COLOURS.length - 1);
  const low = Math.min(COLOURS.length - 2, Math.floor(place));
  const part = place - low;
  const mixed = (channel: 0 | 1 | 2) => Math.round(COLOURS[low]![channel] * (1 - part) + COLOURS[low + 1]![channel] * part);
  return [mixed(0), mixed(1), mixed(2), Math.round(255 * (heat / 255) ** CLEARING)];
}

/** The heat in colours on a canvas of the picture's shape. heatmap: a grey PNG in base64. */
export async function drawHeat(canvas: HTMLCanvasElement, heatmap: string, size: Size): Promise<void> {
  const image = new Image();
  image.src = `data:image/png;base64,${heatmap}`;
  await image.decode();
  const cells = document.createElement("canvas");
  cells.width = image.naturalWidth;
  cells.height = image.naturalHeight;
  const small = cells.getContext("2d");
  const large = canvas.getContext("2d");
  if (!small || !large) return;
  small.drawImage(image, 0, 0);
  const pixels = small.getImageData(0, 0, cells.width, cells.height);
  for (let at = 0; at < pixels.data.length; at += 4) pixels.data.set(colourOf(pixels.data[at]!), at);
  small.putImageData(pixels, 0, 0);
  ({ width: canvas.width, height: canvas.height } = within(size, DRAWN_SIDE)); // which empties it
  large.imageSmoothingQuality = "high";
  large.drawImage(cells, 0, 0, canvas.width, canvas.height);
}

export const sizeOf = ({ size: [width, height] }: GroundingResult): Size => ({ width, height });

/** The third of the picture that the hottest point is in, from 0 to 2: across, down. */
export function thirdOf({ peak: [x, y], size: [width, height] }: GroundingResult): [number, number] {
  const third = (at: number, all: number) => Math.min(2, Math.max(0, Math.floor((3 * at) / all)));
  return [third(x, width), third(y, height)];
}
