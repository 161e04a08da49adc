// @ts-check
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

/** @type {(() => void) | undefined} */
let collect;

/** Collects all garbage at once, without a flag on the command line. */
export function collectGarbage() {
  if (collect === undefined) {
    setFlagsFromString('--expose-gc');
    collect = /** @type {() => void} */ (runInNewContext('gc'));
  }
  collect();
}
