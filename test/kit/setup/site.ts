import path from 'node:path';
import { ensurePackagesOf, root } from '../../../scripts/bootstrap.mjs';
import { once } from './once.ts';

/** Installs what the site is built with, before two files that build of it could do so at once. */
export default async function setup(): Promise<void> {
  await once('site', () => ensurePackagesOf(path.join(root, 'site'), 'the tools of the site'));
}
