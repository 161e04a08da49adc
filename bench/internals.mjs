/** @param {string} url of a build @param {string} file as it is called today, below the build's folder */
export async function importInternal(url, file) {
  try {
    return await import(`${url}/${file}`);
  } catch (error) {
    // Earlier builds have the same files beside their entry, so this benchmark can compare them.
    const flat = file.slice(file.lastIndexOf('/') + 1);
    return import(`${url}/${flat}`).catch(() => {
      throw error;
    });
  }
}

/**
 * What stands before the digest of an identity in the keys of a set of limits, in any build.
 *
 * @param {{ space?: unknown, locate(identity: string, secret: undefined): { key: string } }} set
 */
export function keyPrefixOf(set) {
  const digestLength = 64;
  return set.space === undefined
    ? set.locate('bench', undefined).key.slice(0, -digestLength)
    : 'bench:limits:';
}
