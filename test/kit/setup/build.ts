import { build } from '../../../scripts/build.mjs';
import { once } from './once.ts';

/** Builds `dist`, which worker processes run: Node 20 runs no TypeScript. */
export default function setup(): void {
  once('build', build);
}
