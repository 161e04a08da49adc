/**
 * Counts the classes between an error's own and `Error`: 0 for `new Error()`, 2 for a class that extends one that
 * extends `Error`. Minifiers rename classes, so their names tell nothing in a bundle; what they extend stays.
 */
export function errorDepth(error: Error): number {
  let depth = 0;
  let prototype: unknown = Object.getPrototypeOf(error);
  while (prototype !== Error.prototype && prototype !== null) {
    prototype = Object.getPrototypeOf(prototype);
    depth += 1;
  }
  return depth;
}
