// @ts-check

/**
 * Closes a client of node-redis. Version 4 has no `destroy`, and its `disconnect` rejects when called twice.
 *
 * @param {{ destroy?(): unknown, disconnect?(): unknown }} client
 */
export function endNodeRedis(client) {
  if (client.destroy) client.destroy();
  else void Promise.resolve(client.disconnect?.()).catch(() => {});
}
