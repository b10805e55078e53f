import { defineConfig } from "vite";

/** The page of `make bench-page`: answers alone, without a service. `--outDir` says where it goes. */
export default defineConfig({
  root: import.meta.dirname,
  base: "./",
  oxc: { jsx: { runtime: "automatic", importSource: "preact" } },
  build: { target: "es2022", emptyOutDir: true, assetsInlineLimit: 0, modulePreload: { polyfill: false } },
});
