import { defineConfig } from "vitest/config";
import { licenses } from "./licenses";

export default defineConfig({
  // Relative, because the app may be mounted below a prefix that the build does not know.
  base: "./",
  plugins: [licenses("licenses.md")],
  oxc: { jsx: { runtime: "automatic", importSource: "preact" } },
  build: {
    // Into the Python package, which serves it. The folder is not committed.
    outDir: "../src/graph_agent/page",
    emptyOutDir: true,
    target: "es2022",
    manifest: "manifest.json",
    // Nothing is inlined: the content security policy allows no inline styles, scripts or data fonts.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    reportCompressedSize: true,
  },
  server: {
    // The tests play the streams that the service's tests have recorded.
    fs: { allow: [".", "../tests/serving/recorded"] },
    // `npm run dev` serves the sources beside a running `graph-agent dev`.
    proxy: {
      "/v1": "http://localhost:8000",
      "/page": "http://localhost:8000",
      "/me": "http://localhost:8000",
    },
  },
  test: { environment: "happy-dom", include: ["src/**/*.test.{ts,tsx}"] },
});
