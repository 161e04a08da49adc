/**
 * Budgets of what an import costs, minified and compressed. A server hardly feels them; they are here so that growth
 * is a decision and not an accident. Each algorithm counts twice, in TypeScript and in the Lua that is embedded; the
 * contract suites bring the whole library with them.
 * @param {import('esbuild').BuildOptions} options
 */
const forNode = (options) => ({ ...options, platform: 'node' });

export default [
  {
    name: 'distributed-rate-limiter',
    path: 'dist/index.js',
    import: '*',
    limit: '34 kB',
    modifyEsbuildConfig: forNode,
  },
  {
    // Also for browsers: built without Node's modules.
    name: 'distributed-rate-limiter/client',
    path: 'dist/client/index.js',
    import: '*',
    limit: '5.5 kB',
  },
  {
    name: 'distributed-rate-limiter/limited',
    path: 'dist/limited/index.js',
    import: '*',
    limit: '34 kB',
    modifyEsbuildConfig: forNode,
  },
  {
    name: 'distributed-rate-limiter/sync',
    path: 'dist/sync/index.js',
    import: '*',
    limit: '31.5 kB',
    modifyEsbuildConfig: forNode,
  },
  {
    // Beside Nest itself, which is there already.
    name: 'distributed-rate-limiter/nest',
    path: 'dist/http/nest/index.js',
    import: '*',
    limit: '37 kB',
    modifyEsbuildConfig: (options) => ({
      ...forNode(options),
      external: ['@nestjs/common', '@nestjs/core'],
    }),
  },
  {
    name: 'distributed-rate-limiter/testing',
    path: 'dist/testing/index.js',
    import: '*',
    limit: '39 kB',
    modifyEsbuildConfig: forNode,
  },
  ...['log', 'opentelemetry', 'prometheus'].map((name) => ({
    name: `distributed-rate-limiter/${name}`,
    path: `dist/telemetry/${name}.js`,
    import: '*',
    limit: '5 kB',
    modifyEsbuildConfig: forNode,
  })),
  {
    name: 'distributed-rate-limiter/fastify',
    path: 'dist/http/fastify.js',
    import: '*',
    limit: '37 kB',
    modifyEsbuildConfig: forNode,
  },
  {
    name: 'distributed-rate-limiter/hono',
    path: 'dist/http/hono.js',
    import: '*',
    limit: '37 kB',
    modifyEsbuildConfig: forNode,
  },
  {
    name: 'distributed-rate-limiter/koa',
    path: 'dist/http/koa.js',
    import: '*',
    limit: '37 kB',
    modifyEsbuildConfig: forNode,
  },
  {
    name: 'distributed-rate-limiter/web',
    path: 'dist/http/web.js',
    import: '*',
    limit: '37 kB',
    modifyEsbuildConfig: forNode,
  },
];
