import { runs } from '../requests.mjs';

/** How each bundler is called, and where its output is. @type {Record<string, [command: string, file: string]>} */
const BUNDLES = {
  'esbuild, CommonJS': [
    'esbuild main.mjs --bundle --platform=node --outfile=out/esbuild.cjs',
    'out/esbuild.cjs',
  ],
  'esbuild, ESM': [
    'esbuild main.mjs --bundle --platform=node --format=esm --outfile=out/esbuild.mjs',
    'out/esbuild.mjs',
  ],
  'rolldown, ESM': [
    'rolldown main.mjs --platform node -d out/esm --entry-file-names main.mjs',
    'out/esm/main.mjs',
  ],
  'rolldown, CommonJS': [
    'rolldown main.mjs --platform node --format cjs -d out/cjs --entry-file-names main.cjs',
    'out/cjs/main.cjs',
  ],
  'esbuild, minified': [
    'esbuild main.mjs --bundle --minify --platform=node --outfile=out/minified.cjs',
    'out/minified.cjs',
  ],
  'rolldown, minified': [
    'rolldown main.mjs --platform node --minify -d out/minified --entry-file-names main.mjs',
    'out/minified/main.mjs',
  ],
  webpack: [
    'webpack --mode production --target node20 --entry ./main.mjs -o ./out/webpack',
    'out/webpack/main.js',
  ],
  vite: ['vite build --ssr main.mjs --outDir out/vite', 'out/vite/main.mjs'],
  ncc: ['ncc build main.mjs -o out/ncc', 'out/ncc/index.mjs'],
};

/** The user's client, bundled and minified with the rest. */
const WEBPACK_CLIENT =
  'webpack --mode production --target node20 --entry ./client.mjs -o ./out/client';

const VITE_CONFIG = 'export default { ssr: { noExternal: true } };';

/** @type {import('../trial.mjs').Trial} */
export const bundles = {
  name: 'bundles',
  title:
    'Bundles by URL: esbuild, rolldown, webpack, Vite, ncc; with ioredis, with node-redis, with neither',
  async run(trial) {
    for (const library of /** @type {const} */ (['ioredis', 'redis', undefined])) {
      const tools = ['esbuild', 'rolldown', 'webpack', 'webpack-cli', 'vite', '@vercel/ncc'];
      const packages = library === undefined ? tools : [...tools, library];
      const project = await trial.installed(packages, { type: 'commonjs' });
      project.write('main.mjs', MAIN);
      project.write('vite.config.mjs', VITE_CONFIG);
      for (const [bundler, [build, file]] of Object.entries(BUNDLES)) {
        const claim = `${bundler}, ${library ?? 'no client library'}`;
        const built = await project.run(build.split(' '));
        if (built.code !== 0) {
          trial.must(`${claim}: builds`, false, built.output.slice(-1_000));
          continue;
        }
        const { printed, output } = await project.run(['node', file], { timeoutMs: 30_000 });
        const reasons = /** @type {string[]} */ (
          printed.startsWith('[') ? JSON.parse(printed) : [output]
        );
        const wanted =
          library === undefined ? 'ERR_CLIENT_MISSING ×3' : 'within_limit ×2, limited ×1';
        // `/sync` starts a file of its own, which bundles do not carry in runnable form.
        const all = `${wanted}, ERR_WORKER_MISSING ×1`;
        trial.must(claim, runs(reasons) === all, runs(reasons));
      }
      if (library !== undefined) {
        project.write('client.mjs', CLIENTS[library]);
        await trial.step(`webpack, a client of ${library}`, project.run(WEBPACK_CLIENT.split(' ')));
        const { printed } = await project.run(['node', 'out/client/main.js'], {
          timeoutMs: 30_000,
        });
        const decided = runs(JSON.parse(printed));
        trial.must(
          `webpack, a client of ${library}`,
          decided === 'within_limit ×2, limited ×1',
          decided,
        );
      }
    }
  },
};

const MAIN = `
import { RateLimiter } from 'distributed-rate-limiter';
import { RateLimiterSync } from 'distributed-rate-limiter/sync';

async function main() {
  const options = { redis: process.env.REDIS_URL, namespace: 'bundle' + process.pid, rate: 2, period: '1h' };
  const limiter = new RateLimiter(options);
  const reasons = [];
  for (let i = 0; i < 3; i++) {
    reasons.push(await limiter.allow('user:12345').then(({ reason }) => reason, (error) => error.code));
  }
  try {
    reasons.push(new RateLimiterSync({ ...options, namespace: options.namespace + '-sync' }).allow('user:12345').reason);
  } catch (error) {
    reasons.push(error.code);
  }
  console.log(JSON.stringify(reasons));
  await limiter.close();
}
main();
`;

/** The server does not know the limit's script at first. The bundle must recognize the reply NOSCRIPT. */
const BY_CLIENT = `
import { RateLimiter } from 'distributed-rate-limiter';

async function main() {
  await flush();
  const limiter = new RateLimiter({ redis: client, namespace: 'client' + process.pid, rate: 2, period: '1h' });
  const reasons = [];
  for (let i = 0; i < 3; i++) reasons.push((await limiter.allow('user:12345')).reason);
  console.log(JSON.stringify(reasons));
  process.exit();
}
main();
`;

const CLIENTS = {
  ioredis: `
import { Redis } from 'ioredis';
const client = new Redis(process.env.REDIS_URL, { maxRetriesPerRequest: 0 });
const flush = () => client.script('FLUSH');
${BY_CLIENT}`,
  redis: `
import { createClient } from 'redis';
const client = createClient({ url: process.env.REDIS_URL });
const flush = () => client.connect().then(() => client.scriptFlush());
${BY_CLIENT}`,
};
