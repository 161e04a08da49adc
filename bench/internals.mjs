/** @param {string} url of a build @param {string} file as it is called today, below the build's folder */
export async function importInternal(url, file) {
  try {
    return await import(`${url}/${file}`);
  } catch (error) {
    // Earlier builds have the same files beside their entry, so that they can be compared with this one.
    const flat = file.slice(file.lastIndexOf('/') + 1);
    return import(`${url}/${flat}`).catch(() => {
      throw error;
    });
  }
}
