import { optionsOfLimit, nameOfLimit, partsOfLimit } from '../../../src/cli/limits/limit-text.ts';
import type { LimitParts } from '../../../src/cli/limits/limit-text.ts';

const FACTORY: Readonly<Record<LimitParts['algorithm'], string>> = {
  bucket: 'tokenBucket',
  sliding: 'slidingWindow',
  log: 'slidingWindowLog',
  fixed: 'fixedWindow',
};

const ALGORITHM: Readonly<Record<LimitParts['algorithm'], string | undefined>> = {
  bucket: undefined, // the default
  sliding: 'sliding_window',
  log: 'sliding_window_log',
  fixed: 'fixed_window',
};

/** TypeScript that makes a limiter of exactly this policy, which is valid. */
export function codeOf(policy: string): string {
  const texts = policy.split(',').map((each) => each.trim());
  const limits = texts.map((text) => partsOfLimit(text)!);
  if (limits.length === 1) {
    const [parts] = limits as [LimitParts];
    const algorithm = ALGORITHM[parts.algorithm];
    const lines = entriesOf({
      ...(algorithm === undefined ? {} : { algorithm }),
      ...optionsOfLimit(parts),
    });
    return limiterOf(['RateLimiter'], lines.map((line) => `  ${line},`).join('\n'));
  }
  const factories = [...new Set(limits.map(({ algorithm }) => FACTORY[algorithm]))].sort();
  const made = limits.map((parts, i) => {
    const name = i === 0 ? {} : { name: nameOfLimit(texts[i]!) };
    const options = entriesOf({ ...name, ...optionsOfLimit(parts) });
    return `    ${FACTORY[parts.algorithm]}({ ${options.join(', ')} }),\n`;
  });
  return limiterOf(['RateLimiter', ...factories], `  limits: [\n${made.join('')}  ],`);
}

function limiterOf(imports: readonly string[], options: string): string {
  return `import { ${imports.join(', ')} } from 'distributed-rate-limiter';

const limiter = new RateLimiter({
  redis: process.env.REDIS_URL,
${options}
});`;
}

function entriesOf(options: object): readonly string[] {
  return Object.entries(options).map(
    ([name, value]) => `${name}: ${typeof value === 'string' ? `'${value}'` : String(value)}`,
  );
}
