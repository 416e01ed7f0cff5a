import coreWebVitals from "eslint-config-next/core-web-vitals";
import typescript from "eslint-config-next/typescript";

const config = [
  ...coreWebVitals,
  ...typescript,
  { ignores: ["out/**", ".next/**", "next-env.d.ts", "lib/api/schema.ts", "test-results/**", "screenshots/**"] },
  {
    rules: {
      "@next/next/no-img-element": "off", // a static export has no image server
      "@typescript-eslint/no-explicit-any": "error",
      eqeqeq: "error",
    },
  },
];

export default config;
