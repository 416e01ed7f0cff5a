import type { NextConfig } from "next";

// `next dev` has no service of its own: `npm run dev` asks the one of OPENBLIP_SERVICE.
const service = process.env.OPENBLIP_SERVICE ?? "http://127.0.0.1:8000";
const isDevelopment = process.env.NODE_ENV === "development";

const config: NextConfig = {
  reactStrictMode: true,
  typescript: { ignoreBuildErrors: true }, // `npm run check` has looked
  ...(isDevelopment
    ? {
        rewrites: async () =>
          ["v1/:path*", "readyz", "metrics", "docs"].map((path) => ({
            source: `/${path}`,
            destination: `${service}/${path}`,
          })),
      }
    : { output: "export" as const }),
};

export default config;
