"use client";

import { useCallback, useEffect, useRef, useState } from "react";

import { Additions } from "@/components/find/additions";
import { Browsing } from "@/components/find/browsing";
import { Finding } from "@/components/find/finding";
import { QUERY_PLACE, SearchForm } from "@/components/find/search-form";
import { NoLibrary } from "@/components/find/without";
import { IntakeNotes } from "@/components/intake/intake";
import { Picker } from "@/components/intake/picker";
import { MiniNote, useServed } from "@/components/service/status";
import { useWorkspace } from "@/components/workspace";
import { ServiceError } from "@/lib/api/errors";
import type { LibraryImage } from "@/lib/api/schemas";
import type { Found } from "@/lib/dropped";
import { FIRST_SEEK, isSearch, type Seek } from "@/lib/library";
import { useLibrary, type Upload } from "@/lib/library-queries";
import { looksLikePicture, pictureOf, release, type Picture } from "@/lib/pictures";
import { recall, remember } from "@/lib/session";
import { useLaterStrings } from "@/lib/use-later-strings";
import { useStrings } from "@/lib/use-strings";
import { useShown } from "@/lib/use-view";

const NAME = "seek";

type Typed = Seek & { isDescribed: boolean };

export default function FindView() {
  const { find } = useLaterStrings();
  const [typed, setTyped] = useState<Typed>(() => ({ ...FIRST_SEEK, isDescribed: true, ...recall<Partial<Typed>>(NAME) }));
  const [sought, setSought] = useState<Seek>(typed);
  const [picture, setPicture] = usePictureQuery();
  const [uploads, setUploads] = useState<Upload[]>([]);
  const library = useLibrary(sought.where);
  const model = useServed()[0];
  const canDescribe = !model?.loaded || Boolean(model.tasks?.includes("caption"));

  useEffect(() => void remember(NAME, typed), [typed]);
  const change = (changes: Partial<Typed>) => setTyped((now) => ({ ...now, ...changes }));
  const lookFor = (seek: Typed) => {
    setTyped(seek);
    setSought(seek);
  };
  const add = useAdd(setUploads, typed.isDescribed && canDescribe);
  const pick = usePick(async (file) => {
    await setPicture(file);
    lookFor({ ...typed, like: null });
  });
  const isMissing = library.error instanceof ServiceError && library.error.code === "no_library";
  useTaker(isMissing ? null : { add, pick });

  if (isMissing) return <NoLibrary onAgain={() => void library.refetch()} />;
  const findLike = (image: LibraryImage) => {
    void setPicture(null);
    lookFor({ ...FIRST_SEEK, where: typed.where, isDescribed: typed.isDescribed, like: image });
    window.scrollTo({ top: 0 });
  };
  const clear = () => {
    void setPicture(null);
    lookFor({ ...FIRST_SEEK, isDescribed: typed.isDescribed });
  };
  return (
    <div className="space-y-6">
      <div className="flex flex-wrap items-center justify-between gap-3">
        <h1 className="text-2xl font-semibold tracking-tight">{find.title}</h1>
        <Picker label={find.add} size="small" kind="plain" take={add} />
      </div>
      <MiniNote />
      <IntakeNotes />
      <SearchForm
        typed={typed}
        picture={picture}
        canDescribe={canDescribe}
        onChange={change}
        onSearch={() => lookFor(typed)}
        onPick={pick}
        onPictureGone={() => {
          void setPicture(null);
          lookFor({ ...typed, like: null });
        }}
      />
      <Additions uploads={uploads} onDismiss={() => setUploads([])} />
      {isSearch(sought, picture) ? (
        <Finding seek={sought} picture={picture} onLike={findLike} onClear={clear} />
      ) : (
        <Browsing library={library} isFiltered={Boolean(sought.where.trim())} add={add} onLike={findLike} />
      )}
    </div>
  );
}

/** The picture that is looked for; its address is freed when another one comes. */
function usePictureQuery() {
  const { picture: words } = useStrings();
  const [picture, keep] = useState<Picture | null>(null);
  const held = useRef<Picture | null>(null);
  const set = useCallback(
    async (file: File | null) => {
      const next = file && (await pictureOf(file, words.unnamed));
      if (held.current) release(held.current);
      held.current = next;
      keep(next);
    },
    [words],
  );
  return [picture, set] as const;
}

function useAdd(setUploads: (change: (now: Upload[]) => Upload[]) => void, isDescribed: boolean) {
  const { refuse } = useWorkspace();
  return useCallback(
    ({ files, cut }: Found) => {
      const good = files.filter((file) => looksLikePicture(file) && file.size > 0);
      const bad = files.filter((file) => !good.includes(file)).map(({ name }) => name);
      refuse({ kind: bad, size: [], cut, empty: files.length === 0 });
      const at = Date.now();
      setUploads((now) => [
        ...now,
        ...good.map((file, place) => ({ id: `${at}-${now.length + place}`, name: file.name, file, isDescribed })),
      ]);
    },
    [isDescribed, refuse, setUploads],
  );
}

/** The first picture of some files, to look for others like it. */
function usePick(onPicked: (file: File) => Promise<void>) {
  const { refuse } = useWorkspace();
  return ({ files }: Found) => {
    const file = files.find(looksLikePicture);
    const names = files.map(({ name }) => name);
    if (!file) return refuse({ kind: names, size: [], cut: false, empty: files.length === 0 });
    onPicked(file).catch(() => refuse({ kind: [file.name], size: [], cut: false, empty: false }));
  };
}

/** While this view is shown, what is dropped goes to the library, or over the search to that. */
function useTaker(to: { add: (found: Found) => void; pick: (found: Found) => void } | null) {
  const { find } = useLaterStrings();
  const { setTaker } = useWorkspace();
  const isShown = useShown("find");
  const latest = useRef(to);
  useEffect(() => {
    latest.current = to;
  });
  const isThere = to !== null;
  useEffect(() => {
    if (!isShown || !isThere) return;
    setTaker({
      now: find.now,
      take: (found, where) => latest.current?.[where?.closest(`#${QUERY_PLACE}`) ? "pick" : "add"](found),
    });
    return () => setTaker(null);
  }, [find, isShown, isThere, setTaker]);
}
