// @ts-check

/**
 * A hook of Node's module loader that makes ioredis look not installed.
 *
 * @type {import('node:module').ResolveHook}
 */
export async function resolve(specifier, context, nextResolve) {
  const found = await nextResolve(specifier, context);
  if (found.url.includes('/node_modules/ioredis/')) {
    throw Object.assign(new Error("Cannot find package 'ioredis'"), {
      code: 'ERR_MODULE_NOT_FOUND',
    });
  }
  return found;
}
