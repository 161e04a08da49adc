/** Versions of the packages that trials install: the repository's own if it has the package, else these. */
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { root } from '../bootstrap.mjs';

/** @type {{ devDependencies: Record<string, string> }} */
const { devDependencies } = JSON.parse(readFileSync(path.join(root, 'package.json'), 'utf8'));

/** @type {Record<string, string>} */
const VERSIONS = {
  ...devDependencies,
  // A new project gets the newest types of Node, not those of the oldest supported Node.
  '@types/node': '26.6.6',
  '@types/react': '19.3.0',
  '@vercel/ncc': '0.45.0',
  bullmq: '6.7.0',
  'edge-runtime': '4.0.1',
  '@types/jest': '30.0.0',
  jest: '30.5.2',
  miniflare: '4.20260730.0',
  next: '16.4.6',
  react: '19.3.1',
  'react-dom': '19.3.1',
  'ts-jest': '29.4.15',
  vite: '8.3.8',
  webpack: '5.112.2',
  'webpack-cli': '7.3.1',
};

/**
 * The argument for `npm install`: `express` becomes `express@5.3.0`. A name with a version is kept.
 *
 * @param {string} name
 */
export function withVersion(name) {
  if (name.includes('@', 1)) return name;
  const version = VERSIONS[name];
  if (version === undefined) throw new Error(`scripts/try/versions.mjs has no version of ${name}`);
  return `${name}@${version}`;
}
