/** Whether a value can be awaited, such as the result of a function of the application. */
export function isPromise(value: unknown): value is PromiseLike<unknown> {
  try {
    return typeof (value as Partial<PromiseLike<unknown>> | null | undefined)?.then === 'function';
  } catch {
    // A proxy may throw. The value is then refused where it is read.
    return false;
  }
}
