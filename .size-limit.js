/**
 * Budgets of what an import costs, minified and compressed. A server hardly feels them; they are here so that growth
 * is a decision and not an accident. Each algorithm counts twice, in TypeScript and in the Lua that is embedded.
 * What limits brings the core with it: an adapter's own part is what lies above the first line.
 *
 * @type {Readonly<Record<string, { file: string, limit: string, external?: readonly string[], browser?: true }>>}
 */
const budgets = {
  '': { file: 'index', limit: '90.7 kB' },
  '/http': { file: 'http/index', limit: '100.6 kB' },
  '/node-http': { file: 'http/adapters/node-http', limit: '101.0 kB' },
  '/express': { file: 'http/adapters/express', limit: '100.9 kB' },
  '/fastify': { file: 'http/adapters/fastify', limit: '101.8 kB' },
  '/hono': { file: 'http/adapters/hono', limit: '101.9 kB' },
  '/koa': { file: 'http/adapters/koa', limit: '101.1 kB' },
  '/web': { file: 'http/adapters/web', limit: '101.6 kB' },
  // Beside Nest itself, which is there already.
  '/nest': {
    file: 'http/adapters/nest/index',
    limit: '103.4 kB',
    external: ['@nestjs/common', '@nestjs/core'],
  },
  '/limited': { file: 'limited/index', limit: '91.9 kB' },
  '/workers': { file: 'workers/index', limit: '91.5 kB' },
  '/sync': { file: 'sync/index', limit: '73.3 kB' },
  // The contract suites.
  '/testing': { file: 'testing/index', limit: '96.3 kB' },
  // Beside them nothing of the core.
  '/fetch': { file: 'fetch/index', limit: '12.5 kB', browser: true },
  '/log': { file: 'telemetry/log', limit: '4 kB' },
  '/refusals': { file: 'refusals/index', limit: '9.5 kB' },
  '/prometheus': { file: 'telemetry/prometheus', limit: '6.3 kB' },
  '/opentelemetry': {
    file: 'telemetry/opentelemetry',
    limit: '6.3 kB',
    external: ['@opentelemetry/api'],
  },
};

export default Object.entries(budgets).map(([subpath, { file, limit, external, browser }]) => ({
  name: `distributed-rate-limiter${subpath}`,
  path: `dist/${file}.js`,
  import: '*',
  limit,
  modifyEsbuildConfig: (/** @type {import('esbuild').BuildOptions} */ options) => ({
    ...options,
    ...(browser ? {} : { platform: 'node' }),
    // A URL's client library is beside the package, not in it.
    external: ['ioredis', 'redis', ...(external ?? [])],
  }),
}));
