import path from 'node:path';
import { fileURLToPath } from 'node:url';

/** The part of Vite's plugins that this one needs. VitePress brings its own Vite, so its types are not imported. */
interface Plugin {
  readonly name: string;
  readonly enforce: 'pre';
  config(): { worker: { format: 'es'; plugins: () => Plugin[] } };
  resolveId(source: string, importer: string | undefined): string | undefined;
  transform(code: string, id: string): { code: string; map: null } | undefined;
}

const SOURCES = fileURLToPath(new URL('../../src/', import.meta.url));

/** What a browser has in place of modules of Node.js, and of the library's own timers, which are Node's. */
const IN_BROWSER: Readonly<Record<string, string>> = {
  'node:crypto': here('browser/crypto.ts'),
  'node:net': here('browser/net.ts'),
  [path.join(SOURCES, 'base/timers.ts')]: here('browser/timers.ts'),
};

const BUFFER = here('browser/buffer.ts');

/**
 * Lets the library's sources run in a browser. The playground imports what decides (limits, `MemoryStore`, decisions)
 * and what reads logs and traffic, not `RateLimiter`: that one also knows Redis. So little of Node.js is left to
 * replace, and the published package needs no entry, no `browser` field and no dependency for it.
 */
export function playground(): Plugin {
  return {
    name: 'playground',
    enforce: 'pre',
    // A worker is a build of its own, to which the plugins of the page do not apply.
    config: () => ({ worker: { format: 'es', plugins: () => [playground()] } }),
    resolveId: (source, importer) =>
      importer?.startsWith(SOURCES) === true
        ? IN_BROWSER[source.startsWith('.') ? path.resolve(importer, '..', source) : source]
        : undefined,
    transform: (code, id) =>
      id.startsWith(SOURCES) && /\bBuffer\./.test(code)
        ? { code: `import { Buffer } from '${BUFFER}';${code}`, map: null }
        : undefined,
  };
}

function here(file: string): string {
  return fileURLToPath(new URL(file, import.meta.url));
}
