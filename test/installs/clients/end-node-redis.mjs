// @ts-check

/**
 * Version 4 has no `destroy`, and its `disconnect` rejects where it has been called before.
 *
 * @param {{ destroy?(): unknown, disconnect?(): unknown }} client
 */
export function endNodeRedis(client) {
  if (client.destroy) client.destroy();
  else void Promise.resolve(client.disconnect?.()).catch(() => {});
}
