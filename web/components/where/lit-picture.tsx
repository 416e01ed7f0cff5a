"use client";

import { useEffect, useRef } from "react";

import { PictureFrame } from "@/components/picture-frame";
import type { GroundingResult } from "@/lib/api/schemas";
import { drawHeat, sizeOf, thirdOf } from "@/lib/grounding";
import type { Picture } from "@/lib/pictures";
import { useLaterStrings } from "@/lib/use-later-strings";

type Props = { picture: Picture; region: GroundingResult | undefined; strength: number };

const FRAME = "aspect-4/3 max-h-[70dvh] w-full";
const OVER = "pointer-events-none absolute inset-0 size-full object-contain";

/** The picture with the heat, the boxes and the hottest point of one phrase over it. */
export function LitPicture({ picture, region, strength }: Props) {
  const { where } = useLaterStrings();
  if (!picture.preview && region?.overlay) {
    const label = where.picture(region.phrase, where.at(...thirdOf(region)));
    return (
      <div className={`grid place-items-center overflow-hidden rounded-xl bg-sunken ${FRAME}`}>
        <img src={`data:image/png;base64,${region.overlay}`} alt={label} className="size-full min-h-0 object-contain" />
      </div>
    );
  }
  return (
    <div className={`relative overflow-hidden rounded-xl ${FRAME}`}>
      <PictureFrame picture={picture} className="absolute inset-0" />
      {region && picture.preview && (
        <>
          <Heat region={region} strength={strength} />
          <Marks region={region} />
        </>
      )}
    </div>
  );
}

function Heat({ region, strength }: { region: GroundingResult; strength: number }) {
  const canvas = useRef<HTMLCanvasElement>(null);
  useEffect(() => {
    const element = canvas.current;
    if (!element) return;
    let isCurrent = true;
    const fresh = document.createElement("canvas");
    void drawHeat(fresh, region.heatmap, sizeOf(region)).then(
      () => {
        if (!isCurrent) return; // another phrase has been chosen meanwhile
        element.width = fresh.width;
        element.height = fresh.height;
        element.getContext("2d")?.drawImage(fresh, 0, 0);
        element.dataset.heat = region.phrase;
      },
      () => {}, // box and point still say where
    );
    return () => {
      isCurrent = false;
    };
  }, [region]);
  return <canvas ref={canvas} aria-hidden="true" className={OVER} style={{ opacity: strength }} />;
}

/** Light on dark, so that they are seen on any picture. */
function Marks({ region }: { region: GroundingResult }) {
  const { where } = useLaterStrings();
  const [width, height] = region.size;
  const [x, y] = region.peak;
  const arm = Math.max(width, height) / 40;
  const lines = (
    <>
      {region.boxes.map(({ left, top, right, bottom }) => (
        <rect
          key={`${left} ${top} ${right} ${bottom}`}
          data-box
          x={left}
          y={top}
          width={right - left}
          height={bottom - top}
          vectorEffect="non-scaling-stroke"
        />
      ))}
      <path d={`M${x - arm} ${y}h${2 * arm}M${x} ${y - arm}v${2 * arm}`} vectorEffect="non-scaling-stroke" />
    </>
  );
  return (
    <svg
      role="img"
      aria-label={where.picture(region.phrase, where.at(...thirdOf(region)))}
      viewBox={`0 0 ${width} ${height}`}
      className={OVER}
      fill="none"
      strokeLinecap="round"
    >
      <g stroke="#06211e" strokeWidth="5" strokeOpacity="0.8" aria-hidden="true">
        {lines}
      </g>
      <g stroke="#5ff0e0" strokeWidth="2.5">
        {lines}
      </g>
    </svg>
  );
}
