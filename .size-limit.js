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
    limit: '33 kB',
    modifyEsbuildConfig: forNode,
  },
  {
    // Also for browsers: built without Node's modules.
    name: 'distributed-rate-limiter/client',
    path: 'dist/client/index.js',
    import: '*',
    limit: '5 kB',
  },
  {
    name: 'distributed-rate-limiter/testing',
    path: 'dist/testing/index.js',
    import: '*',
    limit: '38 kB',
    modifyEsbuildConfig: forNode,
  },
];
