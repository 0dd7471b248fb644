// Writes each page as HTML, and assets under names that say what they hold.
import { createHash } from "node:crypto";
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { gzipSync } from "node:zlib";

const [target, title] = process.argv.slice(2);
mkdirSync(`${target}/assets`, { recursive: true });

const named = {};
for (const name of readdirSync("assets")) {
    const content = readFileSync(`assets/${name}`);
    named[name] = name.replace(".", `.${createHash("sha256").update(content).digest("hex").slice(0, 8)}.`);
    writeFileSync(`${target}/assets/${named[name]}`, content);
    writeFileSync(`${target}/assets/${named[name]}.gz`, gzipSync(content));
}
for (const page of readdirSync("pages")) {
    const text = readFileSync(`pages/${page}`, "utf8").replaceAll(/asset:(\S+?)"/g, (_, name) => `/assets/${named[name]}"`);
    writeFileSync(`${target}/${page}`, `<!doctype html><title>${title}</title>\n${text}`);
}
