/** Makes a result once. All calls share it, but after a failure the next call makes it again. */
export class Once<T> {
  #result: Promise<T> | undefined;

  /** Whether a result is being made, or is there. */
  get hasBegun(): boolean {
    return this.#result !== undefined;
  }

  async get(make: () => Promise<T>): Promise<T> {
    const result = (this.#result ??= make());
    try {
      return await result;
    } catch (error) {
      if (this.#result === result) {
        this.#result = undefined;
      }
      throw error;
    }
  }
}
