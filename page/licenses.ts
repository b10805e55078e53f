import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Plugin } from "vite";

type Locked = { version?: string; license?: string; dev?: boolean };

const TEXT = /^licen[cs]e/i;

/**
 * Writes the licenses of all packages that may be bundled, which demand that their texts come with the build. Vite's own
 * `build.license` leaves out what only the worker bundles.
 */
export function licenses(fileName: string): Plugin {
  let folder = "";
  return {
    name: "licenses",
    apply: "build",
    configResolved(config) {
      folder = join(config.root, config.build.outDir);
    },
    closeBundle() {
      const { packages } = JSON.parse(readFileSync("package-lock.json", "utf8")) as {
        packages: Record<string, Locked>;
      };
      const parts = Object.entries(packages)
        .filter(([path, locked]) => path !== "" && !locked.dev)
        .map(
          ([path, locked]) =>
            `## ${path.replace(/^.*node_modules\//, "")} ${locked.version}\n\n${textOf(path)}\n`,
        );
      writeFileSync(
        join(folder, fileName),
        `# Licenses of what the chat page contains\n\n${parts.join("\n")}`,
      );
    },
  };
}

function textOf(path: string): string {
  const found = readdirSync(path).find((name) => TEXT.test(name));
  if (found === undefined) throw new Error(`${path} has no file with its license`);
  return readFileSync(join(path, found), "utf8").trim();
}
