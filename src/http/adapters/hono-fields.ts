import { sharedByCopies } from '../../base/copies.ts';
import { joinsList } from '../headers.ts';
import type { HeaderFields } from '../application-fields.ts';

/** The used part of Hono's `c`, to set fields before there is a response. */
interface Announcing {
  header(name: string, value: string): void;
}

type Announced = Map<string, readonly [name: string, value: string]>;

const announced = sharedByCopies('announced fields', () => new WeakMap<Announcing, Announced>());

/**
 * Sets fields on any response that Hono makes, including one that outer middleware makes of an error. Lists join
 * those that outer limiters have announced. Returns the fields of all limiters so far.
 */
export function announce(c: Announcing, fields: HeaderFields): HeaderFields {
  const all: Announced = announced.get(c) ?? new Map();
  for (const [name, value] of fields) {
    const before = joinsList(name, value) ? all.get(name)?.[1] : undefined;
    const joined = before === undefined ? value : `${before}, ${value}`;
    all.set(name, [name, joined]);
    c.header(name, joined);
  }
  announced.set(c, all);
  return [...all.values()];
}

/** Adds announced fields to a response that was made without them; an upstream's own items come after. */
export function joinAnnounced(headers: Headers, fields: HeaderFields): void {
  for (const [name, value] of fields) {
    const present = joinsList(name, value) ? headers.get(name) : null;
    if (present === null) {
      headers.set(name, value);
    } else if (present !== value && !present.startsWith(`${value}, `)) {
      headers.set(name, `${value}, ${present}`);
    }
  }
}
