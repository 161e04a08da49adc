import { build } from '../../../scripts/build.mjs';
import { once } from './once.ts';

/** Builds `dist`, which worker processes run: Node 20 runs no TypeScript. */
export default async function setup(): Promise<void> {
  await once('build', build);
}
