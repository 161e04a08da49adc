/**
 * Budgets of what an import costs, minified and compressed. A server hardly feels them; they are here so that growth
 * is a decision and not an accident. Each algorithm counts twice, in TypeScript and in the Lua that is embedded.
 * What limits brings the core with it: an adapter's own part is what lies above the first line.
 *
 * @type {Readonly<Record<string, { file: string, limit: string, external?: readonly string[], browser?: true }>>}
 */
const budgets = {
  '': { file: 'index', limit: '78.1 kB' },
  '/http': { file: 'http/index', limit: '88.1 kB' },
  '/node-http': { file: 'http/adapters/node-http', limit: '88.5 kB' },
  '/express': { file: 'http/adapters/express', limit: '88.5 kB' },
  '/fastify': { file: 'http/adapters/fastify', limit: '89.3 kB' },
  '/hono': { file: 'http/adapters/hono', limit: '89.5 kB' },
  '/koa': { file: 'http/adapters/koa', limit: '88.6 kB' },
  '/web': { file: 'http/adapters/web', limit: '89.1 kB' },
  // Beside Nest itself, which is there already.
  '/nest': {
    file: 'http/adapters/nest/index',
    limit: '91 kB',
    external: ['@nestjs/common', '@nestjs/core'],
  },
  '/limited': { file: 'limited/index', limit: '79.4 kB' },
  '/sync': { file: 'sync/index', limit: '68.5 kB' },
  // The contract suites.
  '/testing': { file: 'testing/index', limit: '83.8 kB' },
  // Beside them nothing of the core.
  '/fetch': { file: 'fetch/index', limit: '12.5 kB', browser: true },
  '/log': { file: 'telemetry/log', limit: '4 kB' },
  '/prometheus': { file: 'telemetry/prometheus', limit: '6 kB' },
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
    // A URL's client library is beside the package, not in it; what reads responses is loaded by the first `observe`.
    external: [
      'ioredis',
      'redis',
      ...(browser ? [] : ['*/observed-response.js']),
      ...(external ?? []),
    ],
  }),
}));
