/** A gallery's rows. Knows widths, no pixels. */

const NARROWEST_PX = 200;
const FEWEST = 2;

/** Two on a phone, more as there is room. */
export const columnsFor = (width: number): number => Math.max(FEWEST, Math.floor(width / NARROWEST_PX));

export function rowsOf<T>(all: readonly T[], columns: number): T[][] {
  const rows: T[][] = [];
  for (let start = 0; start < all.length; start += columns) rows.push(all.slice(start, start + columns));
  return rows;
}
