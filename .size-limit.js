/**
 * Budgets of what an import costs, minified and compressed. A server hardly feels them; they are here so that growth
 * is a decision and not an accident. Each algorithm counts twice, in TypeScript and in the Lua that is embedded.
 * What limits brings the core with it: an adapter's own part is what lies above the first line.
 *
 * @type {Readonly<Record<string, { file: string, limit: string, external?: readonly string[], browser?: true }>>}
 */
const budgets = {
  '': { file: 'index', limit: '36 kB' },
  '/http': { file: 'http/index', limit: '42 kB' },
  '/node-http': { file: 'http/node-http', limit: '42 kB' },
  '/express': { file: 'http/express', limit: '42 kB' },
  '/fastify': { file: 'http/fastify', limit: '42.5 kB' },
  '/hono': { file: 'http/hono', limit: '42.5 kB' },
  '/koa': { file: 'http/koa', limit: '42 kB' },
  '/web': { file: 'http/web', limit: '42.5 kB' },
  // Beside Nest itself, which is there already.
  '/nest': {
    file: 'http/nest/index',
    limit: '43.5 kB',
    external: ['@nestjs/common', '@nestjs/core'],
  },
  '/limited': { file: 'limited/index', limit: '37 kB' },
  '/sync': { file: 'sync/index', limit: '33 kB' },
  // The contract suites.
  '/testing': { file: 'testing/index', limit: '41 kB' },
  // Beside them nothing of the core.
  '/client': { file: 'client/index', limit: '5.5 kB', browser: true },
  '/log': { file: 'telemetry/log', limit: '2 kB' },
  '/prometheus': { file: 'telemetry/prometheus', limit: '4 kB' },
  '/opentelemetry': {
    file: 'telemetry/opentelemetry',
    limit: '4 kB',
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
    ...(external === undefined ? {} : { external }),
  }),
}));
