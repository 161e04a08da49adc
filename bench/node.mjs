// @ts-check
/**
 * Measures what a decision costs this process, in microseconds of processor time: `node bench/node.mjs`. A stub answers
 * in place of Redis, so that no client library is in the figure. With several `--dist` the builds take turns, each in
 * its own process. `node --cpu-prof bench/node.mjs` writes a profile of each. Measures builds as they are.
 */
import { startChild } from './child.mjs';
import { readBuilds } from './builds.mjs';
import { align, median } from './report.mjs';

const { builds, counts } = readBuilds(
  `node bench/node.mjs [options]
  --dist DIR    a build to measure; may be given again (dist)
  --rounds N    (15)
  --ms N        length of each turn (200)`,
  { rounds: 15, ms: 200 },
);

/** The cases, by their names in node.worker.mjs. */
const parts = [
  'allow, 1 in flight',
  'allow, 256 in flight',
  'allow, 256 in flight, hot',
  'allow, 256 in flight, 2 limits',
  'digest of the identity',
  'encode a batch',
  'settle a batch',
  'the loop itself',
];

const children = builds.map(({ name, url }) => ({
  name,
  url,
  child: startChild(new URL('node.worker.mjs', import.meta.url), name),
  /** @type {Map<string, number[]>} */
  samples: new Map(parts.map((part) => [part, []])),
}));
try {
  for (const { child, url } of children) await child.ask({ kind: 'open', url });
  for (let round = -1; round < (counts['rounds'] ?? 0); round++) {
    for (const part of parts) {
      for (const { child, samples } of round % 2 === 0 ? children : children.toReversed()) {
        const us = await child.ask({ kind: part, ms: counts['ms'] });
        // The first round warms up the compiler.
        if (round >= 0) samples.get(part)?.push(us);
      }
    }
  }
} finally {
  await Promise.all(children.map(({ child }) => child.close()));
}

const table = [['us of Node per decision', 'build', 'median', 'ratio']];
for (const part of parts) {
  for (const [index, { name, samples }] of children.entries()) {
    const own = samples.get(part) ?? [];
    const first = children[0]?.samples.get(part) ?? [];
    const ratios = own.map((us, i) => us / (first[i] ?? Number.NaN));
    table.push([
      index === 0 ? part : '',
      name,
      median(own).toFixed(3),
      index === 0 ? '' : median(ratios).toFixed(3),
    ]);
  }
}
console.log(align(table));
