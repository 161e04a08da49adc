#!/usr/bin/env node
// Assembles the Lua twins into the one script that production sends, checks it, and embeds its text and SHA-1 in
// src/script/script.gen.ts. With --check it writes nothing and fails if that file is stale.
import { createHash } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import luaparse from 'luaparse';

const SOURCES = new URL('../src/', import.meta.url);
const TARGET = new URL('../src/script/script.gen.ts', import.meta.url);

/** In this order: each include sees the locals of the includes before it, and names in `Uses:` those it takes. */
export const INCLUDES = [
  'script/clock',
  'script/constants',
  'script/write-together',
  'script/lone-path',
  'script/home-path',
  'algorithms/ttl',
  'algorithms/counting',
  'algorithms/recovery',
  'algorithms/bucket-lines',
  'algorithms/token-bucket',
  'algorithms/sliding-window',
  'algorithms/sliding-window-log',
  'algorithms/fixed-window',
  'algorithms/concurrency',
  'algorithms/block',
  'algorithms/ban',
  'algorithms/provider-quota',
  'script/reservation-record',
  'script/slice-holders',
  'algorithms/slicing',
  'script/home',
  'script/call-shape',
  'script/verbs',
  'script/decide',
  'script/write',
];

/** Each is made on first use, see `lazily`. Every call needs all other includes. */
const LAZY = new Set([
  'algorithms/bucket-lines',
  'algorithms/token-bucket',
  'algorithms/sliding-window',
  'algorithms/sliding-window-log',
  'algorithms/fixed-window',
  'algorithms/concurrency',
  'algorithms/block',
  'algorithms/ban',
  'algorithms/provider-quota',
  'script/reservation-record',
  'script/slice-holders',
  'algorithms/slicing',
]);

/** Globals that Redis gives to a script. Any other global is a misspelling. */
const GIVEN = new Set(
  'redis KEYS ARGV string math table tonumber tostring type unpack pairs pcall ipairs'.split(' '),
);

const HEADER = /^--\[\[\n[\s\S]*?\n {2}In: {3}[\s\S]*?\n {2}Out: {2}[\s\S]*?\]\]\n/;
const USES = /\n {2}Uses: ([^]*?)\n {2}Out: /;

/** @param {string} name */
const readInclude = (name) => readFileSync(new URL(`${name}.lua`, SOURCES), 'utf8');

/**
 * Returns the script's text and hash. Tests replace includes: the clock with one that reads an argument, or the end
 * with one that records.
 *
 * @param {{ [include: string]: string }} [replaced] text by the name of an include
 */
export function assemble(replaced = {}) {
  const parts = INCLUDES.map((name) => {
    const text = replaced[name] ?? readInclude(name);
    if (!HEADER.test(text)) {
      throw new Error(
        `${name}.lua: begins with no header that says what goes in and what comes out`,
      );
    }
    return LAZY.has(name) ? lazily(name, text) : text;
  });
  const text = withoutComments(parts.join('\n'));
  checkGlobals(text);
  return { text, sha1: createHash('sha1').update(text).digest('hex') };
}

/**
 * Wraps an include in `make_<name>()`, which runs only when a call names the algorithm. Redis creates every closure of
 * a script anew in every call, and the closures of one algorithm cost as much time as a decision.
 *
 * @param {string} include @param {string} text
 */
function lazily(include, text) {
  const name = path.basename(include).replaceAll('-', '_');
  return `local function make_${name}()\n${text}\nreturn ${name}\nend`;
}

/** Strips comments and indentation, which the server does not need. @param {string} source */
function withoutComments(source) {
  /** @type {{ range: [number, number] }[]} */
  const comments = /** @type {any} */ (
    luaparse.parse(source, { comments: true, ranges: true, luaVersion: '5.1' })
  ).comments;
  let text = '';
  let from = 0;
  for (const { range } of comments) {
    text += source.slice(from, range[0]);
    from = range[1];
  }
  text += source.slice(from);
  return text
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line !== '')
    .join('\n');
}

/** @param {string} text */
function checkGlobals(text) {
  const unknown = freeNames(text).filter((name) => !GIVEN.has(name));
  if (unknown.length > 0) {
    throw new Error(`undeclared globals in the script: ${unknown.join(', ')}`);
  }
}

/** Checks that each include's header lists the locals of earlier includes that it reads or sets, and no others. */
function checkUses() {
  const wrong = INCLUDES.flatMap((name) => {
    const text = readInclude(name);
    const listed = USES.exec(text)?.[1]?.split(/,\s+/) ?? [];
    const used = freeNames(text).filter((each) => !GIVEN.has(each));
    return [
      ...used.filter((each) => !listed.includes(each)).map((each) => `${name}.lua: lacks ${each}`),
      ...listed.filter((each) => !used.includes(each)).map((each) => `${name}.lua: lists ${each}`),
    ];
  });
  if (wrong.length > 0) {
    throw new Error(`\`Uses:\` of a header is not what the code uses: ${wrong.join('; ')}`);
  }
}

/** Names that the text does not declare itself. @param {string} text @returns {string[]} */
function freeNames(text) {
  const tree = /** @type {any} */ (luaparse.parse(text, { scope: true, luaVersion: '5.1' }));
  return [...new Set(tree.globals.map((/** @type {{ name: string }} */ node) => node.name))];
}

function generated() {
  const { text, sha1 } = assemble();
  checkUses();
  return [
    '// Generated by `npm run generate` from src/{algorithms,script}/*.lua. Do not edit.',
    'export const decideScript: { readonly sha1: string; readonly text: string } = {',
    `  sha1: '${sha1}',`,
    `  text: ${JSON.stringify(text)},`,
    '};',
    '',
  ].join('\n');
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const next = generated();
  if (!process.argv.includes('--check')) {
    writeFileSync(TARGET, next);
  } else if (readFileSync(TARGET, 'utf8') !== next) {
    console.error(
      'src/script/script.gen.ts is stale: run `npm run generate` and commit the result.',
    );
    process.exit(1);
  }
}
