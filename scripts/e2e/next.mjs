/** Next.js: where an application limits, after a build; and a development server that reloads the limiter's file. */
import { waitUntil } from '../../test/kit/servers/index.mjs';
import { blockOf } from '../try/docs.mjs';
import { LAYOUT, NEXT_PACKAGES, buildNext, serveNext } from '../try/next-server.mjs';
import { WAYS, environment } from './rows.mjs';

/** @typedef {import('./rows.mjs').Row} Row */
/** @typedef {import('./rows.mjs').Way} Way */
/** @typedef {import('./rows.mjs').Place} Place */

/** How a call is made in each place of an application: the name of the place, and what it is answered. */
/** @type {Record<string, (url: string, way: Way) => Promise<string | null | undefined>>} */
const PLACES = {
  'route handler': (url, way) => textAt(`${url}/api/${way}`),
  'server action': async (url, way) =>
    reasonIn((await submit(url, { way })).headers.get('location')),
  '`proxy.ts`': async (url, way) => (await fetch(`${url}/behind/${way}`)).headers.get('x-reason'),
};

/**
 * One row for each place.
 *
 * @param {string} name
 * @param {readonly string[]} flags of `next build`
 * @returns {readonly Row[]}
 */
export function nextRows(name, flags) {
  /** @type {Promise<string> | undefined} */
  let url;
  return Object.entries(PLACES).map(([where, call]) => ({
    name: `${name}: ${where}`,
    needs: NEXT_PACKAGES,
    run: async (place, way) => {
      url ??= builtAndStarted(place, flags);
      const reasons = [];
      for (let i = 0; i < 4; i++) reasons.push(await call(await url, way));
      return reasons.join();
    },
  }));
}

/**
 * The address of the project's server. Two builds and a development server are in one project, each in a folder of its
 * own.
 *
 * @param {Place} place
 * @param {readonly string[]} flags
 */
async function builtAndStarted({ project, rest }, flags) {
  writeApp(project);
  const env = { ...environment(rest), DIST: ['.next', ...flags].join('') };
  const { code, output } = await buildNext(project, flags, env);
  if (code !== 0) throw new Error(output.slice(-3_000));
  return (await serveNext(project, ['start'], env)).url;
}

/**
 * A development server whose route is edited after two calls. The way `memory` is that of the page, which keeps its
 * store beside the module; a store that the module makes must start afresh, as the page says.
 *
 * @param {string} name
 * @param {readonly string[]} flags of `next dev`
 * @returns {Row}
 */
export function nextDev(name, flags) {
  /** @type {ReturnType<typeof serveNext> | undefined} */
  let starting;
  return {
    name: `${name}: \`next dev\`, the route edited`,
    needs: NEXT_PACKAGES,
    run: async ({ project, rest }, way) => {
      writeApp(project);
      const edit = (/** @type {string} */ version) =>
        project.write(`app/dev/${way}/route.ts`, devRoute(way, version));
      edit('first');
      const env = { ...environment(rest), DIST: ['.next', ...flags, '-dev'].join('') };
      starting ??= serveNext(project, ['dev', ...flags], env);
      const server = await starting;
      try {
        return await acrossAnEdit(`${server.url}/dev/${way}`, () => edit('second'));
      } finally {
        if (way === WAYS.at(-1)) await server.close();
      }
    },
  };
}

/**
 * @param {string} route
 * @param {() => void} edit makes the second version of the route
 */
async function acrossAnEdit(route, edit) {
  /** @param {string} version */
  const serves = (version) =>
    waitUntil(
      `the ${version} version of the route`,
      async () => (await textAt(`${route}?version`)) === version,
      { timeoutMs: 60_000, everyMs: 200 },
    );
  await serves('first');
  const reasons = [await textAt(route), await textAt(route)];
  const fresh = [await textAt(`${route}?fresh`)];
  edit();
  await serves('second');
  reasons.push(await textAt(route), await textAt(route));
  fresh.push(await textAt(`${route}?fresh`));
  const remaining = fresh.join();
  return remaining === '2,2' ? reasons.join() : `a store of the module counted on: ${remaining}`;
}

/**
 * @param {Way} way
 * @param {string} version
 */
function devRoute(way, version) {
  const limiter =
    way === 'memory'
      ? blockOf('docs/where-does-it-run.md', '', 'globalThis')
          .replace('export const', 'const')
          .replace("rate: 100, period: '1m'", "rate: 3, period: '1h'")
      : `${IMPORT}
import { MemoryStore, RateLimiter } from 'distributed-rate-limiter';
const { limiter } = open('${way}', 'dev');`;
  return `${limiter}
const fresh = new RateLimiter({ store: new MemoryStore(), rate: 3, period: '1h' });

export async function GET(request: Request) {
  const { searchParams } = new URL(request.url);
  if (searchParams.has('version')) return new Response('${version}');
  if (searchParams.has('fresh')) return new Response(String((await fresh.allow('user')).remaining));
  return new Response((await limiter.allow('user')).reason);
}
`;
}

/** @param {string} url */
async function textAt(url) {
  return (await fetch(url, { signal: AbortSignal.timeout(30_000) })).text();
}

/** @param {string | null} location */
function reasonIn(location) {
  return /reason=(\w+)/.exec(location ?? '')?.[1];
}

/**
 * Submits the page's form as a browser without JavaScript does.
 *
 * @param {string} url
 * @param {Record<string, string>} fields
 */
async function submit(url, fields) {
  const page = await (await fetch(url)).text();
  const form = new FormData();
  form.set(/\$ACTION_ID_\w+/.exec(page)?.[0] ?? '', '');
  for (const [name, value] of Object.entries(fields)) form.set(name, value);
  return fetch(url, { method: 'POST', body: form, redirect: 'manual', headers: { origin: url } });
}

/** @param {import('./rows.mjs').Project} project */
function writeApp(project) {
  for (const [file, text] of Object.entries(APP)) project.write(file, text);
}

const IMPORT = `
// @ts-ignore a plain module
import { ask, open } from '@/decide.mjs';`;

/** @type {Readonly<Record<string, string>>} */
const APP = {
  'next.config.mjs': 'export default { distDir: process.env.DIST };',
  'tsconfig.json': JSON.stringify({
    compilerOptions: { paths: { '@/*': ['./*'] } },
    exclude: ['node_modules', 'ts-jest'],
  }),
  'app/layout.tsx': LAYOUT,
  'app/api/[way]/route.ts': `${IMPORT}
export const dynamic = 'force-dynamic';

export async function GET(_request: Request, { params }: { params: Promise<{ way: string }> }) {
  return new Response(await ask((await params).way, 'route'));
}
`,
  'app/action.ts': `'use server';
${IMPORT}
import { redirect } from 'next/navigation';

export async function order(form: FormData) {
  redirect('/?reason=' + (await ask(form.get('way'), 'action')));
}
`,
  'app/page.tsx': `
import { order } from './action';

export const dynamic = 'force-dynamic';

export default function Page() {
  return <form action={order}><button>order</button></form>;
}
`,
  'app/behind/[way]/route.ts': `
export const dynamic = 'force-dynamic';

export function GET() {
  return new Response('hello');
}
`,
  'proxy.ts': `${IMPORT}
import { NextResponse } from 'next/server';
import type { NextRequest } from 'next/server';

export async function proxy(request: NextRequest) {
  const reason = await ask(request.nextUrl.pathname.split('/').at(-1), 'proxy');
  const headers = { 'x-reason': reason };
  return reason === 'within_limit'
    ? NextResponse.next({ headers })
    : new NextResponse('slow down', { status: 429, headers });
}

export const config = { matcher: '/behind/:way' };
`,
};
