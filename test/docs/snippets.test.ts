import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import process from 'node:process';
import { fileURLToPath } from 'node:url';
import { afterAll, expect, test } from 'vitest';

const root = fileURLToPath(new URL('../..', import.meta.url));

/** The documents, and one with a wrong snippet. If its error is missing, the compiler has read none of them. */
const documents = new Map(
  ['README.md', ...markdownIn('docs')].map((file) => [
    file,
    readFileSync(path.join(root, file), 'utf8'),
  ]),
);
documents.set(
  'wrong.md',
  `
<!-- snippet: import { MemoryStore, RateLimiter } from 'distributed-rate-limiter';
const store = new MemoryStore(); -->
\`\`\`ts
const limiter = new RateLimiter({ store, rate: 1, period: '1h' });
await limiter.alow('user:1');
\`\`\`
`,
);

/** Inside the tree, where TypeScript finds packages. Tools ignore folders that begin with a dot. */
const folder = mkdtempSync(path.join(root, 'test/docs/.snippets-'));

afterAll(() => {
  rmSync(folder, { recursive: true, force: true });
});

/** Every `ts` block, with the declarations in the comment above it. Code of other libraries is in `js` blocks. */
const SNIPPET = /^(?:<!-- snippet: (?<around>.*?) -->\n+)?```ts\n(?<code>.*?)^```$/gms;

interface Snippet {
  readonly document: string;
  /** A module whose line numbers equal those in the document. */
  readonly module: string;
}

function snippetsOf([document, text]: [string, string]): Snippet[] {
  return Array.from(text.matchAll(SNIPPET), ({ index, 0: whole, groups }) => {
    const { around = '', code = '' } = groups!;
    const before = text.slice(0, index) + whole.slice(0, whole.indexOf('```ts'));
    const padding = '\n'.repeat(before.split('\n').length - 1);
    return {
      document,
      module: `${padding}${around.replaceAll('\n', ' ')}\n${code}export {};\n`,
    };
  });
}

function markdownIn(directory: string): string[] {
  return readdirSync(path.join(root, directory), { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith('.md'))
    .map((file) => `${directory}/${file.replaceAll(path.sep, '/')}`)
    .toSorted();
}

/** Compiles all snippets as one program, and lists its errors by document and line. */
function errorsOf(snippets: readonly Snippet[]): string[] {
  const documentOf = new Map(snippets.map(({ document }, i) => [`${i}.ts`, document]));
  snippets.forEach(({ module }, i) => {
    writeFileSync(path.join(folder, `${i}.ts`), module);
  });
  writeFileSync(
    path.join(folder, 'tsconfig.json'),
    JSON.stringify({
      extends: '../../../tsconfig.json',
      // Nest applications compile with `experimentalDecorators`.
      compilerOptions: {
        experimentalDecorators: true,
        erasableSyntaxOnly: false,
        skipLibCheck: true,
      },
      include: ['*.ts'],
    }),
  );
  const { stdout, stderr } = spawnSync(
    process.execPath,
    [path.join(root, 'node_modules/typescript/bin/tsc'), '-p', '.', '--pretty', 'false'],
    { cwd: folder, encoding: 'utf8' },
  );
  return `${stdout}${stderr}`
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => line.replace(/^\d+\.ts/, (file) => documentOf.get(file) ?? file));
}

test('every snippet of the documents compiles as strictly as the sources', () => {
  expect(errorsOf([...documents].flatMap(snippetsOf))).toEqual([
    expect.stringMatching(/^wrong\.md\(6,15\): error TS2551: .*'alow'.*'allow'/),
  ]);
});

test.each([...documents])('%s: every block and comment of a snippet is checked', (...given) => {
  const [, text] = given;
  const blocks = text.match(/^[ \t]*(?:```|~~~)[ \t]*(?:ts|tsx|typescript)\b/gm) ?? [];
  const comments = text.match(/<!--\s*snippet/g) ?? [];
  const found = Array.from(text.matchAll(SNIPPET));
  expect(found).toHaveLength(blocks.length);
  expect(found.filter(({ groups }) => groups?.['around'] !== undefined)).toHaveLength(
    comments.length,
  );
});
