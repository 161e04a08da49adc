// @ts-check
/**
 * What being observed costs a decision, in microseconds of this process's processor, on a Redis that answers by itself
 * at once: `node bench/telemetry.mjs`. Each observer in a process of its own; they take turns. Prometheus is scraped
 * once per turn, OpenTelemetry collects once, and its spans are made and
 * dropped: what they cost is beside callers that are in spans of their own, which has its price without this library.
 */
import { parseArgs } from 'node:util';
import { startChild } from './child.mjs';
import { align, median } from './report.mjs';

const { values } = parseArgs({
  options: {
    dist: { type: 'string', default: new URL('../dist', import.meta.url).href },
    rounds: { type: 'string', default: '15' },
    ms: { type: 'string', default: '200' },
  },
});
const rounds = Number(values.rounds);

/** As telemetry.worker.mjs knows them. */
const observers = [
  'nothing',
  'nothing again',
  'channels, subscribed',
  'Prometheus',
  'OpenTelemetry metrics',
  'callers in spans',
  'OpenTelemetry spans',
];
const loads = [256, 1];

const children = observers.map((observer) => ({
  observer,
  child: startChild(new URL('telemetry.worker.mjs', import.meta.url), observer),
  samples: new Map(loads.map((inFlight) => [inFlight, /** @type {number[]} */ ([])])),
}));
try {
  for (const { child, observer } of children) {
    await child.ask({ kind: 'open', url: values.dist, observer });
  }
  for (let round = -1; round < rounds; round++) {
    for (const inFlight of loads) {
      for (const { child, samples } of round % 2 === 0 ? children : children.toReversed()) {
        const us = await child.ask({ kind: 'load', inFlight, ms: Number(values.ms) });
        // The first round is for the compiler.
        if (round >= 0) samples.get(inFlight)?.push(us);
      }
    }
  }
} finally {
  await Promise.all(children.map(({ child }) => child.close()));
}

const table = [['us of Node per decision', 'observer', 'median', 'ratio']];
for (const inFlight of loads) {
  const first = children[0]?.samples.get(inFlight) ?? [];
  for (const [index, { observer, samples }] of children.entries()) {
    const own = samples.get(inFlight) ?? [];
    const ratios = own.map((us, i) => us / (first[i] ?? Number.NaN));
    table.push([
      index === 0 ? `allow, ${inFlight} in flight` : '',
      observer,
      median(own).toFixed(3),
      index === 0 ? '' : median(ratios).toFixed(3),
    ]);
  }
}
console.log(align(table));
