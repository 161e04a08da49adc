/** A response's header fields, in the order in which they are written. */
export type HeaderFields = readonly (readonly [name: string, value: string])[];

/** Header fields by name, as an application returns them. */
export type FieldRecord = Readonly<Record<string, string | number | bigint | undefined>>;

/** Reports a field that no server can send. The message names the field, never its value. */
export class FieldError extends Error {}

/** A token of RFC 9110, §5.6.2. */
const NAME = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/;

/** The characters that Node writes, over HTTP/1 and HTTP/2 alike: visible Latin-1, spaces and tabs. */
const VALUE = /^[\t\x20-\x7e\x80-\xff]*$/;

/** Fields that delimit the message: only the server may set them. */
const FRAMING = new Set(['content-length', 'transfer-encoding', 'trailer']);

/**
 * Reads the fields that an application's function returned, or that are in its result. Numbers are written in digits,
 * undefined values are left out.
 *
 * @throws {FieldError} for a value that cannot be a header field
 */
export function readFields(given: unknown): HeaderFields {
  if (given === undefined) {
    return [];
  }
  if (!isRecord(given)) {
    throw new FieldError(`Fields must be a plain object of names and values, got ${kindOf(given)}`);
  }
  const fields: (readonly [string, string])[] = [];
  for (const [name, value] of Object.entries(given)) {
    const text = textOf(name, value);
    if (text !== undefined) {
      fields.push([name, text]);
    }
  }
  return fields;
}

function textOf(name: string, value: unknown): string | undefined {
  if (!NAME.test(name)) {
    throw new FieldError('A field must have a name of letters, digits and hyphens');
  }
  if (FRAMING.has(name.toLowerCase())) {
    throw new FieldError(`\`${name}\` must be left to the server`);
  }
  if (value === undefined) {
    return undefined;
  }
  const text = asText(value);
  if (text === undefined) {
    throw new FieldError(`\`${name}\` must be text or a finite number, got ${kindOf(value)}`);
  }
  if (!VALUE.test(text)) {
    throw new FieldError(`\`${name}\` must be Latin-1 text without line breaks`);
  }
  return text;
}

function asText(value: unknown): string | undefined {
  if (typeof value === 'string') {
    return value;
  }
  const isNumber =
    typeof value === 'bigint' || (typeof value === 'number' && Number.isFinite(value));
  return isNumber ? value.toString() : undefined;
}

/** Excludes a `Map`, a `Headers` and a promise: their entries are not properties. */
function isRecord(value: unknown): value is object {
  if (typeof value !== 'object' || value === null) {
    return false;
  }
  const { then, [Symbol.iterator]: iterate } = value as Partial<
    PromiseLike<unknown> & Iterable<unknown>
  >;
  if (typeof then === 'function') {
    // No other code handles its rejection.
    then.call(value, undefined, () => {});
    return false;
  }
  return typeof iterate !== 'function';
}

function kindOf(value: unknown): string {
  if (typeof value !== 'object' || value === null) {
    return typeof value === 'number' || value === null ? String(value) : `a ${typeof value}`;
  }
  return 'another object';
}
