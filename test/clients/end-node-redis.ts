/** Version 4 has no `destroy`, and its `disconnect` rejects where it has been called before. */
export function endNodeRedis(client: { destroy?(): unknown; disconnect?(): unknown }): void {
  if (client.destroy) client.destroy();
  else void Promise.resolve(client.disconnect?.()).catch(() => {});
}
