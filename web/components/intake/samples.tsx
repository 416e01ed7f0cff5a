"use client";

import { useState } from "react";

import { useWorkspace } from "@/components/workspace";
import { useStrings } from "@/lib/use-strings";

type Sample = ReturnType<typeof useStrings>["samples"]["all"][number];

/** Free photographs with their credits, so that a first visit needs no file. */
export function Samples() {
  const { samples } = useStrings();
  const { add } = useWorkspace();
  const [hasFailed, setFailed] = useState(false);
  const use = async ({ file, what }: Sample) => {
    setFailed(false);
    try {
      const answer = await fetch(`/samples/${file}`);
      if (!answer.ok) throw new Error(answer.statusText);
      await add({ files: [new File([await answer.blob()], what, { type: "image/webp" })], cut: false });
    } catch {
      setFailed(true);
    }
  };
  return (
    <section>
      <h2 className="mb-3 font-medium">{samples.title}</h2>
      <ul className="grid grid-cols-2 gap-3 sm:grid-cols-4">
        {samples.all.map((sample) => (
          <li key={sample.file} className="flex flex-col gap-1.5">
            <button
              type="button"
              onClick={() => void use(sample)}
              aria-label={samples.use(sample.what)}
              className="group overflow-hidden rounded-xl border border-line bg-sunken"
            >
              <img
                src={`/samples/small/${sample.file}`}
                loading="lazy"
                alt=""
                width={360}
                height={240}
                className="aspect-3/2 w-full object-cover transition-transform group-hover:scale-105 motion-reduce:transform-none"
              />
            </button>
            <p className="text-xs text-muted">
              <span className="block text-ink">{sample.what}</span>
              {samples.by(sample.by, sample.terms)}
            </p>
          </li>
        ))}
      </ul>
      {hasFailed && (
        <p role="alert" className="mt-2 text-sm text-bad">
          {samples.failed}
        </p>
      )}
    </section>
  );
}
