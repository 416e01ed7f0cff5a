"use client";

import { useWorkspace } from "@/components/workspace";
import { classes } from "@/lib/classes";
import type { Picture } from "@/lib/pictures";

type Words = { which: string; choose: (name: string) => string; chosen: (name: string) => string };

/** Which of several pictures a view is about. */
export function PictureChoice({ chosen, words }: { chosen: Picture; words: Words }) {
  const { pictures, change } = useWorkspace();
  if (pictures.length < 2) return null;
  return (
    <ul aria-label={words.which} className="-m-1 flex gap-2 overflow-x-auto p-1">
      {pictures.map((each) => (
        <li key={each.id} className="shrink-0">
          <button
            type="button"
            aria-pressed={each.id === chosen.id}
            aria-label={each.id === chosen.id ? words.chosen(each.name) : words.choose(each.name)}
            onClick={() => change({ chosen: each.id })}
            className={classes(
              "block size-16 overflow-hidden rounded-lg border-2 bg-sunken",
              each.id === chosen.id ? "border-accent" : "border-transparent hover:border-edge",
            )}
          >
            {each.preview && <img src={each.preview} alt="" className="size-full object-cover" />}
          </button>
        </li>
      ))}
    </ul>
  );
}
