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
    limit: '32 kB',
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
    limit: '37 kB',
    modifyEsbuildConfig: forNode,
  },
];
