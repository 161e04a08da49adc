import { invalidOption, RateLimiterError, show } from './errors.ts';

/**
 * The given options as own properties only, on an object without a prototype. An unknown name is an error that
 * says which name was probably meant: `aliases` maps other libraries' names to ours.
 */
export function readOptions(
  where: string,
  options: unknown,
  known: readonly string[],
  aliases: Readonly<Record<string, string>> = {},
): Record<string, unknown> {
  return readable(`${where} options`, () => readOwn(where, options, known, aliases));
}

function readOwn(
  where: string,
  options: unknown,
  known: readonly string[],
  aliases: Readonly<Record<string, string>>,
): Record<string, unknown> {
  if (typeof options !== 'object' || options === null || Array.isArray(options)) {
    throw invalidOption(
      `${where} options`,
      'an object',
      options,
      `Known options: ${known.join(', ')}.`,
    );
  }
  const given: Record<string, unknown> = Object.create(null);
  for (const name of Object.keys(options)) {
    if (!known.includes(name)) {
      const alias = Object.hasOwn(aliases, name) ? aliases[name] : undefined;
      const meant = alias !== undefined && known.includes(alias) ? alias : nearest(name, known);
      throw new RateLimiterError(
        'ERR_INVALID_OPTION',
        `\`${name.slice(0, 80)}\` is not an option of ${where}, got ${shownUnread((options as Record<string, unknown>)[name])}. ` +
          (meant === undefined
            ? `Known options: ${known.join(', ')}.`
            : `Did you mean \`${meant}\`?`),
      );
    }
    try {
      given[name] = (options as Record<string, unknown>)[name];
    } catch (cause) {
      throw unreadable(name, cause);
    }
  }
  return given;
}

/** What `read` returns; what throws when it is looked at, such as a proxy, is refused like any other bad value. */
export function readable<T>(option: string, read: () => T): T {
  try {
    return read();
  } catch (error) {
    throw error instanceof RateLimiterError ? error : unreadable(option, error);
  }
}

/** For what throws when it is looked at: a getter, a proxy. */
function unreadable(option: string, cause: unknown): RateLimiterError {
  return new RateLimiterError(
    'ERR_INVALID_OPTION',
    `\`${option}\` must be readable, and throws when it is read. Pass plain values.`,
    { cause },
  );
}

/** What an unknown option holds may be a secret under a misspelt name. */
function shownUnread(value: unknown): string {
  return typeof value === 'string' ? 'a string' : show(value);
}

export function readInteger(option: string, value: unknown, min: number, max: number): number {
  if (!Number.isSafeInteger(value) || (value as number) < min || (value as number) > max) {
    throw invalidOption(
      option,
      `a whole number from ${min} to ${max}`,
      value,
      typeof value === 'string' && value.trim() !== '' && Number.isFinite(Number(value))
        ? `Convert it first: Number(${show(value)}).`
        : 'Choose a whole number in that range.',
    );
  }
  return value as number;
}

const NAME = /^[A-Za-z0-9._-]{1,64}$/;
const NAMESPACE = /^[A-Za-z0-9._/-]{1,64}$/;

/** A limit's name. No name can forge another limit's key: names hold neither braces nor slashes nor colons. */
export function readName(option: string, value: unknown): string {
  if (typeof value !== 'string' || !NAME.test(value)) {
    throw invalidOption(
      option,
      '1 to 64 of the characters A-Z a-z 0-9 . _ -',
      value,
      'Rename the limit.',
    );
  }
  if (value === 'default') {
    throw invalidOption(
      option,
      "other than 'default', which is what a limit without a name is called",
      value,
      'Leave the name out.',
    );
  }
  return value;
}

export function readNamespace(option: string, value: unknown): string {
  if (typeof value !== 'string' || !NAMESPACE.test(value)) {
    throw invalidOption(
      option,
      '1 to 64 of the characters A-Z a-z 0-9 . _ / -',
      value,
      'Rename the namespace.',
    );
  }
  return value;
}

export function readOneOf<T extends string>(
  option: string,
  value: unknown,
  choices: readonly T[],
): T {
  if (!choices.includes(value as T)) {
    throw invalidOption(
      option,
      `one of ${choices.map((choice) => `'${choice}'`).join(', ')}`,
      value,
      'Choose one of them.',
    );
  }
  return value as T;
}

export function readBoolean(option: string, value: unknown): boolean {
  if (typeof value !== 'boolean') {
    throw invalidOption(option, 'true or false', value, 'Pass a boolean.');
  }
  return value;
}

export function readFunction(option: string, value: unknown): unknown {
  if (typeof value !== 'function') {
    throw invalidOption(option, 'a function', value, 'Pass a function, or leave it out.');
  }
  return value;
}

const MIN_SECRET_BYTES = 32;

/** The error says nothing about the value. */
export function readSecret(option: string, value: unknown): string | Uint8Array {
  const bytes =
    typeof value === 'string'
      ? Buffer.byteLength(value)
      : value instanceof Uint8Array
        ? value.length
        : 0;
  if (bytes < MIN_SECRET_BYTES) {
    throw new RateLimiterError(
      'ERR_INVALID_OPTION',
      `\`${option}\` must be a string or bytes of at least ${MIN_SECRET_BYTES} bytes, and is not (the value is not repeated, it is a secret). Make one with \`openssl rand -hex 32\`.`,
    );
  }
  return typeof value === 'string' ? value : Uint8Array.from(value as Uint8Array);
}

/** The known name that is at most two edits away, if any. */
function nearest(name: string, known: readonly string[]): string | undefined {
  const short = name.slice(0, 40).toLowerCase();
  return known
    .map((candidate) => ({ candidate, distance: edits(short, candidate.toLowerCase()) }))
    .filter(({ distance }) => distance <= 2)
    .sort((a, b) => a.distance - b.distance)[0]?.candidate;
}

function edits(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      next.push(
        Math.min(row[j]! + 1, next[j - 1]! + 1, row[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1)),
      );
    }
    row = next;
  }
  return row[b.length]!;
}
